import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { LowbitError } from "../spec/mod.ts";
import { EntryCache } from "./cache.ts";
import { gridOf } from "./look.ts";
import {
  histogram,
  kurtosis,
  pairedDifference,
  paretoFront,
  rangeHistogram,
} from "./statistics.ts";
import { sweepNames } from "./sweep.ts";

Deno.test("a sweep is every combination, once", () => {
  assertEquals(sweepNames("bits=4 activations=4,8 method=smoothquant zero=sym"), [
    "smoothquant-w4a4-sym",
    "smoothquant-w4a8-sym",
  ]);
  assertEquals(sweepNames("bits=3 group=channel,32"), ["rtn-w3", "rtn-w3g32"]);
  assertEquals(sweepNames("bits=2,3,4 group=32,64,128 method=rtn,gptq,awq").length, 27);
});

Deno.test("a wrong sweep says what is wrong", () => {
  for (
    const [text, problem] of [
      ["group=32", "bits is missing"],
      ["bits=", "has no values"],
      ["bits=3 bits=4", "given twice"],
      ["bits=x", "whole number"],
      ["bits=3 zero=none", "sym or asym"],
      ["bitz=3", "bits"],
    ]
  ) {
    const error = assertThrows(() => sweepNames(text), LowbitError);
    assert(error.line().includes(problem), error.line());
  }
});

Deno.test("histograms count every value, also those outside", () => {
  assertEquals(histogram([-9, 0, 0.5, 1, 9], 0, 1, 2).counts, [3, 2]);
  assertEquals(rangeHistogram([1, 2, 3, 4], 3).counts, [1, 1, 2]);
  assertEquals(rangeHistogram([5, 5], 4).counts.reduce((a, b) => a + b), 2);
});

Deno.test("kurtosis of two values is 1, of a line of outliers large", () => {
  assertEquals(kurtosis([-1, 1, -1, 1]), 1);
  // scipy.stats.kurtosis([0]*99 + [1], fisher=False), scipy 1.17
  assertAlmostEquals(kurtosis([...new Array(99).fill(0), 1]), 98.01010101010101, 1e-9);
});

Deno.test("paired differences: the mean, and an error that follows the windows", () => {
  const a = { name: "a", losses: [[1, 2], [3, 4]] };
  const b = { name: "b", losses: [[0, 1], [1, 2]] };
  const d = pairedDifference(a, b);
  assertEquals([d.a, d.b, d.nll], ["a", "b", 1.5]);
  // Differences 1, 1, 2, 2: standard deviation sqrt(1/3), over sqrt(4).
  assertAlmostEquals(d.standard_error, Math.sqrt(1 / 3) / 2, 1e-12);
  // Within a window they are equal, so there are two observations: 1 and 2.
  assertAlmostEquals(d.standard_error_windows!, Math.sqrt(0.5 / 2), 1e-12);
  assertEquals(pairedDifference(a, a).nll, 0);
});

Deno.test("the front has who is not beaten, equals included", () => {
  const points = [[1, 3], [2, 2], [3, 2], [2, 2], [4, 1]];
  const front = paretoFront(points.map(([size, cost]) => ({ size, cost })));
  assertEquals(front, [true, true, false, true, true]);
});

Deno.test("a grid keeps outlier channels", () => {
  const channels = 300, tokens = 4;
  const values = new Float32Array(channels * tokens).fill(1);
  for (let t = 0; t < tokens; t++) values[t * channels + 150] = -20;
  const grid = gridOf(values, tokens);
  assertEquals([grid.rows, grid.columns, grid.max_over_median], [4, 96, 20]);
  assertEquals(grid.values.filter((v) => v === 20).length, tokens);
});

Deno.test("a cache gives back what it was given, and nothing broken", async () => {
  const folder = await Deno.makeTempDir();
  const cache = new EntryCache<number[]>(`${folder}/new`);
  const key = EntryCache.key({ recipe: "a" });
  assert(key !== EntryCache.key({ recipe: "b" }));
  assertEquals(await cache.get(key), undefined);
  await cache.set(key, [1, 2]);
  assertEquals(await cache.get(key), [1, 2]);
  await Deno.writeTextFile(`${folder}/new/${key}.json`, '{"key": "');
  assertEquals(await cache.get(key), undefined);
  await Deno.remove(folder, { recursive: true });
});
