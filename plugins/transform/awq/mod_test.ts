import { assert, assertAlmostEquals, assertEquals, assertLess, assertThrows } from "@std/assert";
import { type BlockView, type Edge, LowbitError } from "../../../spec/mod.ts";
import { openBench } from "../../../tests/bench.ts";
import {
  plainStatistics,
  proxyLoss,
  testContext,
  testInputs,
  testLinear,
  testWeight,
} from "../../_math/testing.ts";
import { awq, searchScale } from "./mod.ts";

const bench = await openBench();
const [rows, columns, tokens] = [24, 64, 96];
const inputs = testInputs(bench.rng("inputs"), tokens, columns);
// A few channels matter much more than the others.
for (let t = 0; t < tokens; t++) for (const j of [3, 17]) inputs[t * columns + j] *= 25;
const weight = testWeight(bench.rng("weight"), rows, columns);
const edge: Edge = { id: "input", from: "norm", to: ["up"] };
const scheme = bench.codecs.resolve({
  base: "int4_g64_asym",
  element: "uint3",
  granularity: { kind: "group", size: 32 },
});
const codec = bench.codecs.get(scheme);

function block(x = inputs, edges = [edge], w = weight): BlockView {
  return {
    index: 0,
    linears: [{ id: "blocks.0.up", role: "up", block: 0, rows, columns, input: "x" }],
    edges,
    weight: () => w,
    statistics: () => plainStatistics(x, columns),
    hyperparameters: { heads: 4, kv_heads: 2, head_size: columns / 4 },
    schemes: () => ({ weight: scheme }),
  };
}

const context = (options: Record<string, unknown> = {}) => testContext(bench, awq, options).context;

Deno.test("awq: alpha 0 is round to nearest, and the best is never worse", () => {
  const { loss, losses, alpha, factors } = searchScale(context(), block(), edge)!;
  const statistics = plainStatistics(inputs, columns);
  const rounded = codec.dequantize(codec.quantize(weight, rows, columns));
  const plain = proxyLoss(weight, rounded, statistics) / tokens;
  assertAlmostEquals(losses[0] / plain, 1, 1e-4);
  assertEquals(losses.length, 20);
  assertEquals(loss, Math.min(...losses));
  assert(alpha > 0);
  assertLess(loss, 0.5 * plain);
  // The loss of the best is that of the weights as they would be used.
  const scaled = codec.dequantize(
    codec.quantize(weight.map((w, i) => w * factors[i % columns]), rows, columns),
  );
  const used = scaled.map((value, i) => value / factors[i % columns]);
  assertAlmostEquals(proxyLoss(weight, used, statistics) / tokens / loss, 1, 1e-3);
});

Deno.test("awq: factors are mean|x|^alpha over the geometric mean of their extremes", () => {
  const { alpha, factors } = searchScale(context(), block(), edge)!;
  const powers = [...plainStatistics(inputs, columns).absMean!].map((mean) => mean ** alpha);
  const middle = Math.sqrt(Math.max(...powers) * Math.min(...powers));
  factors.forEach((factor, j) => assertAlmostEquals(factor / (powers[j] / middle), 1, 1e-4));
});

Deno.test("awq: signs of activations do not matter, since the mean is of magnitudes", () => {
  const flipped = inputs.map((value, i) => Math.floor(i / columns) % 2 === 0 ? -value : value);
  const { factors } = searchScale(context(), block(flipped), edge)!;
  assertEquals(factors, searchScale(context(), block(), edge)!.factors);
});

Deno.test("awq: silent channels have finite factors", () => {
  const silent = inputs.slice();
  for (let t = 0; t < tokens; t++) silent[t * columns + 7] = 0;
  const { factors, loss } = searchScale(context(), block(silent), edge)!;
  assert(factors.every((factor) => Number.isFinite(factor) && factor > 0));
  assert(Number.isFinite(loss));
  const none = searchScale(context(), block(new Float32Array(inputs.length)), edge)!;
  assertEquals([none.alpha, none.loss], [0, 0]);
});

Deno.test("awq: where nothing is gained the block is left alone", () => {
  const ops = (b: BlockView, options = {}) =>
    awq.transform!({ context: context(options), block: b });
  assertEquals(ops(block()).map(({ op, edge }) => [op, edge]), [["scale", "input"]]);
  assertEquals(ops(block(new Float32Array(inputs.length))), []);
  assertEquals(ops(block(), { scale: false }), []);
  assertEquals(ops({ ...block(), schemes: () => ({}) }), []);
  assertThrows(
    () => ops({ ...block(), statistics: () => ({ columns, tokens: 0, custom: new Map() }) }),
    LowbitError,
    "has no activation statistics",
  );
});

Deno.test("awq: heads that share values share factors", () => {
  const shared: Edge = { ...edge, shared_heads: true };
  const { factors, alpha } = searchScale(context(), block(inputs, [shared]), shared)!;
  const size = columns / 4;
  assert(alpha > 0);
  for (let d = 0; d < size; d++) {
    assertEquals(factors[d], factors[size + d]);
    assertEquals(factors[2 * size + d], factors[3 * size + d]);
  }
});

/** The proxy loss with every tile clamped to a share of its range. */
function clippedLoss(factors: Float32Array): number {
  using x = bench.kernels.upload(weight);
  const tiling = codec.tiling(rows, columns);
  const parameters = codec.fit(codec.ranges(x, tiling), factors);
  using codes = codec.encode(x, tiling, parameters);
  using y = codec.decode(codes, tiling, parameters);
  return proxyLoss(weight, y.array.slice(), plainStatistics(inputs, columns));
}

Deno.test("awq: clipping is best for each group by itself, and the whole range is in the search", () => {
  const one = { ...testLinear(rows, columns) };
  // Inputs whose groups do not speak to each other, so that groups add up.
  const statistics = plainStatistics(inputs, columns);
  for (let i = 0; i < columns; i++) {
    for (let j = 0; j < columns; j++) {
      if (Math.floor(i / 32) !== Math.floor(j / 32)) statistics.gram![i * columns + j] = 0;
    }
  }
  const clip = (options = {}) =>
    awq.clip!({ context: context(options), linear: one, weight, codec, statistics });
  const factors = clip()!;
  assertEquals(factors.length, rows * 2);
  assert(factors.some((factor) => factor < 1) && factors.every((f) => f >= 0.5 && f <= 1));
  const whole = new Float32Array(rows * 2).fill(1);
  const loss = (some: Float32Array) => {
    using x = bench.kernels.upload(weight);
    const tiling = codec.tiling(rows, columns);
    const parameters = codec.fit(codec.ranges(x, tiling), some);
    using codes = codec.encode(x, tiling, parameters);
    using y = codec.decode(codes, tiling, parameters);
    return proxyLoss(weight, y.array.slice(), statistics);
  };
  assertLess(loss(factors), loss(whole));
  for (const factor of [0.5, 0.75, 0.9]) {
    assertLess(loss(factors), 1.0001 * loss(whole.map(() => factor)));
    // No single group gets better by another factor.
    const changed = factors.slice();
    changed[5] = Math.fround(factor);
    assertLess(loss(factors), 1.0001 * loss(changed));
  }
  assertLess(clippedLoss(factors), 1.2 * clippedLoss(whole));
  assertEquals(clip({ clip: false }), undefined);
  assertEquals(clip({ unclipped: ["te*"] }), undefined);
});
