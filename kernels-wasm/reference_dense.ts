/**
 * The meaning of the operations on f32 matrices, of Hadamard transforms and of conversions.
 *
 * @module
 */

import type { HadamardArguments } from "../spec/kernels_algebra.ts";
import type { ConvertKernels } from "../spec/kernels_convert.ts";
import type { DenseKernels, MatmulArguments } from "../spec/kernels_dense.ts";
import { matrix } from "./checks.ts";
import * as check from "./checks_dense.ts";
import { hadamardMatrix } from "./hadamard.ts";
import { linear } from "./reference_algebra.ts";

type ArgumentsOf<Name extends keyof DenseKernels> = Parameters<DenseKernels[Name]>[0];

const fround = Math.fround;

/** See {@linkcode AlgebraKernels.hadamard}. */
export function hadamard(a: HadamardArguments): void {
  const { m, block } = check.hadamard(a);
  const h = hadamardMatrix(m);
  const [n, factor] = [a.columns, fround(1 / Math.sqrt(a.columns))];
  for (let r = 0; r < a.rows; r++) {
    const x = a.x.array.subarray(r * n, (r + 1) * n);
    const sign = () => a.signs?.array.forEach((s, c) => x[c] *= s);
    if (!a.transpose) sign();
    for (let step = 1; step < block; step *= 2) {
      for (let i = 0; i < n; i++) {
        if (i % block & step) continue;
        const [p, q] = [x[i], x[i + step]];
        x[i] = p + q;
        x[i + step] = p - q;
      }
    }
    const mixed = x.map((_, at) => {
      const [i, j] = [Math.floor(at / block), at % block];
      const entry = (p: number) => a.transpose ? h[p * m + i] : h[i * m + p];
      let sum = entry(0) * x[j];
      for (let p = 1; p < m; p++) sum = fround(sum + entry(p) * x[p * block + j]);
      return sum;
    });
    x.set(mixed.map((v) => v * factor));
    if (a.transpose) sign();
  }
}

/** See {@linkcode DenseKernels.matmul}. */
export function matmul(a: MatmulArguments): void {
  check.matmul(a);
  const { tokens, inner, columns } = a;
  const [x, w] = [a.x.array, a.w.array];
  const rows = a.transpose ? transposed(x, inner, tokens) : x;
  const values = transposed(w, inner, columns);
  linear(rows, a.y.array, tokens, { values, rows: columns, columns: inner });
}

function transposed(x: Float32Array, rows: number, columns: number): Float32Array {
  return x.map((_, i) => x[i % rows * columns + Math.floor(i / rows)]);
}

/** See {@linkcode DenseKernels.layerNorm}. */
export function layerNorm(a: ArgumentsOf<"layerNorm">): void {
  check.layerNorm(a);
  const [weight, bias, n] = [a.weight.array, a.bias?.array, a.columns];
  for (let r = 0; r < a.rows; r++) {
    const x = a.x.array.subarray(r * n, (r + 1) * n);
    const mean = x.reduce((sum, v) => sum + v, 0) / n;
    const variance = x.reduce((sum, v) => sum + (v - mean) ** 2, 0) / n;
    const factor = 1 / Math.sqrt(variance + a.epsilon);
    a.y.array.set(x.map((v, c) => (v - mean) * factor * weight[c] + (bias?.[c] ?? 0)), r * n);
  }
}

