import { assert, assertEquals, assertLessOrEqual } from "@std/assert";
import { openBench } from "../../../tests/bench.ts";
import { runQuantize, testWeight } from "../../_math/testing.ts";
import { rtn } from "./mod.ts";

const bench = await openBench();
const { codecs } = bench;

function squaredError(a: Float32Array, b: Float32Array, power = 2): number {
  return a.reduce((sum, value, i) => sum + Math.abs(value - b[i]) ** power, 0);
}

Deno.test("rtn: every value is the nearest of its grid", () => {
  const scheme = codecs.resolve("int4_g32_asym");
  const weight = testWeight(bench.rng("rtn"), 6, 96);
  const { tensor, decoded } = runQuantize(bench, rtn, { scheme, weight, rows: 6 });
  for (let i = 0; i < weight.length; i++) {
    const tile = Math.floor(i / 32);
    const scale = tensor.parameters.scales[tile];
    assertLessOrEqual(Math.abs(weight[i] - decoded[i]), scale * 0.5001, `element ${i}`);
  }
});

Deno.test("rtn: the searched range never has more error than the whole one", () => {
  for (const id of ["int4_g32_asym", "int4_channel_sym", "nf4_b64", "mxfp4", "fp8_channel"]) {
    const scheme = codecs.resolve(id);
    const weight = testWeight(bench.rng(id), 8, 128);
    weight[5] = 2; // an outlier, so that a smaller range pays
    const plain = runQuantize(bench, rtn, { scheme, weight, rows: 8 }).decoded;
    for (const norm of [2, 2.4]) {
      const options = { range: "error", norm };
      const searched = runQuantize(bench, rtn, { scheme, weight, rows: 8, options }).decoded;
      assertLessOrEqual(
        squaredError(weight, searched, norm),
        squaredError(weight, plain, norm) * (1 + 1e-9),
        id,
      );
    }
  }
});

Deno.test("rtn: a search gains on a group with an outlier", () => {
  const scheme = codecs.resolve("int4_g128_asym");
  const weight = testWeight(bench.rng("outlier"), 4, 128);
  weight[17] = 0.5;
  const plain = runQuantize(bench, rtn, { scheme, weight, rows: 4 }).decoded;
  const options = { range: "error", norm: 2 };
  const searched = runQuantize(bench, rtn, { scheme, weight, rows: 4, options }).decoded;
  assert(squaredError(weight, searched) < squaredError(weight, plain));
});

Deno.test("rtn: 8 bits are near the identity, zeros stay zero, tails are short", () => {
  const scheme = codecs.resolve("int8_g64_sym");
  const weight = testWeight(bench.rng("tail"), 3, 100);
  weight.fill(0, 0, 64);
  const { tensor, decoded } = runQuantize(bench, rtn, { scheme, weight, rows: 3 });
  assertEquals(tensor.parameters.scales.length, 6);
  assert(decoded.slice(0, 64).every((value) => value === 0));
  assertLessOrEqual(
    squaredError(weight, decoded),
    1e-4 * squaredError(weight, new Float32Array(300)),
  );
});

Deno.test("rtn: inputs are untouched and runs repeat", () => {
  const scheme = codecs.resolve("int4_g32_asym");
  const weight = testWeight(bench.rng("pure"), 4, 64);
  const before = weight.slice();
  const options = { range: "error" };
  const first = runQuantize(bench, rtn, { scheme, weight, rows: 4, options }).tensor;
  const second = runQuantize(bench, rtn, { scheme, weight, rows: 4, options }).tensor;
  assertEquals(weight, before);
  assertEquals(first.codes, second.codes);
});
