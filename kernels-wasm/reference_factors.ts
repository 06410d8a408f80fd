/**
 * The meaning of linear algebra in f64, by the shortest algorithms.
 *
 * @module
 */

import type { AlgebraKernels, SvdArguments } from "../spec/kernels_algebra.ts";
import * as check from "./checks_algebra.ts";

type ArgumentsOf<Name extends keyof AlgebraKernels> = Parameters<AlgebraKernels[Name]>[0];

/** Sweeps of Jacobi rotations that are more than enough. */
const MAX_SWEEPS = 60;
/** A cosine that counts as 0. */
const ORTHOGONAL = 1e-15;

/** See {@linkcode AlgebraKernels.cholesky}. */
export function cholesky(a: ArgumentsOf<"cholesky">): boolean {
  check.cholesky(a);
  const [l, n] = [a.a.array, a.n];
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = l[i * n + j];
      for (let p = 0; p < j; p++) sum -= l[i * n + p] * l[j * n + p];
      if (i > j) l[i * n + j] = sum / l[j * n + j];
      else if (sum > 0) l[i * n + i] = Math.sqrt(sum);
      else return false;
    }
    l.fill(0, i * n + i + 1, (i + 1) * n);
  }
  return true;
}

/** See {@linkcode AlgebraKernels.choleskySolve}. */
export function choleskySolve(a: ArgumentsOf<"choleskySolve">): void {
  check.choleskySolve(a);
  const [l, b, n] = [a.l.array, a.b.array, a.n];
  for (let c = 0; c < a.columns; c++) {
    const at = (i: number) => i * a.columns + c;
    for (let i = 0; i < n; i++) {
      for (let p = 0; p < i; p++) b[at(i)] -= l[i * n + p] * b[at(p)];
      b[at(i)] /= l[i * n + i];
    }
    for (let i = n - 1; i >= 0; i--) {
      for (let p = i + 1; p < n; p++) b[at(i)] -= l[p * n + i] * b[at(p)];
      b[at(i)] /= l[i * n + i];
    }
  }
}

/** See {@linkcode AlgebraKernels.triangularInverse}. */
export function triangularInverse(a: ArgumentsOf<"triangularInverse">): void {
  check.triangularInverse(a);
  const [l, n] = [a.l.array, a.n];
  for (let j = 0; j < n; j++) {
    l.fill(0, j * n + j + 1, (j + 1) * n);
    l[j * n + j] = 1 / l[j * n + j];
    for (let i = j + 1; i < n; i++) {
      let sum = 0;
      for (let p = j; p < i; p++) sum += l[i * n + p] * l[p * n + j];
      l[i * n + j] = -sum / l[i * n + i];
    }
  }
}

/** The rows of a matrix as arrays. */
function rowsOf(a: Float64Array, rows: number, columns: number): Float64Array[] {
  return Array.from({ length: rows }, (_, r) => a.slice(r * columns, (r + 1) * columns));
}

function dot(x: Float64Array, y: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < x.length; i++) sum += x[i] * y[i];
  return sum;
}

/** One-sided Jacobi: rotates pairs of rows, and of `z` with them, until all are orthogonal. */
function orthogonalize(rows: Float64Array[], z: Float64Array[]): void {
  for (let sweep = 0, moved = true; moved; sweep++) {
    if (sweep === MAX_SWEEPS) check.diverged("the singular value iteration");
    moved = false;
    for (let p = 0; p < rows.length; p++) {
      for (let q = p + 1; q < rows.length; q++) {
        const [xx, yy, xy] = [dot(rows[p], rows[p]), dot(rows[q], rows[q]), dot(rows[p], rows[q])];
        if (xy === 0 || Math.abs(xy) <= ORTHOGONAL * Math.sqrt(xx) * Math.sqrt(yy)) continue;
        moved = true;
        const angle = Math.atan2(2 * xy, xx - yy) / 2;
        for (const matrix of [rows, z]) {
          turn(matrix[p], matrix[q], Math.cos(angle), Math.sin(angle));
        }
      }
    }
  }
}

function turn(x: Float64Array, y: Float64Array, c: number, s: number): void {
  x.forEach((v, i) => {
    const w = y[i];
    x[i] = c * v + s * w;
    y[i] = c * w - s * v;
  });
}

function identity(n: number): Float64Array[] {
  return Array.from({ length: n }, (_, i) => new Float64Array(n).fill(1, i, i + 1));
}

