/**
 * Linear algebra in f64 on matrices as large as Hessians are: `deno task bench:algebra [--sizes
 * 1024,2048,4096] [--threads N]`. Writes docs/generated/bench-algebra.md; ends with an error where a
 * residual is over its bound.
 *
 * A residual is the Frobenius norm of what should be zero, relative to that of what it is made from,
 * estimated from its products with random vectors: the mean of `|R v|^2` is `|R|^2` for v of
 * independent normal entries.
 *
 * @module
 */

import { parseArgs } from "@std/cli";
import { Random } from "../kernels-wasm/_random.ts";
import { loadKernels } from "../kernels-wasm/mod.ts";
import { clockSeconds, processorSeconds } from "./measure.ts";

/** Vectors of an estimate. */
const PROBES = 8;
/** Every bound is this times the order of the matrix: twice the distance from 1 to the next f64. */
const EPSILON = 2 ** -51;
/** The most seconds that an SVD may be expected to take; a longer one is left out. */
const PATIENCE = 600;

const args = parseArgs(Deno.args, { string: ["sizes", "threads"] });
const sizes = (args.sizes as string ?? "1024,2048,4096").split(",").map(Number);
const kernels = await loadKernels({ threads: Number(args.threads ?? 0) });
const { threads } = kernels;

interface Line {
  operation: string;
  n: number;
  /** By the clock, and of the processor in all threads; absent for what was left out. */
  seconds?: [number, number];
  /** What should be zero, and how near it is. */
  residuals: [string, number][];
}
const lines: Line[] = [];

/** `A v`, or `A^T v`. */
function times(a: Float64Array, n: number, v: Float64Array, transposed = false): Float64Array {
  const y = new Float64Array(n);
  for (let r = 0; r < n; r++) {
    const row = a.subarray(r * n, (r + 1) * n);
    let sum = 0;
    if (transposed) { for (let c = 0; c < n; c++) y[c] += row[c] * v[r]; }
    else {
      for (let c = 0; c < n; c++) sum += row[c] * v[c];
      y[r] = sum;
    }
  }
  return y;
}

const norm = (v: Float64Array) => Math.sqrt(v.reduce((sum, x) => sum + x * x, 0));

/** The norm of what takes v to `f(v) - g(v)`. */
function difference(n: number, f: (v: Float64Array) => Float64Array, g = (v: Float64Array) => v) {
  const random = new Random(n);
  let sum = 0;
  for (let probe = 0; probe < PROBES; probe++) {
    const v = Float64Array.from({ length: n }, () => random.normal());
    const expected = g(v);
    sum += norm(f(v).map((x, i) => x - expected[i])) ** 2;
  }
  return Math.sqrt(sum / PROBES);
}

function clock(run: () => void): [number, number] {
  const [wall, cpu] = [clockSeconds(), processorSeconds()];
  run();
  return [clockSeconds() - wall, processorSeconds() - cpu];
}

function add(line: Line): void {
  lines.push(line);
  console.error(JSON.stringify(line));
}

/** Scales from 1 to 1e-3, so that conditions are those of Hessians. */
const scale = (i: number, n: number) => 10 ** (-3 * i / n);

/** A definite matrix, of condition about 1e7. */
function definite(n: number): Float64Array {
  const random = new Random(n);
  const a = new Float64Array(n * n);
  for (let r = 0; r < n; r++) {
    for (let c = 0; c <= r; c++) {
      const value = random.normal() + (r === c ? 3 * Math.sqrt(n) : 0);
      a[r * n + c] = a[c * n + r] = value * scale(r, n) * scale(c, n);
    }
  }
  return a;
}

function general(n: number): Float64Array {
  const random = new Random(n + 1);
  return Float64Array.from({ length: n * n }, (_, i) => {
    return random.normal() * scale(Math.floor(i / n), n) * scale(n - i % n, n);
  });
}

function factors(n: number): void {
  const matrix = definite(n);
  using a = kernels.upload(matrix);
  const seconds = clock(() => {
    if (!kernels.cholesky({ a, n })) throw new Error(`not positive definite: ${n}`);
  });
  const l = a.array.slice();
  const product = (v: Float64Array) => times(l, n, times(l, n, v, true));
  const error = difference(n, product, (v) => times(matrix, n, v));
  add({ operation: "cholesky", n, seconds, residuals: [["A - L L^T", error / norm(matrix)]] });
  const inverting = clock(() => kernels.triangularInverse({ l: a, n }));
  const inverse = a.array.slice();
  const left = difference(n, (v) => times(l, n, times(inverse, n, v))) / norm(l) / norm(inverse);
  const what = "L L^-1 - I";
  add({ operation: "triangularInverse", n, seconds: inverting, residuals: [[what, left]] });
}

