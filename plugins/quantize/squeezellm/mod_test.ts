import { assert, assertEquals, assertLess, assertLessOrEqual, assertThrows } from "@std/assert";
import { LowbitError, type SparsePart, type VectorTensor } from "../../../spec/mod.ts";
import { openBench } from "../../../tests/bench.ts";
import { testContext, testLinear, testWeight } from "../../_math/testing.ts";
import { squeezellm } from "./mod.ts";

const bench = await openBench();
const { codecs } = bench;
const [rows, columns] = [10, 160];
const linear = testLinear(rows, columns);
const weight = testWeight(bench.rng("weight"), rows, columns)
  .map((value, i) => i % 211 === 0 ? value * 8 : value);
const rng = bench.rng("fisher");
const fisher = Float32Array.from({ length: rows * columns }, () => Math.exp(2 * rng.normal()));
const codec = codecs.vector(codecs.resolveVector("lut3_channel")!);

function run(options: Record<string, unknown> = {}, given: Float32Array | undefined = fisher) {
  const { context } = testContext(bench, squeezellm, options);
  const statistics = { columns, tokens: 1, custom: new Map(), fisher: given };
  const tensor = squeezellm.quantizeVector!({ context, linear, weight, codec, statistics });
  return { tensor, decoded: codec.decode(tensor) };
}

/** `sum F (w - Q(w))^2`. */
const loss = (decoded: Float32Array, weights: Float32Array | number = fisher) =>
  decoded.reduce((sum, value, i) => {
    const f = typeof weights === "number" ? weights : weights[i];
    return sum + f * (value - weight[i]) ** 2;
  }, 0);

const none = { outliers: 0, sensitive: 0 };

Deno.test("squeezellm: each weighting is best by its own measure, and beats a uniform grid", () => {
  const weighted = run(none).decoded;
  const even = run(none, new Float32Array(fisher.length).fill(1)).decoded;
  assertLess(loss(weighted), loss(even));
  assertLess(loss(even, 1), loss(weighted, 1));
  const uniform = codecs.get(
    codecs.resolve({ base: "int4_channel_asym", element: "uint3" }),
  );
  assertLess(loss(weighted), loss(uniform.dequantize(uniform.quantize(weight, rows, columns))));
});

Deno.test("squeezellm: what is kept aside is the largest and the most sensitive, nearly exact", () => {
  const { tensor, decoded } = run({ outliers: 0.01, sensitive: 0.005 });
  const part = tensor.side![0] as SparsePart;
  const kept = Array.from(part.rows, (row, i) => row * columns + part.columns[i]);
  assertEquals(kept, [...kept].sort((a, b) => a - b));
  const smallest = [...weight].map(Math.abs).sort((a, b) => b - a)[15];
  const sensitive = [...fisher].sort((a, b) => b - a)[7];
  weight.forEach((value, i) => {
    const chosen = Math.abs(value) >= smallest || fisher[i] >= sensitive;
    assertEquals(kept.includes(i), chosen);
    if (chosen) assertLessOrEqual(Math.abs(decoded[i] - value), 2 ** -11 * Math.abs(value) + 1e-6);
  });
  assertLess(loss(decoded), loss(run(none).decoded));
  // A table that need not hold the outliers is better for the rest.
  const rest = (x: Float32Array) => loss(x.map((value, i) => kept.includes(i) ? weight[i] : value));
  assertLess(rest(decoded), rest(run(none).decoded));
});

Deno.test("squeezellm: the same bytes twice; rows without information; no information", () => {
  assertEquals(run().tensor, run().tensor);
  const silent = fisher.slice().fill(0, 0, columns);
  assert(run({}, silent).decoded.every(Number.isFinite));
  const { context } = testContext(bench, squeezellm);
  const statistics = { columns, tokens: 0, custom: new Map() };
  const work = (): VectorTensor =>
    squeezellm.quantizeVector!({ context, linear, weight, codec, statistics });
  assertThrows(work, LowbitError, "has no Fisher information");
});
