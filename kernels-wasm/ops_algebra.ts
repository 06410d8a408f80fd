/**
 * Linear algebra in f64: factors, eigenvectors, singular vectors.
 *
 * @module
 */

import type { AlgebraKernels, SvdArguments } from "../spec/kernels_algebra.ts";
import * as check from "./checks_algebra.ts";
import type { Context } from "./context.ts";
import { factorUpper, invertUpper } from "./ops_linear.ts";

type ArgumentsOf<Name extends keyof AlgebraKernels> = Parameters<AlgebraKernels[Name]>[0];

/** Columns of a panel of a triangular solution, and of a sequence of rotations. */
const PANEL = 8;
/** Rows that share the loads of a reflector. */
const GROUP = 4;
/** Rotations are applied about this many times n at once. */
const SWEEPS = 24;
/** Numbers of a rotation. */
const ROTATION = 3;
/** Rounds through all pairs that one-sided Jacobi may take. */
const MAX_SWEEPS = 40;

/** `L[n, n]` with `A = L L^T`: the upper factor of A with rows and columns reversed. */
export function cholesky(c: Context, a: ArgumentsOf<"cholesky">): boolean {
  check.cholesky(a);
  const [at, n] = [c.at("a", a.a), a.n];
  c.heap.view("f64", at, n * n).reverse();
  if (!factorUpper(c, at, n)) return false;
  c.heap.view("f64", at, n * n).reverse();
  clearAbove(c, at, n);
  return true;
}

/** The inverse of `L[n, n]`, by the same reversal. */
export function triangularInverse(c: Context, a: ArgumentsOf<"triangularInverse">): void {
  check.triangularInverse(a);
  const [at, n] = [c.at("l", a.l), a.n];
  c.heap.view("f64", at, n * n).reverse();
  invertUpper(c, at, n);
  c.heap.view("f64", at, n * n).reverse();
  clearAbove(c, at, n);
}

function clearAbove(c: Context, address: number, n: number): void {
  const entries = c.heap.view("f64", address, n * n);
  for (let i = 0; i < n; i++) entries.fill(0, i * n + i + 1, (i + 1) * n);
}

/** Two triangular solutions; split by panels of 8 columns. */
export function choleskySolve(c: Context, a: ArgumentsOf<"choleskySolve">): void {
  check.choleskySolve(a);
  const [l, b] = [c.at("l", a.l), c.at("b", a.b)];
  const split = { units: Math.ceil(a.columns / PANEL), work: a.n * a.n * a.columns };
  c.pool.run("triangular_solve", [l, a.n, b, a.columns, 0], split);
  c.pool.run("triangular_solve", [l, a.n, b, a.columns, 1], split);
}

/** Eigenvalues, ascending, and eigenvectors as rows. */
export function symmetricEigen(c: Context, a: ArgumentsOf<"symmetricEigen">): void {
  const factor = check.symmetricEigen(a);
  const [at, values, vectors] = [
    c.at("a", a.a),
    c.at("values", a.values),
    c.at("vectors", a.vectors),
  ];
  const n = a.n;
  const entries = c.heap.view("f64", at, n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) entries[j * n + i] = entries[i * n + j] *= factor;
  }
  eigen(c, at, n, values, vectors);
  const scaled = c.heap.view("f64", values, n);
  scaled.forEach((v, i) => scaled[i] = v / factor);
}

/** The same on addresses; the matrix at `at` is overwritten by reflectors. */
function eigen(c: Context, at: number, n: number, values: number, vectors: number): void {
  if (n === 0) return;
  const capacity = SWEEPS * n;
  const doubles = 4 * n + 2 * n + 2 + ROTATION * capacity;
  c.heap.with(8 * doubles, (work) => {
    const e = work + 32 * n;
    const [beta, state] = [e + 8 * n, e + 16 * n];
    reduce(c, at, n, work, values, e, beta);
    diagonalize(c, n, values, e, vectors, state, state + 16, capacity);
    c.pool.run("reflect", [at, n, beta, 0, Math.max(0, n - 2), 1, vectors, n, 0], {
      units: Math.ceil(n / GROUP),
      work: n * n * n,
    });
  });
  sort(c, n, values, vectors);
}

/** To tridiagonal form: `d` and `e`, and reflectors in the rows of the matrix. */
function reduce(
  c: Context,
  at: number,
  n: number,
  work: number,
  d: number,
  e: number,
  beta: number,
): void {
  c.heap.view("f64", work, 4 * n).fill(0);
  for (let k = 0; k < n; k++) {
    const left = n - k - 1;
    c.exports.tridiagonal_start(at, n, k, work, d, e, beta);
    if (left === 0) break;
    c.pool.run("tridiagonal", [at, n, k, work], { units: left, work: 3 * left * left });
    c.exports.tridiagonal_finish(n, k, work, c.heap.view("f64", beta, n)[k]);
  }
}

