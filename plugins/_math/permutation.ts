/**
 * Permutations of the columns of matrices.
 *
 * @module
 */

/** `out[:, j] = matrix[:, order[j]]` for a row-major `[rows, columns]` matrix. */
export function permuteColumns<T extends Float32Array | Uint8Array>(
  matrix: T,
  rows: number,
  columns: number,
  order: Uint32Array,
): T {
  const out = matrix.slice() as T;
  for (let row = 0; row < rows; row++) {
    const base = row * columns;
    for (let j = 0; j < columns; j++) out[base + j] = matrix[base + order[j]];
  }
  return out;
}

/** `out[i, j] = matrix[order[i], order[j]]` for a row-major `[n, n]` matrix. */
export function permuteSymmetric(
  matrix: Float64Array,
  n: number,
  order: Uint32Array,
): Float64Array {
  const out = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    const from = order[i] * n;
    for (let j = 0; j < n; j++) out[i * n + j] = matrix[from + order[j]];
  }
  return out;
}

/** The permutation that undoes `order`. */
export function inversePermutation(order: Uint32Array): Uint32Array {
  const inverse = new Uint32Array(order.length);
  order.forEach((from, to) => inverse[from] = to);
  return inverse;
}
