/** Adapters in the format of PEFT: against one that PEFT saved, and through the command. */

import { assert, assertAlmostEquals, assertEquals, assertRejects } from "@std/assert";
import { main } from "../cli.ts";
import { memoryOutput } from "../formats/containers/output.ts";
import { fileSource, memorySource } from "../formats/containers/source.ts";
import { type Adapter, lowRankParts, readAdapter, writeAdapter } from "../formats/mod.ts";
import { LowbitError } from "../spec/mod.ts";
import { bench, recipeOf, run } from "./engine_bench.ts";

const FOLDER = new URL("golden/adapter/", import.meta.url);
const FILES = ["adapter_config.json", "adapter_model.safetensors"];

/** An adapter with a zero, two ranks and rows of its own. */
const ADAPTER: Adapter = new Map([
  ["a.weight", {
    kind: "low_rank" as const,
    rank: 2,
    left: Float32Array.of(1, 0, 0.1, -3, 2, 5),
    right: Float32Array.of(1, 2, 3, 4),
  }],
  ["b.c.weight", {
    kind: "low_rank" as const,
    rank: 1,
    left: Float32Array.of(7, 0.3),
    right: Float32Array.of(0.7),
  }],
]);

async function written(adapter: Adapter, options: Parameters<typeof writeAdapter>[2] = {}) {
  const output = memoryOutput("adapter");
  await writeAdapter(output, adapter, options);
  await output.commit();
  return output.files;
}

const sources = (files: ReadonlyMap<string, Uint8Array<ArrayBuffer>>) =>
  [...files].map(([name, bytes]) => memorySource(name, bytes));

Deno.test("adapter: what PEFT saved adds to weights what PEFT says it does", async () => {
  const { added } = JSON.parse(await Deno.readTextFile(new URL("golden.json", FOLDER)));
  const files = await Promise.all(
    FILES.map((name) => fileSource(new URL(name, FOLDER).pathname)),
  );
  const adapter = await readAdapter(files);
  for (const file of files) file.close();
  assertEquals([...adapter.keys()].sort(), Object.keys(added).sort());
  assertEquals([...adapter.values()].map(({ rank }) => rank).sort(), [2, 2, 3]);
  for (const [name, { rank, left, right }] of adapter) {
    const columns = right.length / rank, rows = left.length / rank;
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        let sum = 0;
        for (let k = 0; k < rank; k++) sum += left[row * rank + k] * right[k * columns + column];
        assertAlmostEquals(sum, added[name][row * columns + column], 1e-5);
      }
    }
  }
});

Deno.test("adapter: read back it is the same, with any alpha that is a power of two", async () => {
  for (const alpha of [undefined, 1, 2, 16]) {
    assertEquals(await readAdapter(sources(await written(ADAPTER, { alpha }))), ADAPTER);
  }
  const files = await written(ADAPTER, { alpha: 16, base: "some/model" });
  const config = JSON.parse(new TextDecoder().decode(files.get(FILES[0])));
  assertEquals([config.r, config.lora_alpha, config.peft_type], [2, 16, "LORA"]);
  assertEquals([config.rank_pattern, config.alpha_pattern], [{ "b.c": 1 }, { "b.c": 8 }]);
  assertEquals(config.target_modules, ["a", "b.c"]);
  assertEquals(config.base_model_name_or_path, "some/model");
});

Deno.test("adapter: without parts, files or the right shapes there is an error", async () => {
  await assertRejects(() => written(new Map()), LowbitError, "has no low-rank parts");
  const files = await written(ADAPTER);
  const only = new Map([...files].filter(([name]) => name === FILES[1]));
  await assertRejects(() => readAdapter(sources(only)), LowbitError, "is missing");
  const text = new TextDecoder().decode(files.get(FILES[0]));
  const changed = (from: string, to: string) =>
    sources(new Map([...files, [FILES[0], new TextEncoder().encode(text.replace(from, to))]]));
  await assertRejects(() => readAdapter(changed('"r": 2', '"r": 3')), LowbitError, "of rank 3");
  const dora = changed('"use_dora": false', '"use_dora": true');
  await assertRejects(() => readAdapter(dora), LowbitError, "use_dora");
});

Deno.test("adapter: the command writes what the checkpoint has", async () => {
  using lowbit = bench();
  const recipe = recipeOf(["rtn"], {
    pipeline: [{ use: "rtn" }, { use: "lqer", options: { rank: 2, weighting: "none" } }],
  });
  using made = await run(lowbit, recipe);
  const parts = await lowRankParts(made.model);
  assert(parts.size > 4);
  const folder = await Deno.makeTempDir();
  try {
    await Deno.mkdir(`${folder}/in`);
    for (const [name, bytes] of made.files) await Deno.writeFile(`${folder}/in/${name}`, bytes);
    const args = ["adapter", `${folder}/in`, `${folder}/out`, "--alpha", "8", "--json"];
    assertEquals(await main(args), 0);
    const files = await Promise.all(FILES.map((name) => fileSource(`${folder}/out/${name}`)));
    assertEquals(await readAdapter(files), parts);
    for (const file of files) file.close();
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
