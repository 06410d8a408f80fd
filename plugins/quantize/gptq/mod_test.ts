import { assert, assertAlmostEquals, assertEquals, assertLessOrEqual } from "@std/assert";
import { roundHalfEven } from "../../../formats/float_bits.ts";
import { openBench } from "../../../tests/bench.ts";
import {
  plainStatistics,
  proxyLoss,
  runQuantize,
  testInputs,
  testWeight,
} from "../../_math/testing.ts";
import { rtn } from "../rtn/mod.ts";
import { gptq } from "./mod.ts";

const bench = await openBench();
const { codecs } = bench;
const [rows, columns] = [12, 96];
const weight = testWeight(bench.rng("weight"), rows, columns);
const statistics = plainStatistics(testInputs(bench.rng("inputs"), 300, columns), columns);

function losses(id: Parameters<typeof codecs.resolve>[0], options: Record<string, unknown>) {
  const scheme = codecs.resolve(id);
  const run = (plugin: typeof gptq | typeof rtn, options = {}) =>
    proxyLoss(
      weight,
      runQuantize(bench, plugin as typeof gptq, { scheme, weight, rows, statistics, options })
        .decoded,
      statistics,
    );
  return { gptq: run(gptq, options), rtn: run(rtn) };
}

Deno.test("gptq beats rtn on its own objective, for every kind of scheme and order", () => {
  const schemes = ["int4_g32_asym", "int4_g64_sym", "int4_channel_sym", "nf4_b64", "mxfp4", "q4_0"];
  for (const id of schemes) {
    for (const act_order of [false, true]) {
      const loss = losses(id, { act_order });
      assert(
        loss.gptq < loss.rtn * 0.9,
        `${id}, act_order ${act_order}: ${loss.gptq} / ${loss.rtn}`,
      );
    }
  }
});

Deno.test("gptq with H = I is rtn", () => {
  const gram = new Float64Array(columns * columns);
  for (let j = 0; j < columns; j++) gram[j * columns + j] = 1;
  const identity = { columns, tokens: 1, gram, custom: new Map() };
  const scheme = codecs.resolve("int4_g32_asym");
  for (const act_order of [false, true]) {
    const options = { act_order };
    const a = runQuantize(bench, gptq, { scheme, weight, rows, statistics: identity, options });
    const b = runQuantize(bench, rtn, { scheme, weight, rows });
    assertEquals(a.tensor.codes, b.tensor.codes);
  }
});

Deno.test("gptq: the block size does not change the result", () => {
  const scheme = codecs.resolve("int4_channel_asym");
  const results = [1, 7, 32, 128].map((block) =>
    runQuantize(bench, gptq, { scheme, weight, rows, statistics, options: { block } }).decoded
  );
  for (const decoded of results.slice(1)) {
    // Sums are made in another order, so a value near a tie may fall on the other side.
    const different = decoded.filter((value, i) => value !== results[0][i]).length;
    assertLessOrEqual(different, 0.01 * decoded.length);
    const [a, b] = [decoded, results[0]].map((d) => proxyLoss(weight, d, statistics));
    assertAlmostEquals(a / b, 1, 0.01);
  }
});

Deno.test("gptq equals LDLQ with the same order", () => {
  // LDLQ (Chee et al. 2023, 2307.13304, eq. 2): with H = (U + I) D (U + I)^T, U strictly upper,
  // column k is Q(W_k + (W - What)_{<k} a_k), a_k the k-th column of U above the diagonal.
  const scheme = codecs.resolve("int4_channel_sym");
  const codec = codecs.get(scheme);
  const options = { act_order: false, static_groups: true, damping: 0.01 };
  const { tensor, decoded } = runQuantize(bench, gptq, {
    scheme,
    weight,
    rows,
    statistics,
    options,
  });
  const h = dampedHessian(0.01);
  const { u } = udu(h, columns);
  const hat = new Float64Array(rows * columns);
  let different = 0;
  for (let k = 0; k < columns; k++) {
    for (let row = 0; row < rows; row++) {
      let v = weight[row * columns + k];
      for (let j = 0; j < k; j++) {
        v += (weight[row * columns + j] - hat[row * columns + j]) * u[j * columns + k];
      }
      const scale = tensor.parameters.scales[row];
      const q = Math.min(7, Math.max(-8, roundHalfEven(Math.fround(Math.fround(v) / scale))));
      hat[row * columns + k] = Math.fround(q * scale);
      if (hat[row * columns + k] !== decoded[row * columns + k]) different++;
    }
  }
  assertEquals(codec.scheme.id, "int4_channel_sym");
  assertLessOrEqual(different, 0.01 * rows * columns);
});