/** See {@linkcode AlgebraKernels.symmetricEigen}: two-sided Jacobi rotations. */
export function symmetricEigen(a: ArgumentsOf<"symmetricEigen">): void {
  const factor = check.symmetricEigen(a);
  const n = a.n;
  const m = rowsOf(a.a.array.map((v) => v * factor), n, n);
  m.forEach((row, i) => row.forEach((_, j) => row[j] = i < j ? m[j][i] : row[j]));
  const z = identity(n);
  for (let sweep = 0, moved = true; moved; sweep++) {
    if (sweep === MAX_SWEEPS) check.diverged("the eigenvalue iteration");
    moved = false;
    for (let p = 0; p < n; p++) {
      for (let q = p + 1; q < n; q++) {
        const size = Math.abs(m[p][p]) + Math.abs(m[q][q]);
        if (Math.abs(m[p][q]) <= 1e-17 * size || Math.abs(m[p][q]) < 1e-300) continue;
        moved = true;
        const angle = Math.atan2(2 * m[p][q], m[p][p] - m[q][q]) / 2;
        const [c, s] = [Math.cos(angle), Math.sin(angle)];
        turn(m[p], m[q], c, s);
        for (const row of m) [row[p], row[q]] = [c * row[p] + s * row[q], c * row[q] - s * row[p]];
        turn(z[p], z[q], c, s);
        m[p][q] = m[q][p] = 0;
      }
    }
  }
  const order = [...m.keys()].sort((i, j) => m[i][i] - m[j][j]);
  order.forEach((from, i) => {
    a.values.array[i] = m[from][from] / factor;
    a.vectors.array.set(z[from], i * n);
  });
}

/** See {@linkcode AlgebraKernels.svd}: one-sided Jacobi rotations of the rows, or columns. */
export function svd(a: SvdArguments): void {
  const factor = check.svd(a);
  const wide = a.rows <= a.columns;
  const scaled = a.a.array.map((v) => v * factor);
  const rows = wide ? rowsOf(scaled, a.rows, a.columns) : columnsOf(scaled, a.rows, a.columns);
  const [z, k] = [identity(rows.length), a.s.length];
  orthogonalize(rows, z);
  const norms = rows.map((row) => Math.sqrt(dot(row, row)));
  const order = [...norms.keys()].sort((i, j) => norms[j] - norms[i]);
  const noise = Math.max(0, ...norms) * Math.max(a.rows, a.columns) * 2 ** -54;
  const found: Float64Array[] = [];
  order.slice(0, k).forEach((from, i) => {
    const norm = norms[from] > noise ? norms[from] : 0;
    a.s.array[i] = norm / factor;
    const unit = norm > 0 ? rows[from].map((v) => v / norm) : completion(found, rows[from].length);
    found.push(unit);
    const [left, right] = wide ? [z[from], unit] : [unit, z[from]];
    left.forEach((v, r) => a.u.array[r * k + i] = v);
    a.v.array.set(right, i * a.columns);
  });
}

function columnsOf(a: Float64Array, rows: number, columns: number): Float64Array[] {
  return Array.from(
    { length: columns },
    (_, c) => Float64Array.from({ length: rows }, (_, r) => a[r * columns + c]),
  );
}

/** A unit vector that is orthogonal to the given ones. */
function completion(found: readonly Float64Array[], length: number): Float64Array {
  for (let axis = 0;; axis++) {
    const vector = new Float64Array(length).fill(1, axis, axis + 1);
    for (const other of [...found, ...found]) {
      const size = dot(vector, other);
      vector.forEach((v, i) => vector[i] = v - size * other[i]);
    }
    const norm = Math.sqrt(dot(vector, vector));
    if (norm >= 0.5 / Math.sqrt(length)) return vector.map((v) => v / norm);
  }
}

/** See {@linkcode AlgebraKernels.qr}: columns made orthogonal one after the other, twice. */
export function qr(a: ArgumentsOf<"qr">): void {
  check.qr(a);
  const { rows, columns } = a;
  const q: Float64Array[] = [];
  const r = a.r.array.fill(0);
  columnsOf(a.a.array, rows, columns).forEach((column, j) => {
    const size = Math.sqrt(dot(column, column));
    for (let pass = 0; pass < 2; pass++) {
      q.forEach((other, i) => {
        const part = dot(column, other);
        r[i * columns + j] += part;
        column.forEach((v, k) => column[k] = v - part * other[k]);
      });
    }
    const norm = Math.sqrt(dot(column, column));
    const independent = norm > size * 1e-14;
    r[j * columns + j] = independent ? norm : 0;
    q.push(independent ? column.map((v) => v / norm) : completion(q, rows));
    q[j].forEach((v, k) => a.a.array[k * columns + j] = v);
  });
}