function eigen(n: number): void {
  const matrix = definite(n);
  using a = kernels.upload(matrix);
  using values = kernels.alloc("f64", n);
  using vectors = kernels.alloc("f64", n * n);
  const seconds = clock(() => kernels.symmetricEigen({ a, n, values, vectors }));
  const [d, z] = [values.array.slice(), vectors.array.slice()];
  const product = (v: Float64Array) => {
    return times(z, n, times(z, n, v).map((x, i) => x * d[i]), true);
  };
  const error = difference(n, product, (v) => times(matrix, n, v)) / norm(matrix);
  const turned = difference(n, (v) => times(z, n, times(z, n, v, true))) / Math.sqrt(n);
  const residuals: Line["residuals"] = [["A - Z^T D Z", error], ["Z Z^T - I", turned]];
  add({ operation: "symmetricEigen", n, seconds, residuals });
}

function singular(n: number): void {
  const last = lines.findLast(({ operation, seconds }) => operation === "svd" && seconds);
  if (last && last.seconds![0] * (n / last.n) ** 3 > PATIENCE) {
    return add({ operation: "svd", n, residuals: [] });
  }
  const matrix = general(n);
  using a = kernels.upload(matrix);
  using s = kernels.alloc("f64", n);
  using u = kernels.alloc("f64", n * n);
  using v = kernels.alloc("f64", n * n);
  const seconds = clock(() => kernels.svd({ a, rows: n, columns: n, s, u, v }));
  const [us, ss, vs] = [u.array.slice(), s.array.slice(), v.array.slice()];
  const product = (x: Float64Array) => times(us, n, times(vs, n, x).map((y, i) => y * ss[i]));
  const error = difference(n, product, (x) => times(matrix, n, x)) / norm(matrix);
  const left = difference(n, (x) => times(us, n, times(us, n, x), true)) / Math.sqrt(n);
  const right = difference(n, (x) => times(vs, n, times(vs, n, x, true))) / Math.sqrt(n);
  const residuals: Line["residuals"] = [
    ["A - U S V", error],
    ["U^T U - I", left],
    ["V V^T - I", right],
  ];
  add({ operation: "svd", n, seconds, residuals });
}

function page(): string {
  const left = lines.filter(({ seconds }) => !seconds);
  const rows = lines.flatMap(({ operation, n, seconds, residuals }) =>
    residuals.map(([what, value], i) => {
      const times = seconds!.map((v) => i ? "" : v.toPrecision(3)).join(" | ");
      const name = i ? " | " : `\`${operation}\` | ${n}`;
      const bound = (n * EPSILON).toExponential(1);
      return `| ${name} | ${times} | ${what} | ${value.toExponential(1)} | ${bound} |`;
    })
  );
  return [
    "# Linear algebra on large matrices",
    "",
    `Generated by \`deno task bench:algebra\` with threads: ${threads}, f64. Matrices have scales ` +
    "from 1 to 1e-3 over rows and columns; those of `cholesky`, `triangularInverse` (of its factor) " +
    "and `symmetricEigen` are positive definite. A residual is a Frobenius norm, estimated from " +
    `${PROBES} random vectors, over that of the matrix (of L and its inverse; of the identity). The ` +
    "bound is n times 2^-51; the program ends with an error where a residual is over it. Times on a " +
    "machine with other work: processor time is that of all threads.",
    "",
    "| operation | n | seconds, clock | seconds, processor | residual | is | bound |",
    "| --- | ---: | ---: | ---: | --- | ---: | ---: |",
    ...rows,
    "",
    ...left.map(({ operation, n }) =>
      `\`${operation}\` of order ${n} was left out: by the one before, which grows as n^3, it would ` +
      `take more than ${PATIENCE} seconds.\n`
    ),
  ].join("\n");
}

for (const n of sizes) {
  factors(n);
  eigen(n);
  singular(n);
}
kernels.close();
const path = new URL("../docs/generated/bench-algebra.md", import.meta.url);
await Deno.writeTextFile(path, page());
for (const { operation, n, residuals } of lines) {
  for (const [what, value] of residuals) {
    if (value <= n * EPSILON) continue;
    console.error(`error: ${operation} of order ${n}: ${what} is ${value}`);
    Deno.exitCode = 1;
  }
}