/** Rotations until `d` holds the eigenvalues; `vectors` gets those of the tridiagonal matrix. */
function diagonalize(
  c: Context,
  n: number,
  d: number,
  e: number,
  vectors: number,
  state: number,
  rotations: number,
  capacity: number,
): void {
  const identity = c.heap.view("f64", vectors, n * n).fill(0);
  for (let i = 0; i < n; i++) identity[i * n + i] = 1;
  c.heap.view("f64", state, 2).set([n, 0]);
  for (let size = n; size > 1;) {
    const count = c.exports.tridiagonal_qr(d, e, n, state, rotations, capacity);
    if (count < 0) check.diverged("the eigenvalue iteration");
    c.pool.run("rotate", [vectors, n, rotations, count], {
      units: Math.ceil(n / PANEL),
      work: 3 * count * n,
      scratch: 8 * n * PANEL,
    });
    size = c.heap.view("f64", state, 1)[0];
  }
}

/** Eigenvalues ascending, their vectors with them. */
function sort(c: Context, n: number, values: number, vectors: number): void {
  const d = c.heap.view("f64", values, n);
  const order = [...d.keys()].sort((i, j) => d[i] - d[j] || i - j);
  d.set(order.map((i) => d[i]));
  permute(c.heap.view("f64", vectors, n * n), n, order);
}

/** Row i becomes what row `order[i]` was, along the cycles of the permutation. */
function permute(rows: Float64Array, width: number, order: readonly number[]): void {
  const done = new Uint8Array(order.length);
  const row = (i: number) => rows.subarray(i * width, (i + 1) * width);
  for (let start = 0; start < order.length; start++) {
    if (done[start]) continue;
    const first = row(start).slice();
    let i = start;
    for (; order[i] !== start; i = order[i]) {
      row(i).set(row(order[i]));
      done[i] = 1;
    }
    row(i).set(first);
    done[i] = 1;
  }
}

/** The first singular values and vectors. */
export function svd(c: Context, a: SvdArguments): void {
  const factor = check.svd(a);
  const [at, s, u, v] = [c.at("a", a.a), c.at("s", a.s), c.at("u", a.u), c.at("v", a.v)];
  const wide = a.rows <= a.columns;
  const [n, width] = wide ? [a.rows, a.columns] : [a.columns, a.rows];
  const k = a.s.length;
  if (k === 0) return;
  c.heap.with(8 * (2 * n * width + 2 * n * n + n), (b) => {
    const rows = b + 8 * n * width;
    const gram = rows + 8 * n * width;
    const z = gram + 8 * n * n;
    const [input, copy] = [c.heap.view("f64", at, n * width), c.heap.view("f64", b, n * width)];
    if (wide) input.forEach((x, i) => copy[i] = x * factor);
    else transposeInto(input, a.rows, a.columns, copy, factor);
    gramOf(c, b, gram, n, width);
    eigen(c, gram, n, z + 8 * n * n, z);
    c.pool.run("product64", [z, b, rows, n, width, 0], { units: n, work: n * n * width });
    orthogonalize(c, rows, z, n, width);
    const order = byNorm(c.heap.view("f64", rows, n * width), n, width).slice(0, k);
    c.heap.view("f64", s, k).set(order.map(({ norm }) => norm / factor));
    const [left, right] = [new Float64Array(k * n), new Float64Array(k * width)];
    const [from, vectors] = [c.heap.view("f64", rows, n * width), c.heap.view("f64", z, n * n)];
    order.forEach(({ index, norm }, i) => {
      left.set(vectors.subarray(index * n, (index + 1) * n), i * n);
      const row = from.subarray(index * width, (index + 1) * width);
      right.subarray(i * width, (i + 1) * width).set(row.map((x) => norm > 0 ? x / norm : 0));
      if (!(norm > 0)) complete(right, i, width);
    });
    const [columns, lines] = wide ? [left, right] : [right, left];
    transposeInto(columns, k, a.rows, c.heap.view("f64", u, k * a.rows), 1);
    c.heap.view("f64", v, k * a.columns).set(lines);
  });
}

function transposeInto(
  from: Float64Array,
  rows: number,
  columns: number,
  to: Float64Array,
  factor: number,
): void {
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++) to[c * rows + r] = from[r * columns + c] * factor;
  }
}

