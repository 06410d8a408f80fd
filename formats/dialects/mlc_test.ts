import { assertEquals, assertRejects } from "@std/assert";
import { LowbitError } from "../../spec/mod.ts";
import { memorySource } from "../containers/source.ts";
import { openCheckpoint } from "../open.ts";

const FOLDER = `${import.meta.dirname}/../../tests/golden/mlc`;
const { made_by, ...golden } = JSON.parse(Deno.readTextFileSync(`${FOLDER}/expected.json`));
const cases: [string, { weight: number[]; norm: number[] }][] = Object.entries(golden);

for (const [name, { weight, norm }] of cases) {
  Deno.test(`MLC ${name}: tensors of the shards have the values of ${made_by}`, async () => {
    const checkpoint = await openCheckpoint(`${FOLDER}/${name}`);
    assertEquals([checkpoint.kind, checkpoint.config.model_type], ["mlc", "llama"]);
    assertEquals([...checkpoint.tensors.keys()], ["layer.weight", "norm.weight"]);
    const tensor = checkpoint.tensors.get("layer.weight")!;
    assertEquals(await tensor.read(), Float32Array.from(weight));
    const some = await tensor.read({ start: 2, end: 5 });
    assertEquals(some, Float32Array.from(weight.slice(2 * 64, 5 * 64)));
    assertEquals(await checkpoint.tensors.get("norm.weight")!.read(), Float32Array.from(norm));
    assertEquals(tensor.storage.kind, name === "q0f16" ? "plain" : "coded");
    checkpoint.close();
  });
}

// deno-lint-ignore no-explicit-any
type Cache = any;

Deno.test("MLC: lists that do not fit their shards are refused by name", async () => {
  const cache: Cache = JSON.parse(Deno.readTextFileSync(`${FOLDER}/q4f16_1/ndarray-cache.json`));
  const data = [0, 1].map((i) => Deno.readFileSync(`${FOLDER}/q4f16_1/params_shard_${i}.bin`));
  const open = (change: (list: Cache) => void, first = data[0]) => {
    const changed = structuredClone(cache);
    change(changed);
    const text = new TextEncoder().encode(JSON.stringify(changed));
    return openCheckpoint([
      memorySource("ndarray-cache.json", text),
      memorySource("params_shard_0.bin", first),
      memorySource("params_shard_1.bin", data[1]),
    ]);
  };
  const refused = (change: (list: Cache) => void, problem: string) =>
    assertRejects(() => open(change), LowbitError, problem);
  assertEquals((await open(() => {})).kind, "mlc");
  await refused((c) => c.records[0].records[0].nbytes++, "bytes at 0 for [6,8] of uint32");
  await refused((c) => c.records[0].dataPath = "../a.bin", "is not a file of its folder");
  await refused((c) => c.records[0].records[0].dtype = "complex64", 'has the type "complex64"');
  await refused((c) => c.records[0].records[0].shape = [-1], "has no name and shape");
  await refused((c) => c.records = {}, "must be a list");
  await refused((c) => c.records[0].format = "zip", "raw-shard");
  await refused((c) => c.records[0].records[0].byteOffset = 1e6, "ends at");
  await refused((c) => c.records[0].records[0].byteOffset = -4, "bytes at -4 for [6,8]");
  await refused((c) => c.records[0].dataPath = "/etc/hostname", "is not a file of its folder");
  await refused((c) => c.records[0].dataPath = "params_shard_9.bin", "no such file");
  await refused(
    (c) => c.records[0].records[0].shape = [2 ** 31, 2 ** 31],
    "for [2147483648,2147483648] of uint32",
  );
  await refused((c) => c.records[0].records[0].shape = [1.5, 8], "has no name and shape");
  await refused(
    (c) => c.records[0].records[1].name = c.records[0].records[0].name,
    "names a tensor twice",
  );
  await refused((c) => {
    c.records[0].records[1].shape = [12, 1];
  }, "has codes of [6,8] and scales of [12,1]");
});
