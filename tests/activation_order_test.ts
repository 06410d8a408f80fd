/**
 * A Llama that GPTQModel quantised in activation order: its logits are ours, before a conversion and
 * after it (tools/golden/activation_order.py, which also holds what we write against GPTQModel).
 */

import { assertEquals, assertLess } from "@std/assert";
import { createWorkbench } from "../workbench.ts";
import { openGolden } from "./golden.ts";
import { largestDifference } from "./models_bench.ts";
import { ROOT } from "./process.ts";
import { temporary } from "./temporary.ts";

const golden = await openGolden("activation_order/expected.safetensors");

Deno.test("activation order: logits are those of GPTQModel, from every form that keeps it", async () => {
  using folder = temporary();
  using lowbit = await createWorkbench();
  const [windows, length, vocabulary] = golden.shape("logits");
  const ids = await golden.f32("ids"), logits = await golden.f32("logits");
  const source = await lowbit.open(`${ROOT}/tests/golden/activation_order`);
  const tensor = await source.tensors.get("model.layers.0.mlp.down_proj.weight")!.quantized();
  assertEquals(tensor.scheme.granularity, { kind: "group", size: 32 });
  assertEquals(tensor.side?.map(({ kind }) => kind), ["rotation"]);
  for (const to of [undefined, "gptq", "lowbit"]) {
    if (to) await lowbit.convert({ checkpoint: source, to, out: folder.at(to) });
    const checkpoint = to ? await lowbit.open(folder.at(to)) : source;
    using model = await lowbit.load(checkpoint);
    for (let w = 0; w < windows; w++) {
      const rows = Array.from({ length }, (_, i) => {
        const start = (w * length + i) * vocabulary;
        return [...logits.subarray(start, start + vocabulary)];
      });
      using made = await model.logits([...ids.subarray(w * length, (w + 1) * length)]);
      assertLess(largestDifference(made.array, rows), 1e-4, `${to}, window ${w}`);
    }
    if (to) checkpoint.close();
  }
  source.close();
});
