import { assert, assertAlmostEquals, assertEquals, assertLess, assertThrows } from "@std/assert";
import { type BlockView, type Edge, LowbitError } from "../../../spec/mod.ts";
import { openBench } from "../../../tests/bench.ts";
import { bench as workbench, figures, recipeOf, run } from "../../../tests/engine_bench.ts";
import { plainStatistics, testContext, testInputs, testWeight } from "../../_math/testing.ts";
import { RowSample } from "../../_math/row_sample.ts";
import { osPlus, searchThreshold } from "./mod.ts";

const bench = await openBench();
const [rows, columns, tokens] = [16, 32, 128];
const inputs = testInputs(bench.rng("inputs"), tokens, columns);
// One channel is large and lies far on one side, as in language models.
for (let t = 0; t < tokens; t++) inputs[t * columns + 3] = 40 + 4 * inputs[t * columns + 3];
const weight = testWeight(bench.rng("weight"), rows, columns);
const edge: Edge = { id: "input", from: "norm", to: ["up"] };
const schemes = {
  weight: bench.codecs.resolve("int8_channel_sym"),
  activation: bench.codecs.resolve({ base: "int8_token", element: "int6" }),
};

function block(x: Float32Array): BlockView {
  const sample = new RowSample(64);
  using buffer = bench.kernels.upload(x);
  sample.add(buffer, tokens, columns);
  const min = new Float32Array(columns).fill(Infinity), max = min.map(() => -Infinity);
  x.forEach((value, i) => {
    min[i % columns] = Math.min(min[i % columns], value);
    max[i % columns] = Math.max(max[i % columns], value);
  });
  const custom = new Map([["os-plus", sample.value()]]);
  return {
    index: 0,
    linears: [{ id: "blocks.0.up", role: "up", block: 0, rows, columns, input: "x" }],
    edges: [edge],
    weight: () => weight,
    statistics: () => ({ ...plainStatistics(x, columns), min, max, custom }),
    hyperparameters: {},
    schemes: () => schemes,
  };
}

const context = (options: Record<string, unknown> = {}) =>
  testContext(bench, osPlus, options).context;

Deno.test("os-plus: shifts follow equation 24, scales equation 30", () => {
  const { threshold, offsets, factors } = searchThreshold(context(), block(inputs), edge)!;
  for (let j = 0; j < columns; j++) {
    const channel = inputs.filter((_, i) => i % columns === j);
    const [least, most] = [Math.min(...channel), Math.max(...channel)];
    assertAlmostEquals(offsets[j], (most + least) / 2, 1e-4);
    const reach = Math.max(...channel.map((value) => Math.abs(value - offsets[j])));
    assertAlmostEquals(factors[j], Math.max(1, reach / threshold), 1e-4);
  }
});

Deno.test("os-plus: the threshold is that of the least error, far below that of no change", () => {
  const found = searchThreshold(context(), block(inputs), edge)!;
  assertLess(found.loss, 0.5 * found.plain);
  assert(Math.max(...found.factors) > 1);
  // With one threshold, the largest range, only the shift is left.
  const one = searchThreshold(context({ grid: 1 }), block(inputs), edge)!;
  assertEquals(one.factors, new Float32Array(columns).fill(1));
  assert(one.loss >= found.loss && one.loss < one.plain);
});

Deno.test("os-plus: what cannot be made better is left alone; no calibration is an error", () => {
  const still = block(new Float32Array(inputs.length));
  assertEquals(osPlus.transform!({ context: context(), block: still }), []);
  const inner = { ...block(inputs), edges: [{ ...edge, from: "up" }] };
  assertEquals(osPlus.transform!({ context: context(), block: inner }), []);
  const empty = { ...still, statistics: () => ({ columns, tokens: 0, custom: new Map() }) };
  assertThrows(
    () => osPlus.transform!({ context: context(), block: empty }),
    LowbitError,
    "has no activation statistics",
  );
});

Deno.test("os-plus: in full precision the model computes the same, by biases beside its weights", async () => {
  using lowbit = workbench();
  const assign = [{ select: ["blocks.*"], activation: { base: "int8_token", element: "int4" } }];
  using result = await run(lowbit, recipeOf(["os-plus"], { assign }));
  const biases = [...result.model.tensors.keys()].filter((name) => name.endsWith(".bias"));
  assertEquals(biases.filter((name) => name.startsWith("model.layers.0.")).sort(), [
    "model.layers.0.attention.input.bias",
    "model.layers.0.gate.bias",
    "model.layers.0.key.bias",
    "model.layers.0.mlp.input.bias",
    "model.layers.0.query.bias",
    "model.layers.0.up.bias",
    "model.layers.0.value.bias",
  ]);
  const shift = await result.model.tensors.get("model.layers.0.mlp.input.bias")!.read();
  assert(shift.some((value) => value !== 0));
  const exact = { ...result.model, activations: undefined };
  assertLess((await figures(lowbit, exact)).kl, 1e-8);
});
