/**
 * Random cases of linear algebra in f64; see `_cases.ts`. Eigenvectors and singular vectors, which
 * have no sign of their own, are shown by the matrices that they make.
 *
 * @module
 */

import type { Random, Run } from "./_random.ts";

/** `x y`, or `x y^T`. */
export function multiply(
  x: Float64Array,
  y: Float64Array,
  rows: number,
  inner: number,
  columns: number,
  transposed = false,
): Float64Array {
  return Float64Array.from({ length: rows * columns }, (_, at) => {
    const [r, c] = [Math.floor(at / columns), at % columns];
    let sum = 0;
    for (let k = 0; k < inner; k++) {
      sum += x[r * inner + k] * y[transposed ? c * inner + k : k * columns + c];
    }
    return sum;
  });
}

function doubles(random: Random, length: number): Float64Array {
  return Float64Array.from({ length }, () => random.normal());
}

/** A symmetric matrix: of full rank, of low rank, or with equal eigenvalues. */
function symmetric(random: Random, n: number): Float64Array {
  const rank = random.of([n, n, Math.min(n, 3), 0]);
  const a = doubles(random, n * rank);
  const m = multiply(a, a, n, rank, n, true);
  const shift = random.of([0, 0, 1]);
  for (let i = 0; i < n; i++) m[i * n + i] += shift;
  const size = 10 ** random.of([0, 0, -9, 9, 200, -200]);
  return m.map((v) => v * size);
}

/** A positive definite matrix with a moderate condition. */
export function definite(random: Random, n: number): Float64Array {
  const a = doubles(random, n * n);
  const m = multiply(a, a, n, n, n, true);
  for (let i = 0; i < n; i++) m[i * n + i] += 0.1 * n + 0.1;
  return m;
}

/** A lower triangular matrix that is easily inverted. */
function lower(random: Random, n: number): Float64Array {
  return Float64Array.from({ length: n * n }, (_, at) => {
    const [r, c] = [Math.floor(at / n), at % n];
    if (r === c) return 1 + Math.abs(random.normal());
    return c < r ? random.normal() / Math.sqrt(n) : 0;
  });
}

/** Cases stay small where the reference is slow. */
const small = (n: number, most = 40) => Math.min(n, most);

/** A case of every operation. */
export const ALGEBRA_CASES: Record<
  "cholesky" | "choleskySolve" | "triangularInverse" | "symmetricEigen" | "svd" | "qr",
  Run
> = {
  cholesky({ k, random, columns: n }) {
    const m = definite(random, n);
    const broken = n > 0 && random.int(0, 9) === 0;
    if (broken) m[0] = -1;
    using a = k.upload(m);
    const fine = k.cholesky({ a, n });
    return [fine ? a.array.slice() : new Float64Array(), Uint8Array.of(fine ? 1 : 0)];
  },
  choleskySolve({ k, random, rows, columns }) {
    const [n, count] = [columns, small(rows, 20)];
    using l = k.upload(lower(random, n));
    using b = k.upload(doubles(random, n * count));
    k.choleskySolve({ l, n, b, columns: count });
    return [b.array.slice()];
  },
  triangularInverse({ k, random, columns: n }) {
    using l = k.upload(lower(random, n));
    k.triangularInverse({ l, n });
    return [l.array.slice()];
  },
  symmetricEigen({ k, random, columns }) {
    const n = small(columns);
    using a = k.upload(symmetric(random, n));
    using values = k.alloc("f64", n);
    using vectors = k.alloc("f64", n * n);
    k.symmetricEigen({ a, n, values, vectors });
    const [d, z] = [values.array.slice(), vectors.array.slice()];
    const scaled = z.map((v, at) => v * d[Math.floor(at / n)]);
    const back = Float64Array.from({ length: n * n }, (_, at) => {
      let sum = 0;
      for (let p = 0; p < n; p++) sum += z[p * n + Math.floor(at / n)] * scaled[p * n + at % n];
      return sum;
    });
    return [d, back, multiply(z, z, n, n, n, true)];
  },
  svd({ k, random, rows: wanted, columns: near }) {
    const [rows, columns] = [small(wanted), small(near)];
    const full = Math.min(rows, columns);
    const inner = random.of([full, full, Math.min(full, 2)]);
    const factors = [doubles(random, rows * inner), doubles(random, inner * columns)] as const;
    const size = 10 ** random.of([0, 0, -150, 150]);
    const m = multiply(...factors, rows, inner, columns).map((v) => v * size);
    using a = k.upload(m);
    using s = k.alloc("f64", full);
    using u = k.alloc("f64", rows * full);
    using v = k.alloc("f64", full * columns);
    k.svd({ a, rows, columns, s, u, v });
    const [d, left, right] = [s.array.slice(), u.array.slice(), v.array.slice()];
    const scaled = left.map((x, at) => x * d[at % full]);
    const columnsOf = (m: Float64Array, n: number) =>
      m.map((_, at) => m[at % n * full + Math.floor(at / n)]);
    const lines = columnsOf(left, rows);
    return [
      d,
      multiply(scaled, right, rows, full, columns),
      multiply(lines, lines, full, rows, full, true),
      multiply(right, right, full, columns, full, true),
    ];
  },
  qr({ k, random, rows: near, columns: wanted }) {
    const columns = small(Math.min(near, wanted));
    const rows = small(Math.max(near, columns), 60);
    using a = k.upload(doubles(random, rows * columns));
    using r = k.alloc("f64", columns * columns);
    k.qr({ a, rows, columns, r });
    return [a.array.slice(), r.array.slice()];
  },
};
