/** Statistics collected apart: in two halves, merged, through a file, and given to a run. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { memoryOutput } from "../formats/containers/output.ts";
import { memorySource } from "../formats/containers/source.ts";
import {
  type CollectedStatistics,
  collectStatistics,
  mergeStatistics,
  readStatistics,
  statisticsBytes,
} from "../mod.ts";
import { LowbitError, type Recipe } from "../spec/mod.ts";
import { bench, recipeOf, testPlugin, WINDOWS } from "./engine_bench.ts";
import { UNTIED } from "./temporary.ts";

const lowbit = bench(testPlugin("watcher", {
  collect: () => ({ add() {}, merge() {}, value: () => 0 }),
}));
const { kernels } = lowbit;
const model = await lowbit.open(UNTIED);
const NEEDS = ["gram", "abs_max", "moments", "mean_square"] as const;
const collect = (windows: Int32Array[]) =>
  collectStatistics({ model, kernels, windows, needs: NEEDS });
const whole = await collect(WINDOWS);
const [first, second] = [await collect(WINDOWS.slice(0, 1)), await collect(WINDOWS.slice(1))];

/** Statistics through their file, as another machine would have them. */
async function sent(statistics: CollectedStatistics): Promise<CollectedStatistics> {
  return await readStatistics(memorySource("s", await statisticsBytes(statistics)));
}

Deno.test("statistics: two halves merged are one run, in either order", async () => {
  const merges = [
    mergeStatistics(await sent(first), await sent(second)),
    mergeStatistics(second, first),
  ];
  for (const { tokens, blocks } of merges) {
    assertEquals([tokens, blocks.length], [72, 2]);
    for (const [index, block] of blocks.entries()) {
      assertEquals([...block.keys()], [...whole.blocks[index].keys()]);
      for (const [input, found] of block) {
        const wanted = whole.blocks[index].get(input)!;
        assertEquals([found.tokens, found.columns], [wanted.tokens, wanted.columns]);
        for (const name of ["absMax", "min", "max"] as const) {
          assertEquals(found[name], wanted[name], `${input} ${name}`);
        }
        const close = (a: ArrayLike<number>, b: ArrayLike<number>, tolerance: number) => {
          const most = Array.from(b).reduce((most, value) => Math.max(most, Math.abs(value)), 0);
          assertEquals(a.length, b.length);
          for (let i = 0; i < a.length; i++) assert(Math.abs(a[i] - b[i]) <= tolerance * most);
        };
        close(found.absMean!, wanted.absMean!, 1e-6);
        close(found.gram!, wanted.gram!, 1e-14);
        close(found.mean!, wanted.mean!, 1e-13);
        close(found.meanSquare!, wanted.meanSquare!, 1e-13);
      }
    }
  }
});

async function quantize(
  recipe: string | Recipe,
  statistics?: CollectedStatistics,
  windows = WINDOWS,
) {
  const out = memoryOutput("out");
  const { receipt } = await lowbit.quantize({
    ...{ model, recipe, out, statistics },
    calibration: windows,
  });
  return { receipt, files: out.files };
}

Deno.test("statistics: a run that is given them writes what it would have written", async () => {
  const merged = mergeStatistics(await sent(first), await sent(second));
  const smooth = recipeOf(["smoothquant", "gptq"], {
    assign: [{ select: ["blocks.*"], weight: "int4_channel_asym", activation: "int8_token" }],
  });
  for (const recipe of ["gptq-w4g32", smooth]) {
    const own = await quantize(recipe);
    const given = await quantize(recipe, merged, WINDOWS.slice(0, 1));
    assertEquals(given.files.get("model.safetensors"), own.files.get("model.safetensors"));
    assertEquals(given.receipt.statistics?.tokens, 72);
    assertEquals(own.receipt.statistics, undefined);
    // Half of them give something else: they are what is used.
    const half = await quantize(recipe, first, WINDOWS.slice(0, 1));
    const [a, b] = [half, own].map(({ files }) => files.get("model.safetensors")!);
    assert(a.some((byte, i) => byte !== b[i]));
    assert(half.receipt.statistics!.sha256 !== given.receipt.statistics!.sha256);
  }
});

Deno.test("statistics: what cannot be used is refused", async () => {
  const refused = (run: () => Promise<unknown>, problem: string) =>
    assertRejects(run, LowbitError, problem);
  const few = await collectStatistics({ model, kernels, windows: WINDOWS, needs: ["abs_max"] });
  await refused(() => quantize("gptq-w4g32", few), "lack gram");
  await refused(() => quantize(recipeOf(["watcher", "rtn"]), whole), "do not hold behind watcher");
  const propagate = recipeOf(["gptq"], { propagate: "quantized" });
  await refused(() => quantize(propagate, whole), "propagate is quantized");
  const embedded = await lowbit.open("embedded");
  const windows = [Int32Array.of(1, 2, 3)];
  const other = await collectStatistics({ model: embedded, kernels, windows, needs: NEEDS });
  embedded.close();
  await refused(() => quantize("gptq-w4g32", other), "channels, not");
  await refused(async () => mergeStatistics(whole, await sent(other)), "are not of one model");
  await refused(async () => mergeStatistics(whole, await sent(few)), "differs in what there is");
  const bytes = await statisticsBytes(first);
  await refused(() => readStatistics(memorySource("s", bytes.slice(0, 900))), "s");
});
