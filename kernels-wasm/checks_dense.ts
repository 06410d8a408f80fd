/**
 * The checks of operations on f32 matrices, of transforms and of conversions.
 *
 * @module
 */

import type { BufferType } from "../spec/kernel_buffers.ts";
import type { HadamardArguments } from "../spec/kernels_algebra.ts";
import { type Conversion, CONVERSIONS, type ConvertKernels } from "../spec/kernels_convert.ts";
import type { DenseKernels, MatmulArguments } from "../spec/kernels_dense.ts";
import * as check from "./checks.ts";
import { hadamardSplit } from "./hadamard.ts";

type ArgumentsOf<Name extends keyof DenseKernels> = Parameters<DenseKernels[Name]>[0];

/** The activation functions, in the order of the kernel. */
export const ACTIVATIONS = ["relu", "silu", "gelu", "gelu_tanh"] as const;

/** Checks {@linkcode HadamardArguments}; the order of M and of W. */
export function hadamard(a: HadamardArguments): { m: number; block: number } {
  check.matrix("x", a.x, a.rows, a.columns);
  const split = hadamardSplit(a.columns);
  if (!split) check.refuse("columns", `${a.columns} is not m * 2^k with a known matrix of order m`);
  if (a.signs) {
    check.buffer("signs", a.signs, "f32", a.columns);
    const odd = a.signs.array.findIndex((s) => Math.abs(s) !== 1);
    if (odd >= 0) check.refuse("signs", `must be 1 or -1, but entry ${odd} is not`);
  }
  return split;
}

/** Checks {@linkcode MatmulArguments}. */
export function matmul(a: MatmulArguments): void {
  check.whole("tokens", a.tokens);
  check.whole("inner", a.inner);
  check.whole("columns", a.columns);
  check.buffer("x", a.x, "f32", a.tokens * a.inner);
  check.buffer("w", a.w, "f32", a.inner * a.columns);
  check.buffer("y", a.y, "f32", a.tokens * a.columns);
}

/** Checks the arguments of `layerNorm`. */
export function layerNorm(a: ArgumentsOf<"layerNorm">): void {
  check.matrix("x", a.x, a.rows, a.columns);
  check.buffer("y", a.y, "f32", a.rows * a.columns);
  check.buffer("weight", a.weight, "f32", a.columns);
  check.optional("bias", a.bias, "f32", a.columns);
  check.finite("epsilon", a.epsilon);
}

/** Checks the arguments of `activate`. */
export function activate(a: ArgumentsOf<"activate">): void {
  check.buffer("x", a.x, "f32", a.x?.length);
  check.buffer("y", a.y, "f32", a.x.length);
  check.oneOf("kind", a.kind, ACTIVATIONS);
}

/** Checks the arguments of `absMax`. */
export function absMax(a: ArgumentsOf<"absMax">): void {
  check.matrix("x", a.x, a.rows, a.columns);
  check.oneOf("by", a.by, ["row", "column"]);
  check.buffer("y", a.y, "f32", a.by === "row" ? a.rows : a.columns);
}

/** Checks the arguments of `histogram`. */
export function histogram(a: ArgumentsOf<"histogram">): void {
  check.buffer("x", a.x, "f32", a.x?.length);
  check.buffer("counts", a.counts, "f64", a.counts?.length);
  if (a.counts.length === 0) check.refuse("counts", "has no bins");
  check.finite("low", a.low);
  check.finite("high", a.high);
  if (!(a.high > a.low)) check.refuse("high", `must be above low, ${a.low}, not ${a.high}`);
  if (!Number.isFinite(a.high - a.low)) check.refuse("high", "is too far from low");
}

/** Checks the arguments of `percentile`; the position in the ascending order. */
export function percentile(a: ArgumentsOf<"percentile">): number {
  check.buffer("x", a.x, "f32", a.x?.length);
  if (a.x.length === 0) check.refuse("x", "has no values");
  check.finite("fraction", a.fraction);
  if (a.fraction < 0 || a.fraction > 1) {
    check.refuse("fraction", `must be from 0 to 1, not ${a.fraction}`);
  }
  return a.fraction * (a.x.length - 1);
}

/** Between the values at the two positions around `position`. */
export function between(position: number, at: (position: number) => number): number {
  const low = Math.floor(position);
  const first = at(low);
  return low === position ? first : first + (position - low) * (at(low + 1) - first);
}

/** Checks the arguments of `convert`; the conversion, its number, and how many units there are. */
export function convert(
  a: Parameters<ConvertKernels["convert"]>[0],
): { conversion: Conversion; kind: number; units: number; factor: number } {
  const kind = CONVERSIONS.findIndex(({ name }) => name === a.name);
  if (kind < 0) check.refuse("name", `${a.name} is no conversion`);
  const conversion = CONVERSIONS[kind];
  const { from, to, take, give } = conversion;
  check.buffer<BufferType>("x", a.x, from, a.x?.length);
  if (a.x.length % take) check.refuse("x", `has ${a.x.length} elements, no multiple of ${take}`);
  const units = a.x.length / take;
  check.buffer<BufferType>("y", a.y, to, units * give);
  const factor = a.factor ?? 1;
  check.finite("factor", factor);
  if (factor !== 1 && !conversion.factor) check.refuse("factor", `does not go with ${a.name}`);
  return { conversion, kind, units, factor };
}
