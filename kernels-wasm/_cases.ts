/**
 * Random cases of every operation, for the tests: each runs an operation on given kernels and
 * returns its outputs. The same seed gives the same inputs.
 *
 * @module
 */

import type { KernelOp } from "../spec/kernel_ops.ts";
import type { Kernels } from "../spec/kernels.ts";
import { ALGEBRA_CASES } from "./_cases_algebra.ts";
import { DENSE_CASES } from "./_cases_dense.ts";
import { groupedProduct, integerProduct } from "./_cases_integer.ts";
import { LOOKUP_CASES } from "./_cases_lookup.ts";
import type { Case, Output, Random, Run } from "./_random.ts";

export { type Case, type Output, Random } from "./_random.ts";

/** A positive definite matrix. */
function hermitian(random: Random, n: number): Float64Array {
  const rank = Math.min(n, 8);
  const a = random.floats(n * rank);
  const h = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) {
      let sum = i === j ? 0.5 + rank / 8 : 0;
      for (let p = 0; p < rank; p++) sum += a[i * rank + p] * a[j * rank + p];
      h[i * n + j] = sum;
    }
  }
  return h;
}

function upper(random: Random, n: number): Float32Array {
  const u = random.floats(n * n, 0.2);
  for (let i = 0; i < n; i++) u[i * n + i] = 0.5 + Math.abs(u[i * n + i]);
  return u;
}

function packing({ k, random, rows, columns }: Case, operation: "pack" | "unpack"): Output[] {
  const halves = random.int(0, 3) === 0;
  const bits = halves ? 4 : random.int(1, 8);
  const unitLength = halves ? columns * 2 : columns;
  const start = random.int(0, 3);
  const stride = start + Math.ceil(unitLength * bits / 8) + random.int(0, 3);
  using codes = k.upload(random.codes(rows * unitLength, 256));
  using bytes = k.upload(random.codes(rows * stride, 256));
  const order = halves ? "halves" : "neighbours";
  const offset = random.of([0, 0, 1 << (bits - 1), 255]);
  k[operation]({ codes, bytes, bits, units: rows, unitLength, stride, start, order, offset });
  return [codes.array.slice(), bytes.array.slice()];
}

/** A packed weight and the arguments that it is made from. */
export function packedArguments({ random, rows, columns }: Omit<Case, "k">, bits: number) {
  const t = random.tiling(rows, columns);
  const tiles = t.gridRows * t.gridColumns;
  const size = 1 << bits;
  const table = random.of([
    () => random.floats(size),
    () => Float32Array.from({ length: size }, (_, i) => i),
    () => Float32Array.from({ length: size }, (_, i) => i - size / 2),
    () => Float32Array.from({ length: size }, (_, i) => i < size / 2 ? i : i - size),
  ])();
  const kind = random.int(0, 2);
  const zeros = kind === 1 ? Float32Array.from(random.codes(tiles, size)) : undefined;
  const minimums = kind === 2 ? random.floats(tiles) : undefined;
  const bytes = random.codes(rows * Math.ceil(columns * bits / 8), 256);
  return { tiling: t, bits, bytes, table, scales: random.scales(tiles), zeros, minimums };
}

function product(c: Case, weight: ReturnType<Kernels["denseWeight"]>): Output[] {
  const tokens = c.random.of([1, 1, 2, 3, 4, 5, 7, 8]);
  using x = c.k.upload(c.random.floats(tokens * c.columns));
  using y = c.k.upload(c.random.floats(tokens * c.rows));
  c.k.linear({ x, y, tokens, weight });
  return [y.array.slice()];
}

/** Rows of log-probabilities, the same for every implementation. */
function logProbabilities(random: Random, rows: number, columns: number): Float32Array {
  const x = random.floats(rows * columns, 5);
  for (let r = 0; r < rows; r++) {
    const row = x.subarray(r * columns, (r + 1) * columns);
    const sum = row.reduce((sum, v) => sum + Math.exp(v), 0);
    row.set(row.map((v) => v - Math.log(sum)));
  }
  return x;
}

