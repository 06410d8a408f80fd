/**
 * The checks of linear algebra in f64: shapes, and that the numbers are what the algorithms need.
 *
 * @module
 */

import { LowbitError } from "../spec/errors.ts";
import type { Buffer } from "../spec/kernel_buffers.ts";
import type { AlgebraKernels, SvdArguments } from "../spec/kernels_algebra.ts";
import * as check from "./checks.ts";

type ArgumentsOf<Name extends keyof AlgebraKernels> = Parameters<AlgebraKernels[Name]>[0];

/** The most that a symmetric matrix may differ from its transpose, by its largest entry. */
const SYMMETRY = 1e-8;

/** Refuses numbers that an algorithm cannot work with. */
function refuseNumbers(field: string, problem: string): never {
  throw new LowbitError("NUMERICS", problem, { field });
}

/** Says that an iteration does not come to an end. */
export function diverged(operation: string): never {
  throw new LowbitError("NUMERICS", `${operation} does not converge`);
}

function square(field: string, a: Buffer<"f64">, n: number): void {
  check.whole("n", n);
  check.buffer(field, a, "f64", n * n);
}

/** The largest magnitude; refuses a NaN and an infinity. */
function largest(field: string, a: Buffer<"f64">): number {
  let most = 0;
  for (const v of a.array) {
    if (!Number.isFinite(v)) refuseNumbers(field, "holds a NaN or an infinity");
    most = Math.max(most, Math.abs(v));
  }
  return most;
}

/** The power of two that brings numbers up to `most` near 1. */
function normalizer(most: number): number {
  return most > 0 ? 2 ** Math.max(-1000, Math.min(1000, -Math.round(Math.log2(most)))) : 1;
}

/** Checks the arguments of `cholesky`. */
export function cholesky(a: ArgumentsOf<"cholesky">): void {
  square("a", a.a, a.n);
  largest("a", a.a);
}

/** A factor whose diagonal is above 0. */
function factor(field: string, l: Buffer<"f64">, n: number): void {
  square(field, l, n);
  largest(field, l);
  const entries = l.array;
  for (let i = 0; i < n; i++) {
    if (!(entries[i * n + i] > 0)) {
      refuseNumbers(field, `has ${entries[i * n + i]} on its diagonal, at ${i}`);
    }
  }
}

/** Checks the arguments of `choleskySolve`. */
export function choleskySolve(a: ArgumentsOf<"choleskySolve">): void {
  factor("l", a.l, a.n);
  check.whole("columns", a.columns);
  check.buffer("b", a.b, "f64", a.n * a.columns);
  largest("b", a.b);
}

/** Checks the arguments of `triangularInverse`. */
export function triangularInverse(a: ArgumentsOf<"triangularInverse">): void {
  factor("l", a.l, a.n);
}

/** Checks the arguments of `symmetricEigen`; a factor that brings the matrix near 1. */
export function symmetricEigen(a: ArgumentsOf<"symmetricEigen">): number {
  square("a", a.a, a.n);
  check.buffer("values", a.values, "f64", a.n);
  check.buffer("vectors", a.vectors, "f64", a.n * a.n);
  const most = largest("a", a.a);
  const [entries, n] = [a.a.array, a.n];
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < i; j++) {
      if (Math.abs(entries[i * n + j] - entries[j * n + i]) > SYMMETRY * most) {
        refuseNumbers("a", `is not symmetric: entry (${i}, ${j}) is not entry (${j}, ${i})`);
      }
    }
  }
  return normalizer(most);
}

/** Checks {@linkcode SvdArguments}; a factor that brings the matrix near 1. */
export function svd(a: SvdArguments): number {
  check.whole("rows", a.rows);
  check.whole("columns", a.columns);
  check.buffer("a", a.a, "f64", a.rows * a.columns);
  const k = a.s?.length;
  check.buffer("s", a.s, "f64", k);
  if (k > Math.min(a.rows, a.columns)) check.refuse("s", `has ${k} entries, more than a rank`);
  check.buffer("u", a.u, "f64", a.rows * k);
  check.buffer("v", a.v, "f64", k * a.columns);
  return normalizer(largest("a", a.a));
}

/** Checks the arguments of `qr`. */
export function qr(a: ArgumentsOf<"qr">): void {
  check.whole("columns", a.columns);
  check.whole("rows", a.rows, a.columns);
  check.buffer("a", a.a, "f64", a.rows * a.columns);
  check.buffer("r", a.r, "f64", a.columns * a.columns);
  largest("a", a.a);
}
