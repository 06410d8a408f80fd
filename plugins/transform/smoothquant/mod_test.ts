import { assert, assertAlmostEquals, assertEquals, assertLessOrEqual } from "@std/assert";
import type { BlockView, Edge } from "../../../spec/mod.ts";
import { openBench } from "../../../tests/bench.ts";
import { plainStatistics, testContext, testInputs, testWeight } from "../../_math/testing.ts";
import { smoothingFactors, smoothquant } from "./mod.ts";

const bench = await openBench();
const [rows, columns, tokens] = [16, 32, 64];
const inputs = testInputs(bench.rng("inputs"), tokens, columns);
// One channel is far larger than the others, as in language models.
for (let t = 0; t < tokens; t++) inputs[t * columns + 3] *= 60;
const weight = testWeight(bench.rng("weight"), rows, columns);

function block(edges: Edge[], x = inputs): BlockView {
  return {
    index: 0,
    linears: [{ id: "blocks.0.up", role: "up", block: 0, rows, columns, input: "x" }],
    edges,
    weight: () => weight,
    statistics: () => plainStatistics(x, columns),
    hyperparameters: { heads: 4, kv_heads: 2, head_size: columns / 4 },
    schemes: () => ({}),
  };
}

const edge: Edge = { id: "input", from: "norm", to: ["up"] };

Deno.test("smoothquant: factors follow equation 4", () => {
  const { absMax } = plainStatistics(inputs, columns);
  const factors = smoothingFactors(bench.kernels, block([edge]), edge, 0.75);
  for (let j = 0; j < columns; j++) {
    const w = Math.max(
      ...Array.from({ length: rows }, (_, r) => Math.abs(weight[r * columns + j])),
    );
    assertAlmostEquals(factors[j] / (absMax![j] ** 0.75 / w ** 0.25), 1, 1e-5);
  }
});

Deno.test("smoothquant: alpha 1 makes inputs even, alpha 0 makes weights even", () => {
  const { absMax } = plainStatistics(inputs, columns);
  const one = smoothingFactors(bench.kernels, block([edge]), edge, 1);
  one.forEach((factor, j) => assertAlmostEquals(absMax![j] / factor, 1, 1e-5));
  const none = smoothingFactors(bench.kernels, block([edge]), edge, 0);
  none.forEach((factor, j) => {
    const w = Math.max(
      ...Array.from({ length: rows }, (_, r) => Math.abs(weight[r * columns + j])),
    );
    assertAlmostEquals(w * factor, 1, 1e-5);
  });
});

Deno.test("smoothquant: W8A8 per tensor recovers what an outlier channel destroys", () => {
  const activation = bench.codecs.get(bench.codecs.resolve({
    base: "int8_token",
    granularity: { kind: "tensor" },
  }));
  const weights = bench.codecs.get(bench.codecs.resolve("int8_channel_sym"));
  const output = (x: Float32Array, w: Float32Array) =>
    Float32Array.from({ length: tokens * rows }, (_, i) => {
      const [t, r] = [Math.floor(i / rows), i % rows];
      let sum = 0;
      for (let j = 0; j < columns; j++) sum += x[t * columns + j] * w[r * columns + j];
      return sum;
    });
  const quantizedError = (x: Float32Array, w: Float32Array) => {
    using buffer = bench.kernels.upload(x);
    activation.fake(buffer, tokens, columns);
    const quantized = weights.dequantize(weights.quantize(w, rows, columns));
    const [a, b] = [output(buffer.array.slice(), quantized), output(inputs, weight)];
    return a.reduce((sum, value, i) => sum + (value - b[i]) ** 2, 0);
  };
  const factors = smoothingFactors(bench.kernels, block([edge]), edge, 0.5);
  const smoothX = inputs.map((value, i) => value / factors[i % columns]);
  const smoothW = weight.map((value, i) => value * factors[i % columns]);
  // In full precision nothing changes.
  const [before, after] = [output(inputs, weight), output(smoothX, smoothW)];
  const largest = Math.max(...before.map(Math.abs));
  before.forEach((value, i) => assertLessOrEqual(Math.abs(value - after[i]), 1e-4 * largest));
  assert(quantizedError(smoothX, smoothW) < 0.2 * quantizedError(inputs, weight));
});

Deno.test("smoothquant: silent channels keep their weights", () => {
  const silent = inputs.slice();
  for (let t = 0; t < tokens; t++) silent[t * columns + 7] = 0;
  assertEquals(smoothingFactors(bench.kernels, block([edge], silent), edge, 0.5)[7], 1);
});

Deno.test("smoothquant: heads that share values share factors", () => {
  const shared: Edge = { ...edge, shared_heads: true };
  const factors = smoothingFactors(bench.kernels, block([shared]), shared, 0.5);
  const size = columns / 4;
  for (let d = 0; d < size; d++) {
    assertEquals(factors[d], factors[size + d]);
    assertEquals(factors[2 * size + d], factors[3 * size + d]);
  }
});

Deno.test("smoothquant: `norms` leaves edges behind linears alone", () => {
  const edges = [edge, { id: "inner", from: "up", to: ["up"] }];
  const ops = (option: string) => {
    const { context } = testContext(bench, smoothquant, { edges: option });
    return smoothquant.transform!({ context, block: block(edges) }).map((op) => op.edge);
  };
  assertEquals(ops("norms"), ["input"]);
  assertEquals(ops("all"), ["input", "inner"]);
});
