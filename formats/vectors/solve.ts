/**
 * Small systems of linear equations.
 *
 * @module
 */

/** Pivots below this share of the largest entry count as zero. */
const SINGULAR = 1e-12;

/**
 * The solution of `A x = b` for a small symmetric A `[n, n]`, by elimination with pivoting;
 * undefined if A is singular.
 */
export function solveSymmetric(a: Float64Array, b: Float64Array): Float64Array | undefined {
  const n = b.length;
  const [m, x] = [a.slice(), b.slice()];
  const largest = m.reduce((max, value) => Math.max(max, Math.abs(value)), 0);
  for (let k = 0; k < n; k++) {
    let pivot = k;
    for (let i = k + 1; i < n; i++) {
      if (Math.abs(m[i * n + k]) > Math.abs(m[pivot * n + k])) pivot = i;
    }
    if (Math.abs(m[pivot * n + k]) <= SINGULAR * largest) return undefined;
    for (let j = 0; j < n; j++) {
      [m[k * n + j], m[pivot * n + j]] = [m[pivot * n + j], m[k * n + j]];
    }
    [x[k], x[pivot]] = [x[pivot], x[k]];
    for (let i = k + 1; i < n; i++) {
      const factor = m[i * n + k] / m[k * n + k];
      for (let j = k; j < n; j++) m[i * n + j] -= factor * m[k * n + j];
      x[i] -= factor * x[k];
    }
  }
  for (let k = n - 1; k >= 0; k--) {
    for (let j = k + 1; j < n; j++) x[k] -= m[k * n + j] * x[j];
    x[k] /= m[k * n + k];
  }
  return x;
}
