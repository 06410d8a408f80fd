/**
 * The nearest matrix of low rank, in f64: block subspace iteration, and the singular value
 * decomposition of what is left in the subspace. For a few directions of a large matrix this costs a
 * small part of a whole decomposition.
 *
 * @module
 */

import type { Kernels, Rng } from "../../spec/mod.ts";

/** `left @ right`, `[rows, rank]` and `[rank, columns]`; the rows of `right` are orthonormal. */
export interface LowRankFactors {
  /** `[rows, rank]`, columns by descending norm: the singular values. */
  left: Float64Array;
  /** `[rank, columns]`. */
  right: Float64Array;
  /** The singular values. */
  values: Float64Array;
}

/** Directions beyond the rank that are followed, so that the last ones converge as well. */
const EXTRA = 8;

/**
 * The best approximation of `a` `[rows, columns]` of some rank: its leading singular triples, which
 * the iteration finds from random directions. Exact where the rank and its spare directions span all.
 */
export function nearestLowRank(
  a: Float64Array,
  rows: number,
  columns: number,
  rank: number,
  options: { kernels: Kernels; rng: Rng; iterations: number },
): LowRankFactors {
  const { kernels, rng } = options;
  const k = Math.min(rank + EXTRA, rows, columns), kept = Math.min(rank, k);
  const random = Float64Array.from({ length: columns * k }, () => rng.normal());
  let q = orthonormal(kernels, random, k);
  for (let i = 0; i < options.iterations; i++) {
    const y = orthonormal(kernels, times(a, rows, columns, q, k), k);
    q = orthonormal(kernels, timesTransposed(a, rows, columns, y, k), k);
  }
  using y = kernels.upload(times(a, rows, columns, q, k));
  using s = kernels.alloc("f64", k);
  using u = kernels.alloc("f64", rows * k);
  using v = kernels.alloc("f64", k * k);
  kernels.svd({ a: y, rows, columns: k, s, u, v });
  const values = new Float64Array(rank);
  values.set(s.array.subarray(0, kept));
  const left = new Float64Array(rows * rank), right = new Float64Array(rank * columns);
  for (let r = 0; r < kept; r++) {
    for (let row = 0; row < rows; row++) left[row * rank + r] = u.array[row * k + r] * values[r];
    for (let c = 0; c < columns; c++) {
      let sum = 0;
      for (let i = 0; i < k; i++) sum += v.array[r * k + i] * q[c * k + i];
      right[r * columns + c] = sum;
    }
  }
  return { left, right, values };
}

/** `A Q`, `[rows, k]`. */
function times(a: Float64Array, rows: number, columns: number, q: Float64Array, k: number) {
  const y = new Float64Array(rows * k);
  for (let row = 0; row < rows; row++) {
    const to = row * k;
    for (let c = 0; c < columns; c++) {
      const factor = a[row * columns + c], from = c * k;
      for (let i = 0; i < k; i++) y[to + i] += factor * q[from + i];
    }
  }
  return y;
}

/** `A^T Y`, `[columns, k]`. */
function timesTransposed(
  a: Float64Array,
  rows: number,
  columns: number,
  y: Float64Array,
  k: number,
) {
  const q = new Float64Array(columns * k);
  for (let row = 0; row < rows; row++) {
    const from = row * k;
    for (let c = 0; c < columns; c++) {
      const factor = a[row * columns + c], to = c * k;
      for (let i = 0; i < k; i++) q[to + i] += factor * y[from + i];
    }
  }
  return q;
}

/** Orthonormal columns that span those of `x` `[n, k]`. */
function orthonormal(kernels: Kernels, x: Float64Array, k: number): Float64Array {
  using a = kernels.upload(x);
  using r = kernels.alloc("f64", k * k);
  kernels.qr({ a, rows: x.length / k, columns: k, r });
  return a.array.slice();
}
