import { assertEquals, assertLess, assertThrows } from "@std/assert";
import { LowbitError, type LowRankPart } from "../../../spec/mod.ts";
import { openBench } from "../../../tests/bench.ts";
import {
  plainStatistics,
  testContext,
  testInputs,
  testLinear,
  testWeight,
} from "../../_math/testing.ts";
import { lqer } from "./mod.ts";

const bench = await openBench();
const [rows, columns] = [40, 48];
const weight = testWeight(bench.rng("weight"), rows, columns);
const statistics = plainStatistics(testInputs(bench.rng("inputs"), 200, columns), columns);
const codec = bench.codecs.get(
  bench.codecs.resolve({ base: "int4_channel_asym", element: "uint2" }),
);
const tensor = codec.quantize(weight, rows, columns);

function part(options: Record<string, unknown>, stats = statistics): LowRankPart {
  const { context } = testContext(bench, lqer, options);
  const linear = testLinear(rows, columns);
  const { side } = lqer.compensate!({ context, linear, weight, tensor, codec, statistics: stats });
  return side![0] as LowRankPart;
}

/** `sum (error_ij s_j)^2` with the correction added; s are mean magnitudes, or 1. */
function error(side: LowRankPart | undefined, weighted: boolean): number {
  const decoded = codec.dequantize({ ...tensor, side: side ? [side] : [] });
  return weight.reduce((sum, value, i) => {
    const scale = weighted ? statistics.absMean![i % columns] : 1;
    return sum + ((value - decoded[i]) * scale) ** 2;
  }, 0);
}

Deno.test("lqer: errors fall with the rank, and full rank is exact", () => {
  const errors = [2, 8, 24, 40].map((rank) => error(part({ rank }), true));
  assertLess(errors[0], error(undefined, true));
  for (let i = 1; i < errors.length; i++) assertLess(errors[i], errors[i - 1]);
  assertLess(errors[3], 1e-9 * error(undefined, true));
  assertEquals(part({ rank: 4096 }).rank, 40);
});

Deno.test("lqer: each weighting is best by its own measure", () => {
  const options = { rank: 6, iterations: 40 };
  const [weighted, plain] = [part(options), part({ ...options, weighting: "none" })];
  assertLess(error(weighted, true), error(plain, true));
  assertLess(error(plain, false), error(weighted, false));
});

Deno.test("lqer: the same bytes twice; silent channels stay finite", () => {
  assertEquals(part({ rank: 4 }), part({ rank: 4 }));
  const absMean = statistics.absMean!.slice();
  absMean[5] = 0;
  const { left, right } = part({ rank: 4 }, { ...statistics, absMean });
  assertEquals([...left, ...right].every(Number.isFinite), true);
  part({ rank: 2 }, { ...statistics, absMean: new Float32Array(columns) });
});

Deno.test("lqer: weighting needs statistics, its absence does not", () => {
  const none = { columns, tokens: 0, custom: new Map() };
  assertThrows(() => part({}, none), LowbitError, "has no activation statistics");
  assertEquals(part({ weighting: "none", rank: 3 }, none).rank, 3);
});
