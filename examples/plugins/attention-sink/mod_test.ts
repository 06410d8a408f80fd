import { testPlugin } from "@lowbit/lowbit/testing";
import { attentionSink } from "./mod.ts";

Deno.test("attention-sink holds the contract of plugins", async () => {
  await testPlugin(attentionSink);
});

Deno.test("attention-sink: first and newest tokens are left, and their bytes are counted", () => {
  const cache = attentionSink.cache!({
    context: { options: { sinks: 1, window: 2 } } as never,
    block: 0,
    kvHeads: 1,
    headSize: 1,
  });
  cache.append(Float32Array.of(0, 1, 2, 3, 4), Float32Array.of(5, 6, 7, 8, 9), 5);
  const { keys, values, length } = cache.read();
  if (`${keys} ${values} ${length}` !== "0,3,4 5,8,9 3") throw new Error(`${keys} ${values}`);
  if (cache.bytes !== 24) throw new Error(`${cache.bytes} bytes`);
});
