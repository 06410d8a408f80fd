import { assert, assertEquals, assertLess } from "@std/assert";
import { loadAutodiff } from "../../../autodiff/mod.ts";
import { openBench } from "../../../tests/bench.ts";
import { quantizedError } from "../../_math/block_training.ts";
import { testBlock } from "../../_math/learning_bench.ts";
import { testContext } from "../../_math/testing.ts";
import type { QuantizedTensor } from "../../../spec/mod.ts";
import { signround } from "./mod.ts";

const bench = await openBench();
const autodiff = await loadAutodiff();

function learn(scheme: string, options: Record<string, unknown>) {
  const { context, warnings } = testContext(bench, signround, options);
  const given = { ...context, autodiff };
  const block = testBlock(bench, autodiff, bench.codecs.resolve(scheme));
  const before = block.linears.map(({ role }) => block.weight(role).slice());
  const learned = signround.learn!({ context: given, block }) as Map<string, QuantizedTensor>;
  assertEquals(block.linears.map(({ role }) => block.weight(role)), before, "inputs are untouched");
  const error = (tensors: ReadonlyMap<string, QuantizedTensor>) =>
    quantizedError(given, block, tensors, 4);
  return { block, learned, warnings, error };
}

for (const scheme of ["int4_g32_asym", "int4_g32_sym", "int4_channel_asym"]) {
  Deno.test(`signround: ${scheme} has less output error than nearest, codes move by one`, () => {
    const { block, learned, error } = learn(scheme, { steps: 40, batch: 4, clip: false });
    assertEquals(learned.size, 3);
    assertLess(error(learned), 0.9 * error(block.quantized));
    let moved = 0;
    for (const [role, { codes, parameters }] of learned) {
      const nearest = block.quantized.get(role)!;
      assertEquals(parameters, nearest.parameters);
      codes.forEach((code, i) => {
        // As a signed difference of codes of 4 bits.
        const change = ((code - nearest.codes[i] + 24) % 16) - 8;
        assert(Math.abs(change) <= 1);
        moved += Math.abs(change);
      });
    }
    assert(moved > 0);
  });
}

Deno.test("signround: no steps are round to nearest", () => {
  assertEquals(learn("int4_g32_asym", { steps: 0 }).learned.size, 0);
});

Deno.test("signround: clipping never widens a range", () => {
  const { block, learned, error } = learn("int4_g32_asym", { steps: 40, batch: 4 });
  assertLess(error(learned), error(block.quantized));
  for (const [role, { parameters }] of learned) {
    const whole = block.quantized.get(role)!.parameters;
    parameters.scales.forEach((s, i) => assert(s <= whole.scales[i] * (1 + 1e-6)));
  }
});

Deno.test("signround: what does not get better stays, and it is said", () => {
  const { learned, warnings } = learn("int4_g32_asym", { steps: 1, batch: 4, rate: 1e-9 });
  assertEquals([learned.size, warnings.length], [0, 1]);
});

Deno.test("signround: the same codes on repeat", () => {
  const [a, b] = [1, 2].map(() => learn("int4_g32_asym", { steps: 20, batch: 3 }).learned);
  for (const [role, { codes }] of a) assertEquals(codes, b.get(role)!.codes);
});