const FUNCTIONS: Record<typeof check.ACTIVATIONS[number], (x: number) => number> = {
  relu: (x) => x < 0 ? 0 : x,
  silu: (x) => x / (1 + Math.exp(-x)),
  gelu: (x) => x * normal(x),
  gelu_tanh: (x) => x / (1 + Math.exp(-2 * Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
};

/**
 * The normal distribution function: its power series near 0, else the continued fraction of the
 * tail.
 */
function normal(x: number): number {
  const size = Math.abs(x);
  const density = Math.exp(-x * x / 2) / Math.sqrt(2 * Math.PI);
  if (size < 3) {
    let [term, sum] = [x, x];
    for (let k = 1; k < 80; k++) sum += term *= x * x / (2 * k + 1);
    return 0.5 + density * sum;
  }
  let fraction = size;
  for (let k = 60; k >= 1; k--) fraction = size + k / fraction;
  return x < 0 ? density / fraction : 1 - density / fraction;
}

/** See {@linkcode DenseKernels.activate}. */
export function activate(a: ArgumentsOf<"activate">): void {
  check.activate(a);
  const y = a.y.array;
  a.x.array.forEach((v, i) => y[i] = FUNCTIONS[a.kind](v));
}

/** See {@linkcode DenseKernels.softmax}. */
export function softmax(a: ArgumentsOf<"softmax">): void {
  matrix("x", a.x, a.rows, a.columns);
  for (let r = 0; r < a.rows; r++) {
    const x = a.x.array.subarray(r * a.columns, (r + 1) * a.columns);
    const max = x.reduce((m, v) => Math.max(m, v), -Infinity);
    const e = Float64Array.from(x, (v) => Math.exp(v - max));
    const sum = e.reduce((sum, v) => sum + v, 0);
    x.set(e.map((v) => v / sum));
  }
}

/** See {@linkcode DenseKernels.absMax}. */
export function absMax(a: ArgumentsOf<"absMax">): void {
  check.absMax(a);
  const y = a.y.array.fill(0);
  a.x.array.forEach((v, i) => {
    const at = a.by === "row" ? Math.floor(i / a.columns) : i % a.columns;
    if (Math.abs(v) > y[at]) y[at] = Math.abs(v);
  });
}

/** See {@linkcode DenseKernels.histogram}. */
export function histogram(a: ArgumentsOf<"histogram">): void {
  check.histogram(a);
  const counts = a.counts.array;
  const factor = counts.length / (a.high - a.low);
  for (const v of a.x.array) {
    if (!(v >= a.low && v <= a.high)) continue;
    counts[Math.min(Math.floor((v - a.low) * factor), counts.length - 1)]++;
  }
}

/** See {@linkcode DenseKernels.percentile}. */
export function percentile(a: ArgumentsOf<"percentile">): number {
  const position = check.percentile(a);
  const bits = new Uint32Array(a.x.array.slice().buffer);
  const order = bits.map((b) => b >>> 31 ? ~b : b ^ 0x80000000).sort();
  const values = new Float32Array(order.map((k) => k >>> 31 ? k ^ 0x80000000 : ~k).buffer);
  return check.between(position, (k) => values[k]);
}

/** To the nearest whole number, ties to even. */
function rint(v: number): number {
  const low = Math.floor(v);
  if (v - low !== 0.5) return Math.round(v);
  return low % 2 ? low + 1 : low;
}

function int8(v: number): number {
  return Number.isNaN(v) ? 0 : Math.max(-128, Math.min(127, rint(v)));
}

function half(bits: number): number {
  const [exponent, mantissa] = [bits >> 10 & 31, bits & 1023];
  const sign = bits >> 15 ? -1 : 1;
  if (exponent === 31) return mantissa ? NaN : sign * Infinity;
  return sign * (exponent ? (1 + mantissa / 1024) * 2 ** (exponent - 15) : mantissa * 2 ** -24);
}

const signed = (byte: number) => byte << 24 >> 24;

/** What each conversion makes of a unit. */
const CONVERT: readonly ((x: Float32Array | Uint8Array, factor: number) => number[])[] = [
  ([v], factor) => [int8(fround(v * factor)) & 255],
  ([low, high], factor) => [int8(fround(half(low | high << 8) * factor)) & 255],
  ([v], factor) => [signed(v) * factor],
  ([v]) => [signed(v << 4) >> 4 & 255, signed(v) >> 4 & 255],
  ([v]) => [v << 4 & 255, v & 0xf0],
  ([v]) => [v & 15, v >> 4],
  (x) => [...Array.from(x, (v) => v & 0xf0), ...Array.from(x, (v) => v << 4 & 255)],
];

/** See {@linkcode ConvertKernels.convert}. */
export function convert(a: Parameters<ConvertKernels["convert"]>[0]): void {
  const { kind, units, factor, conversion: { take, give } } = check.convert(a);
  for (let i = 0; i < units; i++) {
    const unit = a.x.array.subarray(i * take, (i + 1) * take);
    a.y.array.set(CONVERT[kind](unit, fround(factor)), i * give);
  }
}