/** A case of every operation. */
export const CASES: Record<KernelOp["name"], Run> = {
  ...ALGEBRA_CASES,
  ...DENSE_CASES,
  ...LOOKUP_CASES,
  range({ k, random, rows, columns }) {
    const t = random.tiling(rows, columns);
    const tiles = t.gridRows * t.gridColumns;
    using x = k.upload(random.wild(rows * columns, random.int(0, 3) === 0));
    using min = k.alloc("f32", tiles);
    using max = k.alloc("f32", tiles);
    using extreme = k.alloc("f32", tiles);
    k.range({ x, tiling: t, min, max, extreme });
    k.range({ x, tiling: t });
    return [min.array.slice(), max.array.slice(), extreme.array.slice()];
  },
  encode({ k, random, rows, columns }) {
    const t = random.tiling(rows, columns);
    const tiles = t.gridRows * t.gridColumns;
    const bits = random.int(1, 8);
    const encoder = random.encoder(bits);
    const wild = random.int(0, 2) === 0;
    using x = k.upload(
      wild ? random.wild(rows * columns, true) : random.floats(rows * columns, 1 << bits),
    );
    using codes = k.alloc("u8", rows * columns);
    using scales = k.upload(random.scales(tiles));
    using zeros = k.upload(Float32Array.from(random.codes(tiles, 1 << bits)));
    k.encode({
      x,
      codes,
      tiling: t,
      scales: random.int(0, 3) ? scales : undefined,
      zeros: encoder.kind === "int" && random.int(0, 1) ? zeros : undefined,
      apply: random.of(["divide", "reciprocal"]),
      encoder,
    });
    return [codes.array.slice()];
  },
  decode({ k, random, rows, columns }) {
    const t = random.tiling(rows, columns);
    const tiles = t.gridRows * t.gridColumns;
    using codes = k.upload(random.codes(rows * columns, 256));
    using y = k.alloc("f32", rows * columns);
    using table = k.upload(random.floats(1 << random.int(1, 8), 10));
    using scales = k.upload(random.scales(tiles));
    using zeros = k.upload(random.floats(tiles));
    k.decode({
      codes,
      y,
      tiling: t,
      table,
      scales: random.int(0, 3) ? scales : undefined,
      zeros: random.int(0, 1) ? zeros : undefined,
    });
    return [y.array.slice()];
  },
  pack: (c) => packing(c, "pack"),
  unpack: (c) => packing(c, "unpack"),
  tileError({ k, random, rows, columns }) {
    const t = random.tiling(rows, columns);
    using x = k.upload(random.floats(rows * columns));
    using y = k.upload(random.floats(rows * columns));
    using error = k.alloc("f64", t.gridRows * t.gridColumns);
    k.tileError({ x, y, tiling: t, exponent: random.of([2, 2.4, 1, 0.7]), error });
    return [error.array.slice()];
  },
  power({ k, random, rows, columns }) {
    using x = k.upload(random.floats(rows * columns).map(Math.abs));
    using y = k.alloc("f32", rows * columns);
    k.power({ x, y, exponent: random.of([0, 0.5, 1, 2.4]) });
    return [y.array.slice()];
  },
  narrow({ k, random, rows, columns }) {
    using x = k.upload(random.wild(rows * columns, true));
    using bytes = k.alloc("u8", 2 * rows * columns);
    k.narrow({ x, bytes, to: random.of(["float16", "bfloat16"]) });
    return [bytes.array.slice()];
  },
  widen({ k, random, rows, columns }) {
    using bytes = k.upload(random.codes(2 * rows * columns, 256));
    using y = k.alloc("f32", rows * columns);
    k.widen({ bytes, y, from: random.of(["float16", "bfloat16"]) });
    return [new Uint8Array(y.array.slice().buffer)];
  },
  denseWeight(c) {
    using weight = c.k.denseWeight(c.random.floats(c.rows * c.columns), c.rows, c.columns);
    return product(c, weight);
  },
  packedWeight(c) {
    using weight = c.k.packedWeight(packedArguments(c, c.random.int(1, 8)));
    return product(c, weight);
  },
  linear(c) {
    return c.random.int(0, 1) ? CASES.denseWeight(c) : CASES.packedWeight(c);
  },
  integerWeight: integerProduct,
  integerLinear: integerProduct,
  groupedLinear: groupedProduct,
  gram({ k, random, rows, columns }) {
    using x = k.upload(random.floats(rows * columns));
    using gram = k.upload(hermitian(random, columns));
    k.gram({ x, rows, columns, gram });
    return [gram.array.slice()];
  },
  columnStats({ k, random, rows, columns }) {
    using x = k.upload(random.floats(rows * columns));
    using absMax = k.upload(random.scales(columns));
    using absSum = k.upload(Float64Array.from(random.scales(columns)));
    k.columnStats({ x, rows, columns, absMax, absSum });
    return [absMax.array.slice(), absSum.array.slice()];
  },
  inverseCholesky({ k, random, columns: n }) {
    using h = k.upload(hermitian(random, n));
    using u = k.alloc("f32", n * n);
    const definite = k.inverseCholesky({ h, n, u });
    return [u.array.slice(), Uint8Array.of(definite ? 1 : 0)];
  },
  encodeFeedback({ k, random, rows, columns }) {
    const bits = random.int(2, 8);
    const start = random.int(0, columns);
    const count = random.int(0, columns - start);
    const size = random.of([4, 16, 64]);
    const groups = Math.max(1, Math.ceil(columns / size));
    const integer = random.encoder(bits);
    using w = k.upload(random.floats(rows * columns, 4));
    using u = k.upload(upper(random, columns));
    using groupOf = k.upload(Uint32Array.from({ length: columns }, (_, c) => Math.floor(c / size)));
    using scales = k.upload(random.scales(rows * groups));
    using stored = k.upload(random.scales(rows * groups));
    using zeros = k.upload(Float32Array.from(random.codes(rows * groups, 1 << bits)));
    using table = k.upload(Float32Array.from({ length: 1 << bits }, (_, i) => i));
    using codes = k.alloc("u8", rows * columns);
    using errors = k.alloc("f32", rows * count);
    k.encodeFeedback({
      w,
      rows,
      columns,
      start,
      count,
      u,
      groupOf,
      scales,
      stored: random.int(0, 1) ? stored : undefined,
      zeros: integer.kind === "int" && random.int(0, 1) ? zeros : undefined,
      groups,
      apply: random.of(["divide", "reciprocal"]),
      encoder: integer,
      table,
      codes,
      errors,
    });
    return [w.array.slice(), codes.array.slice(), errors.array.slice()];
  },
  trailingUpdate({ k, random, rows, columns }) {
    const start = random.int(0, columns);
    const count = random.int(0, columns - start);
    using w = k.upload(random.floats(rows * columns));
    using errors = k.upload(random.floats(rows * count));
    using u = k.upload(upper(random, columns));
    k.trailingUpdate({ w, rows, columns, start, count, errors, u });
    return [w.array.slice()];
  },
  rmsNorm({ k, random, rows, columns }) {
    using x = k.upload(random.floats(rows * columns));
    using y = k.alloc("f32", rows * columns);
    using weight = k.upload(random.floats(columns));
    k.rmsNorm({ x, y, rows, columns, weight, epsilon: 1e-5 });
    return [y.array.slice()];
  },
  rope({ k, random, rows, columns }) {
    const [heads, headSize] = [random.int(1, 3), 2 * Math.max(1, Math.min(columns, 40))];
    using x = k.upload(random.floats(rows * heads * headSize));
    k.rope({ x, rows, heads, headSize, position: random.int(0, 3000), theta: 10000 });
    return [x.array.slice()];
  },
  attention({ k, random, rows: tokens, columns }) {
    const kvHeads = random.int(1, 2);
    const heads = kvHeads * random.int(1, 3);
    const headSize = Math.max(1, Math.min(columns, 40));
    const past = random.of([0, 1, 5, 40]);
    using q = k.upload(random.floats(tokens * heads * headSize));
    using keys = k.upload(random.floats((past + tokens) * kvHeads * headSize));
    using v = k.upload(random.floats((past + tokens) * kvHeads * headSize));
    using y = k.alloc("f32", tokens * heads * headSize);
    const scale = 1 / Math.sqrt(headSize);
    k.attention({ q, k: keys, v, y, tokens, past, heads, kvHeads, headSize, scale });
    return [y.array.slice()];
  },
  siluGate({ k, random, rows, columns }) {
    using gate = k.upload(random.floats(rows * columns, random.of([1, 30, 300])));
    using up = k.upload(random.floats(rows * columns));
    using y = k.alloc("f32", rows * columns);
    k.siluGate({ gate, up, y });
    k.siluGate({ gate, up, y: up });
    return [y.array.slice(), up.array.slice()];
  },
  add({ k, random, rows, columns }) {
    using x = k.upload(random.floats(rows * columns));
    using y = k.upload(random.floats(rows * columns));
    k.add({ x, y });
    return [y.array.slice()];
  },
  scaleColumns({ k, random, rows, columns }) {
    using x = k.upload(random.floats(rows * columns));
    using factors = k.upload(random.floats(columns));
    k.scaleColumns({ x, rows, columns, factors });
    return [x.array.slice()];
  },
  logSoftmax({ k, random, rows, columns }) {
    using x = k.upload(random.floats(rows * columns, random.of([1, 20])));
    k.logSoftmax({ x, rows, columns });
    return [x.array.slice()];
  },
  divergence({ k, random, rows, columns }) {
    using p = k.upload(logProbabilities(random, rows, columns));
    using q = k.upload(logProbabilities(random, rows, columns));
    using kl = k.alloc("f64", rows);
    using agree = k.alloc("u8", rows);
    k.divergence({ p, q, rows, columns, kl, agree });
    return [kl.array.slice(), agree.array.slice()];
  },
};
