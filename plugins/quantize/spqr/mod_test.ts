import { assert, assertEquals, assertLess, assertLessOrEqual, assertThrows } from "@std/assert";
import { LowbitError, type SparsePart } from "../../../spec/mod.ts";
import { openBench } from "../../../tests/bench.ts";
import {
  plainStatistics,
  proxyLoss,
  runQuantize,
  testInputs,
  testWeight,
} from "../../_math/testing.ts";
import { gptq } from "../gptq/mod.ts";
import { spqr } from "./mod.ts";

const bench = await openBench();
const { codecs } = bench;
const [rows, columns] = [32, 128];
const weight = testWeight(bench.rng("weight"), rows, columns)
  .map((value, i) => i % 131 === 0 ? value * 7 : value);
const statistics = plainStatistics(testInputs(bench.rng("inputs"), 400, columns), columns);

/** The paper's: groups of 16, whose scales and minima have 3 bits. */
const small = codecs.resolve({
  id: "spqr3_g16",
  summary: "uint3 in groups of 16 with 3-bit scales and minima",
  element: "uint3",
  granularity: { kind: "group", size: 16 },
  zero_point: { kind: "minimum" },
  scale: {
    rule: "minmax",
    format: "uint3",
    codes_from: "stored",
    apply: "divide",
    all_zero: 0,
    second: { kind: "super_block", tiles: 16, format: "float16", signed: false },
  },
  tail: "short",
  source: "",
});

const run = (scheme: typeof small, options: Record<string, unknown> = {}) =>
  runQuantize(bench, spqr, { scheme, weight, rows, statistics, options });

const kept = (made: ReturnType<typeof run>) => (made.tensor.side?.[0] as SparsePart | undefined);

Deno.test("spqr without outliers is gptq with static groups", () => {
  for (const id of ["int4_g32_asym", "int4_g32_sym", "nf4_b64", "int4_channel_asym"]) {
    const scheme = codecs.resolve(id);
    for (const act_order of [false, true]) {
      const made = run(scheme, { threshold: 1e30, act_order });
      const options = { act_order, static_groups: true };
      const plain = runQuantize(bench, gptq, { scheme, weight, rows, statistics, options });
      assertEquals(kept(made), undefined);
      assertEquals(made.tensor.codes, plain.tensor.codes, `${id}, ${act_order}`);
      assertEquals(made.tensor.parameters, plain.tensor.parameters);
    }
  }
});

Deno.test("spqr: a lower threshold keeps more weights aside and lowers the loss", () => {
  for (const scheme of [codecs.resolve("int4_g32_asym"), small]) {
    let [before, count] = [Infinity, -1];
    for (const threshold of [1e30, 0.5, 0.1, 0.02]) {
      const made = run(scheme, { threshold });
      const loss = proxyLoss(weight, made.decoded, statistics);
      const outliers = kept(made)?.values.length ?? 0;
      assertLess(loss, before, `${scheme.id}, ${threshold}`);
      assertLess(count, outliers);
      [before, count] = [loss, outliers];
    }
    assertLess(count, 0.3 * weight.length);
  }
});

Deno.test("spqr: outliers are the large weights, and leave the scales of their groups", () => {
  const made = run(codecs.resolve("int4_g32_asym"), { threshold: 0.2 });
  const part = kept(made)!;
  const places = new Set(Array.from(part.rows, (row, i) => row * columns + part.columns[i]));
  const large = [...weight.keys()].filter((i) => Math.abs(weight[i]) > 0.25);
  assert(large.length > 5 && large.filter((i) => places.has(i)).length > 0.6 * large.length);
  const all = run(codecs.resolve("int4_g32_asym"), { threshold: 1e30 });
  const sum = (x: Float32Array) => x.reduce((a, b) => a + b, 0);
  assertLess(sum(made.tensor.parameters.scales), sum(all.tensor.parameters.scales));
  part.values.forEach((value, i) => {
    assertLessOrEqual(Math.abs(value), 4 * 0.05 * 7);
    if (i > 0) assert(part.rows[i] >= part.rows[i - 1]);
  });
});

Deno.test("spqr: dead inputs, no Hessian, the same bytes twice", () => {
  const gram = statistics.gram!.slice();
  for (let j = 0; j < columns; j++) gram[5 * columns + j] = gram[j * columns + 5] = 0;
  const dead = { ...statistics, gram };
  const made = runQuantize(bench, spqr, { scheme: small, weight, rows, statistics: dead });
  assert(made.decoded.every(Number.isFinite));
  assertEquals(run(small).tensor, run(small).tensor);
  assertThrows(
    () => runQuantize(bench, spqr, { scheme: small, weight, rows }),
    LowbitError,
    "has no Hessian",
  );
});
