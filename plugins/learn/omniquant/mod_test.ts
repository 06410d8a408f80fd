import { assert, assertEquals, assertLess } from "@std/assert";
import { loadAutodiff } from "../../../autodiff/mod.ts";
import { openBench } from "../../../tests/bench.ts";
import { quantizedError } from "../../_math/block_training.ts";
import { testBlock } from "../../_math/learning_bench.ts";
import { testContext } from "../../_math/testing.ts";
import type { BlockLearned, SchemeReference } from "../../../spec/mod.ts";
import { omniquant } from "./mod.ts";
import { scaleBlock } from "./scales.ts";

const bench = await openBench();
const autodiff = await loadAutodiff();

function learn(
  options: Record<string, unknown>,
  weight = "int4_g32_asym",
  activation?: SchemeReference,
) {
  const { context, warnings } = testContext(bench, omniquant, options);
  const given = { ...context, autodiff };
  const { codecs } = bench;
  const inputs = activation ? codecs.resolve(activation) : undefined;
  const block = testBlock(bench, autodiff, codecs.resolve(weight), inputs);
  const learned = omniquant.learn!({ context: given, block }) as BlockLearned;
  const before = quantizedError(given, block, block.quantized, 4);
  return { block, learned, warnings, before, context: given };
}

Deno.test("omniquant: learned clipping has less output error than round to nearest", () => {
  const { learned, before, block, context } = learn({ epochs: 30, batch: 2, clip_rate: 0.05 });
  assertEquals(learned.quantized.size, 3);
  assertEquals(learned.transforms, []);
  assertLess(quantizedError(context, block, learned.quantized, 4), before);
  for (const [role, { parameters }] of learned.quantized) {
    const whole = block.quantized.get(role)!.parameters.scales;
    parameters.scales.forEach((s, i) => assert(s <= whole[i] * (1 + 1e-6)));
  }
});

Deno.test("omniquant: with nothing to learn it is round to nearest", () => {
  assertEquals(learn({ clip: false }).learned.quantized.size, 0);
  assertEquals(learn({ epochs: 0 }).learned.quantized.size, 0);
});

Deno.test("omniquant: scales leave the function alone, and lower the error of W4A4", () => {
  const activation = { base: "int8_token", element: "int4" };
  const options = { epochs: 30, batch: 2, scale: true, clip_rate: 0.02, scale_rate: 0.02 };
  const { learned, before, block, context } = learn(options, "int4_g32_asym", activation);
  assertEquals(learned.transforms!.map((op) => op.op === "scale" && op.edge), [
    "input",
    "down.input",
  ]);
  const { weights, norms } = scaleBlock(block, learned.transforms!);
  assertLess(quantizedError(context, block, learned.quantized, 4, norms), before);
  using folded = autodiff.compile((scope) =>
    block.differentiate!(scope, scope.inputs.x, {
      linear(role, x) {
        const { rows, columns } = block.linears.find((linear) => linear.role === role)!;
        const weight = weights.get(role) ?? block.weight(role);
        return x.matmul(scope.constant(weight, [rows, columns]).transpose());
      },
      parameter: (name) => scope.constant(norms.get(name)!, [norms.get(name)!.length]),
    })
  );
  const expected = block.forward(0, new Map());
  const { value } = folded.run({ x: { values: block.inputs[0], shape: [1, 8, 24] } });
  const largest = expected.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
  expected.forEach((y, i) => assertLess(Math.abs(y - value[i]), 1e-4 * largest));
});

Deno.test("omniquant: what does not get better stays, and it is said", () => {
  const { learned, warnings } = learn({ epochs: 1, clip_rate: 5 }, "int8_g32_sym");
  assertEquals([learned.quantized.size, warnings.length], [0, 1]);
});

Deno.test("omniquant: the same codes on repeat", () => {
  const [a, b] = [1, 2].map(() => learn({ epochs: 3, batch: 3, scale: true }).learned);
  for (const [role, { codes }] of a.quantized) assertEquals(codes, b.quantized.get(role)!.codes);
  assertEquals(a.transforms, b.transforms);
});
