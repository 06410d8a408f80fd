/**
 * Operations on f32 matrices, Hadamard transforms and conversions.
 *
 * @module
 */

import type { HadamardArguments } from "../spec/kernels_algebra.ts";
import type { ConvertKernels } from "../spec/kernels_convert.ts";
import type { DenseKernels, MatmulArguments } from "../spec/kernels_dense.ts";
import { matrix } from "./checks.ts";
import * as check from "./checks_dense.ts";
import type { Context } from "./context.ts";
import { hadamardMasks } from "./hadamard.ts";
import { PANEL } from "./weights.ts";

type ArgumentsOf<Name extends keyof DenseKernels> = Parameters<DenseKernels[Name]>[0];

/** Exponentials count as this many products. */
const EXP_WORK = 8;
/** Scratch of a matrix product: a panel of w and a block of x. */
const MATMUL_SCRATCH = 4 * 256 * (PANEL + 32);
/** Bytes of the counts of a selection. */
const SELECT_BYTES = 4 << 16;

/** Rows times a Hadamard matrix; split by rows. */
export function hadamard(c: Context, a: HadamardArguments): void {
  const { m, block } = check.hadamard(a);
  const masks = hadamardMasks(m, a.transpose ?? false);
  const [x, signs] = [c.at("x", a.x), c.at("signs", a.signs)];
  c.heap.with(masks.byteLength, (address) => {
    c.heap.view("u32", address, masks.length).set(masks);
    c.pool.run("hadamard", [
      x,
      m,
      block,
      address,
      a.transpose ? 0 : signs,
      a.transpose ? signs : 0,
      Math.fround(1 / Math.sqrt(a.columns)),
    ], {
      units: a.rows,
      work: a.rows * a.columns * (m + Math.log2(block)),
      scratch: 4 * a.columns,
    });
  });
}

/** `y = x w` or `x^T w`; split by panels of 16 columns. */
export function matmul(c: Context, a: MatmulArguments): void {
  check.matmul(a);
  const { tokens, inner, columns } = a;
  const [row, step] = a.transpose ? [1, tokens] : [inner, 1];
  c.pool.run("matmul", [
    c.at("x", a.x),
    row,
    step,
    c.at("w", a.w),
    c.at("y", a.y),
    tokens,
    inner,
    columns,
  ], {
    units: Math.ceil(columns / PANEL),
    work: tokens * inner * columns,
    scratch: MATMUL_SCRATCH,
  });
}

/** Layer normalisation; split by rows. */
export function layerNorm(c: Context, a: ArgumentsOf<"layerNorm">): void {
  check.layerNorm(a);
  c.pool.run("layer_norm", [
    c.at("x", a.x),
    c.at("y", a.y),
    a.columns,
    c.at("weight", a.weight),
    c.at("bias", a.bias),
    a.epsilon,
  ], { units: a.rows, work: 3 * a.rows * a.columns });
}

/** An activation function; split by elements. */
export function activate(c: Context, a: ArgumentsOf<"activate">): void {
  check.activate(a);
  const args = [c.at("x", a.x), c.at("y", a.y), check.ACTIVATIONS.indexOf(a.kind)];
  c.pool.run("activate", args, { units: a.x.length, work: a.x.length * EXP_WORK });
}

/** Rows to probabilities; split by rows. */
export function softmax(c: Context, a: ArgumentsOf<"softmax">): void {
  matrix("x", a.x, a.rows, a.columns);
  const work = a.rows * a.columns * EXP_WORK;
  c.pool.run("softmax", [c.at("x", a.x), a.columns], { units: a.rows, work });
}

/** Largest magnitudes; split by rows, or by columns. */
export function absMax(c: Context, a: ArgumentsOf<"absMax">): void {
  check.absMax(a);
  const [x, y, work] = [c.at("x", a.x), c.at("y", a.y), a.rows * a.columns];
  if (a.by === "row") return c.pool.run("abs_max", [x, a.columns, y], { units: a.rows, work });
  a.y.array.fill(0);
  c.heap.with(8 * a.columns, (sums) => {
    c.pool.run("column_stats", [x, a.rows, a.columns, y, sums], { units: a.columns, work });
  });
}

/** Counts in bins, on the calling thread. */
export function histogram(c: Context, a: ArgumentsOf<"histogram">): void {
  check.histogram(a);
  const [x, counts] = [c.at("x", a.x), c.at("counts", a.counts)];
  c.exports.histogram(x, a.x.length, a.low, a.high, counts, a.counts.length);
}

/** A percentile, on the calling thread. */
export function percentile(c: Context, a: ArgumentsOf<"percentile">): number {
  const position = check.percentile(a);
  const x = c.at("x", a.x);
  return c.heap.with(SELECT_BYTES, (counts) => {
    return check.between(position, (k) => c.exports.select(x, a.x.length, k, counts));
  });
}

/** A named conversion; split by units. */
export function convert(c: Context, a: Parameters<ConvertKernels["convert"]>[0]): void {
  const { kind, units, factor, conversion } = check.convert(a);
  const args = [c.at("x", a.x), c.at("y", a.y), kind, Math.fround(factor)];
  c.pool.run("convert", args, { units, work: units * conversion.give });
}
