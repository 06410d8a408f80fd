import { assertEquals, assertLess } from "@std/assert";
import { openBench } from "../../../tests/bench.ts";
import { testContext, testInputs, testLinear, testWeight } from "../../_math/testing.ts";
import { llmInt8 } from "./mod.ts";

const bench = await openBench();
const { codecs, kernels } = bench;
const [rows, columns, tokens] = [12, 96, 40];
const linear = testLinear(rows, columns);
const weight = codecs.resolve("int8_channel_sym");
const inputs = testInputs(bench.rng("inputs"), tokens, columns).map((v) =>
  Math.max(-3, Math.min(3, v))
);
// Two outlier features: one in every token, one in a single token.
for (let t = 0; t < tokens; t++) inputs[t * columns + 7] = t % 2 ? 60 : -45;
inputs[5 * columns + 20] = -6.5;

/** What the planned scheme of activations makes of the inputs. */
function activations(options: Record<string, unknown>, given = { weight }) {
  const { context } = testContext(bench, llmInt8, options);
  const planned = llmInt8.plan!({
    context,
    linears: [linear],
    schemes: new Map([[linear.id, given]]),
  });
  const codec = codecs.get(codecs.resolve(planned.get(linear.id)!.activation!));
  using x = kernels.upload(inputs);
  codec.fake(x, tokens, columns);
  return x.array.slice();
}

/** Plain 8 bits a token. */
function plain() {
  using x = kernels.upload(inputs);
  codecs.get(codecs.resolve("int8_token")).fake(x, tokens, columns);
  return x.array.slice();
}

const error = (x: Float32Array) => x.reduce((sum, v, i) => sum + (v - inputs[i]) ** 2, 0);

Deno.test("llm-int8: outlier features stay exact and leave the scales of the others alone", () => {
  const x = activations({});
  for (let t = 0; t < tokens; t++) {
    for (const column of [7, 20]) {
      assertEquals(x[t * columns + column], inputs[t * columns + column]);
    }
    // The rest is what 8 bits make of a token without outliers.
    const rest = inputs.slice(t * columns, (t + 1) * columns);
    rest[7] = rest[20] = 0;
    const scale = Math.fround(rest.reduce((a, v) => Math.max(a, Math.abs(v)), 0) / 127);
    rest.forEach((value, j) => {
      if (j !== 7 && j !== 20) assertLess(Math.abs(x[t * columns + j] - value), 0.501 * scale);
    });
  }
  assertLess(error(x), error(plain()) / 50);
});

Deno.test("llm-int8: a huge threshold is plain int8, zero is full precision", () => {
  assertEquals(activations({ threshold: 1e30 }), plain());
  assertEquals(activations({ threshold: 0 }), inputs);
});

Deno.test("llm-int8: weights have a scale a row, linears without a scheme are left alone", () => {
  const { context } = testContext(bench, llmInt8);
  const none = llmInt8.plan!({ context, linears: [linear], schemes: new Map() });
  assertEquals(none.size, 0);
  const values = testWeight(bench.rng("weight"), rows, columns);
  const codec = codecs.get(weight);
  const statistics = { columns, tokens: 0, custom: new Map() };
  const tensor = llmInt8.quantize!({ context, linear, weight: values, codec, statistics });
  assertEquals(tensor.parameters.scales.length, rows);
  for (let row = 0; row < rows; row++) {
    const largest = values.subarray(row * columns, (row + 1) * columns)
      .reduce((a, v) => Math.max(a, Math.abs(v)), 0);
    assertEquals(tensor.parameters.scales[row], Math.fround(largest / 127));
  }
});
