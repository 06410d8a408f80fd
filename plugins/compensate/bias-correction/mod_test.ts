import { assert, assertAlmostEquals, assertEquals, assertLess, assertThrows } from "@std/assert";
import { LowbitError } from "../../../spec/mod.ts";
import { openBench } from "../../../tests/bench.ts";
import { bench as workbench, figures, recipeOf, run } from "../../../tests/engine_bench.ts";
import {
  plainStatistics,
  testContext,
  testInputs,
  testLinear,
  testWeight,
} from "../../_math/testing.ts";
import { biasCorrection } from "./mod.ts";

const bench = await openBench();
const [rows, columns, tokens] = [12, 20, 50];
const inputs = testInputs(bench.rng("inputs"), tokens, columns).map((value) => value + 1);
const weight = testWeight(bench.rng("weight"), rows, columns);
const codec = bench.codecs.get(
  bench.codecs.resolve({ base: "int4_channel_sym", element: "int2" }),
);
const tensor = codec.quantize(weight, rows, columns);
const mean = Float64Array.from({ length: columns }, (_, j) => {
  let sum = 0;
  for (let t = 0; t < tokens; t++) sum += inputs[t * columns + j] / tokens;
  return sum;
});

Deno.test("bias correction: outputs are right on average, and nearer to the exact ones", () => {
  const { context } = testContext(bench, biasCorrection);
  const statistics = { ...plainStatistics(inputs, columns), mean };
  const linear = testLinear(rows, columns);
  const args = { context, linear, weight, tensor, codec, statistics };
  const { bias } = biasCorrection.compensate!(args);
  const decoded = codec.dequantize(tensor);
  let [before, after] = [0, 0];
  for (let row = 0; row < rows; row++) {
    let total = 0;
    for (let t = 0; t < tokens; t++) {
      let difference = 0;
      for (let j = 0; j < columns; j++) {
        const i = row * columns + j;
        difference += (weight[i] - decoded[i]) * inputs[t * columns + j];
      }
      total += difference - bias![row];
      before += difference ** 2;
      after += (difference - bias![row]) ** 2;
    }
    assertAlmostEquals(total / tokens, 0, 1e-6);
  }
  assertLess(after, before);
  assertThrows(
    () => biasCorrection.compensate!({ ...args, statistics: { ...statistics, mean: undefined } }),
    LowbitError,
    "has no activation statistics",
  );
  const outside = { ...linear, block: undefined };
  assertEquals(biasCorrection.compensate!({ ...args, linear: outside }), {});
});

Deno.test("bias correction: in a run, biases are written, read back and help", async () => {
  using lowbit = workbench();
  const assign = [{
    select: ["blocks.*.mlp.*"],
    weight: { base: "int4_channel_sym", element: "int2" },
  }];
  using plain = await run(lowbit, recipeOf(["rtn"], { assign }));
  using result = await run(lowbit, recipeOf(["rtn", "bias-correction"], { assign }));
  const names = [...result.model.tensors.keys()].filter((name) => name.endsWith(".bias"));
  assertEquals(names.filter((name) => name.startsWith("model.layers.1.")), [
    "model.layers.1.gate.bias",
    "model.layers.1.up.bias",
    "model.layers.1.mlp.branch.bias",
  ]);
  const values = await result.model.tensors.get(names[0])!.read();
  assert(values.some((value) => value !== 0));
  assertLess((await figures(lowbit, result.model)).kl, (await figures(lowbit, plain.model)).kl);
});