/** `gram = b b^T`. */
function gramOf(c: Context, b: number, gram: number, n: number, width: number): void {
  const work = n * n * width / 2;
  c.pool.run("product64", [b, b, gram, width, n, 1], { units: n, work });
  const entries = c.heap.view("f64", gram, n * n);
  for (let i = 0; i < n; i++) for (let j = 0; j < i; j++) entries[j * n + i] = entries[i * n + j];
}

/** Rotates pairs of rows until all are orthogonal. */
function orthogonalize(c: Context, rows: number, z: number, n: number, width: number): void {
  const players = Math.ceil(n / 2) * 2;
  c.heap.with(8 * n + players / 2, (squares) => {
    const moved = squares + 8 * n;
    c.heap.view("f64", squares, n).fill(-1);
    for (let sweep = 0; n > 1; sweep++) {
      if (sweep === MAX_SWEEPS) check.diverged("the singular value iteration");
      c.heap.view("u8", moved, players / 2).fill(0);
      for (let round = 0; round < players - 1; round++) {
        c.pool.run("jacobi", [rows, z, n, width, round, squares, moved], {
          units: players / 2,
          work: n * width,
        });
      }
      if (!c.heap.view("u8", moved, players / 2).includes(1)) return;
    }
  });
}

/** Rows by their lengths, descending; lengths that are noise count as 0. */
function byNorm(rows: Float64Array, n: number, width: number): { index: number; norm: number }[] {
  const norms = Array.from({ length: n }, (_, index) => {
    const row = rows.subarray(index * width, (index + 1) * width);
    return { index, norm: Math.sqrt(row.reduce((sum, x) => sum + x * x, 0)) };
  }).sort((a, b) => b.norm - a.norm || a.index - b.index);
  const noise = norms[0].norm * Math.max(n, width) * 2 ** -54;
  return norms.map(({ index, norm }) => ({ index, norm: norm > noise ? norm : 0 }));
}

/** Row i becomes a unit vector that is orthogonal to the rows before it. */
function complete(rows: Float64Array, i: number, width: number): void {
  const row = rows.subarray(i * width, (i + 1) * width);
  for (let axis = 0;; axis++) {
    row.fill(0);
    row[axis] = 1;
    for (let pass = 0; pass < 2; pass++) {
      for (let p = 0; p < i; p++) {
        const other = rows.subarray(p * width, (p + 1) * width);
        const dot = row.reduce((sum, x, at) => sum + x * other[at], 0);
        row.forEach((x, at) => row[at] = x - dot * other[at]);
      }
    }
    const norm = Math.sqrt(row.reduce((sum, x) => sum + x * x, 0));
    if (norm < 0.5 / Math.sqrt(width)) continue;
    row.forEach((x, at) => row[at] = x / norm);
    return;
  }
}

/** Q in place of A, and R: reflectors of the columns, kept as rows of the transpose. */
export function qr(c: Context, a: ArgumentsOf<"qr">): void {
  check.qr(a);
  const [at, r, { rows, columns }] = [c.at("a", a.a), c.at("r", a.r), a];
  c.heap.with(8 * (2 * rows * columns + columns), (t) => {
    const q = t + 8 * rows * columns;
    const beta = q + 8 * rows * columns;
    const size = rows * columns;
    transposeInto(c.heap.view("f64", at, size), rows, columns, c.heap.view("f64", t, size), 1);
    const diagonal: number[] = [];
    for (let k = 0; k < columns; k++) {
      const start = t + 8 * (k * rows + k);
      diagonal.push(c.exports.householder(start, rows - k, beta + 8 * k));
      c.pool.run("reflect", [t, rows, beta, k, k + 1, 0, t, columns, k + 1], {
        units: Math.ceil((columns - k - 1) / GROUP),
        work: 2 * (columns - k - 1) * (rows - k),
      });
    }
    const [reflectors, upper] = [c.heap.view("f64", t, size), c.heap.view("f64", r, columns ** 2)];
    const sign = (i: number) => diagonal[i] < 0 ? -1 : 1;
    for (let i = 0; i < columns; i++) {
      for (let j = 0; j < columns; j++) {
        const entry = i === j ? diagonal[i] : i < j ? reflectors[j * rows + i] : 0;
        upper[i * columns + j] = entry * sign(i);
      }
    }
    const unit = c.heap.view("f64", q, size).fill(0);
    for (let i = 0; i < columns; i++) unit[i * rows + i] = sign(i);
    c.pool.run("reflect", [t, rows, beta, 0, columns, 0, q, columns, 0], {
      units: Math.ceil(columns / GROUP),
      work: 2 * columns * columns * rows,
    });
    transposeInto(c.heap.view("f64", q, size), columns, rows, c.heap.view("f64", at, size), 1);
  });
}