Deno.test("gptq: dead inputs become zero and are reported", () => {
  const x = testInputs(bench.rng("dead"), 200, columns);
  for (let t = 0; t < 200; t++) x[t * columns + 5] = 0;
  const dead = plainStatistics(x, columns);
  const scheme = codecs.resolve("int4_g32_sym");
  const { decoded, warnings } = runQuantize(bench, gptq, {
    scheme,
    weight,
    rows,
    statistics: dead,
  });
  for (let row = 0; row < rows; row++) assertEquals(decoded[row * columns + 5], 0);
  assert(warnings.some((warning) => warning.includes("1 dead input")));
});

Deno.test("gptq: damping escalates, then falls back to rtn, and says so", () => {
  const scheme = codecs.resolve("int4_g32_sym");
  // Fewer tokens than channels: singular without damping.
  const few = plainStatistics(testInputs(bench.rng("few"), 4, columns), columns);
  const escalated = runQuantize(bench, gptq, {
    scheme,
    weight,
    rows,
    statistics: few,
    options: { damping: 0 },
  });
  assert(escalated.warnings.some((warning) => warning.includes("damping was raised from 0")));
  assert(escalated.decoded.every(Number.isFinite));
  // Not positive definite at any damping that is allowed.
  const gram = statistics.gram!.slice();
  gram[1] = gram[columns] = 1e12;
  const broken = runQuantize(bench, gptq, {
    scheme,
    weight,
    rows,
    statistics: { ...statistics, gram },
  });
  assert(broken.warnings.some((warning) => warning.includes("rounded to nearest")));
  assertEquals(broken.tensor.codes, runQuantize(bench, rtn, { scheme, weight, rows }).tensor.codes);
});

Deno.test("gptq: many bits are near the identity; ragged groups work; runs repeat", () => {
  const scheme = codecs.resolve({
    base: "int8_g64_asym",
    granularity: { kind: "group", size: 40 },
  });
  const before = weight.slice();
  const first = runQuantize(bench, gptq, { scheme, weight, rows, statistics });
  const second = runQuantize(bench, gptq, { scheme, weight, rows, statistics });
  assertEquals(first.tensor.parameters.scales.length, rows * 3);
  assertEquals(first.tensor.codes, second.tensor.codes);
  assertEquals(weight, before);
  const error = first.decoded.reduce((sum, value, i) => sum + (value - weight[i]) ** 2, 0);
  const signal = weight.reduce((sum, value) => sum + value ** 2, 0);
  assertLessOrEqual(error, 1e-3 * signal);
});

function dampedHessian(damping: number): Float64Array {
  const h = statistics.gram!.map((value) => value / statistics.tokens);
  let mean = 0;
  for (let j = 0; j < columns; j++) mean += h[j * columns + j] / columns;
  for (let j = 0; j < columns; j++) h[j * columns + j] += damping * mean;
  return h;
}

/** `H = (U + I) D (U + I)^T` with U strictly upper triangular, from the last column to the first. */
function udu(h: Float64Array, n: number): { u: Float64Array; d: Float64Array } {
  const u = new Float64Array(n * n);
  const d = new Float64Array(n);
  for (let k = n - 1; k >= 0; k--) {
    d[k] = h[k * n + k];
    for (let j = k + 1; j < n; j++) d[k] -= u[k * n + j] ** 2 * d[j];
    for (let i = 0; i < k; i++) {
      let sum = h[i * n + k];
      for (let j = k + 1; j < n; j++) sum -= u[i * n + j] * u[k * n + j] * d[j];
      u[i * n + k] = sum / d[k];
    }
  }
  return { u, d };
}
