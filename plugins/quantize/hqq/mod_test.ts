import { assert, assertEquals, assertLess, assertLessOrEqual } from "@std/assert";
import { openBench } from "../../../tests/bench.ts";
import { runQuantize, testWeight } from "../../_math/testing.ts";
import { rtn } from "../rtn/mod.ts";
import { hqq } from "./mod.ts";

const bench = await openBench();
const [rows, columns] = [24, 200];
// Heavy tails: normal values, some of them many times as large.
const weight = testWeight(bench.rng("weight"), rows, columns)
  .map((value, i) => i % 37 === 0 ? value * 6 : value);
const scheme = bench.codecs.resolve({ base: "int4_g64_float_zero", element: "uint3" });

const magnitude = (decoded: Float32Array, from = weight) =>
  decoded.reduce((sum, value, i) => sum + Math.abs(value - from[i]), 0);

const run = (options: Record<string, unknown> = {}, given = scheme, of = weight) =>
  runQuantize(bench, hqq, { scheme: given, weight: of, rows, options });

Deno.test("hqq lowers the mean magnitude of errors, for real and integer zero points", () => {
  for (const given of [scheme, bench.codecs.resolve("int4_g64_asym")]) {
    const nearest = runQuantize(bench, rtn, { scheme: given, weight, rows });
    const { decoded } = run({}, given);
    assertLessOrEqual(magnitude(decoded), magnitude(nearest.decoded) * (1 + 1e-6));
  }
  const nearest = runQuantize(bench, rtn, { scheme, weight, rows });
  assertLess(magnitude(run().decoded), magnitude(nearest.decoded) * 0.99);
});

Deno.test("hqq: errors never rise with more rounds; none is rtn", () => {
  const nearest = runQuantize(bench, rtn, { scheme, weight, rows });
  assertEquals(run({ iterations: 0 }).tensor, nearest.tensor);
  const errors = [0, 1, 2, 5, 10, 20].map((iterations) => magnitude(run({ iterations }).decoded));
  for (let i = 1; i < errors.length; i++) assertLessOrEqual(errors[i], errors[i - 1] * (1 + 1e-6));
});

Deno.test("hqq: shrinkage plays a part where beta is small, for every exponent", () => {
  const plain = run({ beta: 1e6 }).tensor.parameters.zeros!;
  for (const norm of [0.5, 0.7, 1]) {
    const { tensor, decoded } = run({ beta: 100, norm });
    assert(tensor.parameters.zeros!.some((zero, i) => zero !== plain[i]), `norm ${norm}`);
    assert(decoded.every(Number.isFinite));
  }
});

Deno.test("hqq: zero groups stay zero, constant ones are exact, 8 bits are near the identity", () => {
  const special = new Float32Array(rows * columns);
  for (let c = 64; c < 128; c++) special[c] = 0.25;
  const { decoded } = run({}, scheme, special);
  assertEquals(decoded.subarray(0, 64).every((value) => value === 0), true);
  for (let c = 64; c < 128; c++) assertLess(Math.abs(decoded[c] - 0.25), 1e-6);
  const wide = bench.codecs.resolve({ base: "int4_g64_float_zero", element: "uint8" });
  assertLess(magnitude(run({}, wide).decoded), 0.02 * magnitude(new Float32Array(weight.length)));
  assertEquals(run().tensor, run().tensor);
});
