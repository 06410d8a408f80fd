/**
 * The nearest matrix of low rank, in f64: block subspace iteration, and an exact decomposition of
 * what is left in the subspace.
 *
 * @module
 */

import type { Rng } from "../../spec/mod.ts";

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
  options: { rng: Rng; iterations: number },
): LowRankFactors {
  const k = Math.min(rank + EXTRA, rows, columns);
  const { rng } = options;
  // Directions are rows, so that inner loops run over neighbours.
  let q = Float64Array.from({ length: k * columns }, () => rng.normal());
  orthonormalise(q, k);
  for (let i = 0; i < options.iterations; i++) {
    const y = times(a, rows, columns, q, k);
    orthonormalise(y, k);
    q = timesTransposed(a, rows, columns, y, k);
    orthonormalise(q, k);
  }
  const y = times(a, rows, columns, q, k);
  const { values, vectors } = symmetricEigen(products(y, k), k);
  const order = Array.from({ length: k }, (_, i) => i).sort((i, j) => values[j] - values[i]);
  const kept = Math.min(rank, k);
  const left = new Float64Array(rows * rank), right = new Float64Array(rank * columns);
  for (let r = 0; r < kept; r++) {
    for (let i = 0; i < k; i++) {
      const factor = vectors[i * k + order[r]];
      for (let row = 0; row < rows; row++) left[row * rank + r] += factor * y[i * rows + row];
      for (let c = 0; c < columns; c++) right[r * columns + c] += factor * q[i * columns + c];
    }
  }
  const roots = Float64Array.from(
    { length: rank },
    (_, r) => r < kept ? Math.sqrt(Math.max(0, values[order[r]])) : 0,
  );
  return { left, right, values: roots };
}

/** `(A q_i)` for every direction: `[k, rows]`. */
function times(a: Float64Array, rows: number, columns: number, q: Float64Array, k: number) {
  const y = new Float64Array(k * rows);
  for (let row = 0; row < rows; row++) {
    const start = row * columns;
    for (let i = 0; i < k; i++) {
      let sum = 0;
      for (let c = 0, from = i * columns; c < columns; c++) sum += a[start + c] * q[from + c];
      y[i * rows + row] = sum;
    }
  }
  return y;
}

/** `(A^T y_i)` for every direction: `[k, columns]`. */
function timesTransposed(
  a: Float64Array,
  rows: number,
  columns: number,
  y: Float64Array,
  k: number,
) {
  const q = new Float64Array(k * columns);
  for (let row = 0; row < rows; row++) {
    const start = row * columns;
    for (let i = 0; i < k; i++) {
      const factor = y[i * rows + row];
      for (let c = 0, to = i * columns; c < columns; c++) q[to + c] += factor * a[start + c];
    }
  }
  return q;
}

/** Makes the `k` rows of `q` orthonormal (Gram-Schmidt, twice); dependent ones become zero. */
function orthonormalise(q: Float64Array, k: number): void {
  const n = q.length / k;
  for (let i = 0; i < k; i++) {
    const row = q.subarray(i * n, (i + 1) * n);
    const size = Math.sqrt(dot(row, row));
    for (let pass = 0; pass < 2; pass++) {
      for (let j = 0; j < i; j++) {
        const other = q.subarray(j * n, (j + 1) * n);
        const share = dot(row, other);
        for (let c = 0; c < n; c++) row[c] -= share * other[c];
      }
    }
    const length = Math.sqrt(dot(row, row));
    if (length <= 1e-12 * size || length === 0) row.fill(0);
    else for (let c = 0; c < n; c++) row[c] /= length;
  }
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}

/** `[k, k]` inner products of the rows of y. */
function products(y: Float64Array, k: number): Float64Array {
  const n = y.length / k;
  const result = new Float64Array(k * k);
  for (let i = 0; i < k; i++) {
    for (let j = 0; j <= i; j++) {
      const product = dot(y.subarray(i * n, (i + 1) * n), y.subarray(j * n, (j + 1) * n));
      result[i * k + j] = result[j * k + i] = product;
    }
  }
  return result;
}

/** Most sweeps of Jacobi rotations; a handful is enough. */
const SWEEPS = 30;

/** Eigenvalues and eigenvectors (columns of `vectors`) of a symmetric matrix, by Jacobi rotations. */
export function symmetricEigen(
  matrix: Float64Array,
  n: number,
): { values: Float64Array; vectors: Float64Array } {
  const a = matrix.slice(), vectors = new Float64Array(n * n);
  for (let i = 0; i < n; i++) vectors[i * n + i] = 1;
  const scale = Math.sqrt(dot(a, a));
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    let off = 0;
    for (let p = 0; p < n; p++) {
      for (let q = p + 1; q < n; q++) {
        off = Math.max(off, Math.abs(a[p * n + q]));
        turn(a, vectors, n, p, q);
      }
    }
    if (off <= 1e-15 * scale) break;
  }
  return { values: Float64Array.from({ length: n }, (_, i) => a[i * n + i]), vectors };
}

/** One Jacobi rotation, which makes `a[p, q]` zero. */
function turn(a: Float64Array, vectors: Float64Array, n: number, p: number, q: number): void {
  const apq = a[p * n + q];
  if (apq === 0) return;
  const theta = (a[q * n + q] - a[p * n + p]) / (2 * apq);
  const t = (theta >= 0 ? 1 : -1) / (Math.abs(theta) + Math.sqrt(theta * theta + 1));
  const c = 1 / Math.sqrt(t * t + 1), s = t * c;
  for (let k = 0; k < n; k++) {
    const [x, y] = [a[k * n + p], a[k * n + q]];
    a[k * n + p] = c * x - s * y;
    a[k * n + q] = s * x + c * y;
  }
  for (let k = 0; k < n; k++) {
    const [x, y] = [a[p * n + k], a[q * n + k]];
    a[p * n + k] = c * x - s * y;
    a[q * n + k] = s * x + c * y;
  }
  for (let k = 0; k < n; k++) {
    const [x, y] = [vectors[k * n + p], vectors[k * n + q]];
    vectors[k * n + p] = c * x - s * y;
    vectors[k * n + q] = s * x + c * y;
  }
}
