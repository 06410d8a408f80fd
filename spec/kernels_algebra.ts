/**
 * Kernels of linear algebra in f64, for Hessians, and the Walsh-Hadamard transform.
 *
 * Matrices are row-major. A matrix with a NaN or an infinity, or one that is not as symmetric as it
 * must be, is refused (`NUMERICS`); so is an iteration that does not converge.
 *
 * @module
 */

import type { Buffer } from "./kernel_buffers.ts";

/** The transform of {@linkcode AlgebraKernels.hadamard}. */
export interface HadamardArguments {
  /** Matrix `[rows, columns]`, changed in place. */
  x: Buffer<"f32">;
  /** Rows of x. */
  rows: number;
  /** Columns of x: `m * 2^k`, m 1 or the order of a Hadamard matrix; see `hadamardOrder`. */
  columns: number;
  /** A sign, 1 or -1, for every column: the input is multiplied by it. */
  signs?: Buffer<"f32">;
  /** The transpose, which is the inverse: signs come last. */
  transpose?: boolean;
}

/** A singular value decomposition; see {@linkcode AlgebraKernels.svd}. */
export interface SvdArguments {
  /** Matrix `[rows, columns]`, unchanged. */
  a: Buffer<"f64">;
  /** Rows of a. */
  rows: number;
  /** Columns of a. */
  columns: number;
  /** Output: singular values, descending. Its length k, at most `min(rows, columns)`, is the rank. */
  s: Buffer<"f64">;
  /** Output: left vectors as columns, `[rows, k]`. */
  u: Buffer<"f64">;
  /** Output: right vectors as rows, `[k, columns]`. */
  v: Buffer<"f64">;
}

/** Linear algebra in f64, and Hadamard transforms in f32. */
export interface AlgebraKernels {
  /**
   * Every row becomes `H (signs * x) / sqrt(columns)` with `H = M (x) W`: W of Sylvester, M of Paley
   * or Williamson. The order of the f32 steps: signs; butterflies `(a + b, a - b)` with distances 1,
   * 2, 4 ... in each of the m blocks of 2^k; for each position of a block the products with M, added
   * in ascending order from the first; times `f32(1 / sqrt(columns))`.
   */
  hadamard(args: HadamardArguments): void;
  /**
   * The lower triangular `L` with `A = L L^T`, in place of `a` `[n, n]`, the entries above it zero.
   * Only the lower triangle of A is read. False (and `a` undefined) if A is not positive definite.
   */
  cholesky(args: { a: Buffer<"f64">; n: number }): boolean;
  /** Solves `L L^T X = B` in place of `b` `[n, columns]`, L the factor of `cholesky`. */
  choleskySolve(
    args: { l: Buffer<"f64">; n: number; b: Buffer<"f64">; columns: number },
  ): void;
  /** The inverse of a lower triangular `l` `[n, n]`, in place; its diagonal must be above 0. */
  triangularInverse(args: { l: Buffer<"f64">; n: number }): void;
  /**
   * Eigenvalues, ascending, and orthonormal eigenvectors, as rows, of a symmetric matrix: by
   * Householder reduction and implicit QR. `a` `[n, n]` must be symmetric within 1e-8 of its largest
   * entry; its lower triangle counts, and it is overwritten.
   */
  symmetricEigen(
    args: { a: Buffer<"f64">; n: number; values: Buffer<"f64">; vectors: Buffer<"f64"> },
  ): void;
  /**
   * The first k singular values and vectors: `A ~ U diag(S) V`. By the eigenvectors of the smaller
   * Gram matrix, made exact by one-sided Jacobi rotations.
   */
  svd(args: SvdArguments): void;
  /**
   * `A = Q R` by Householder reflections, for `rows >= columns`: Q, with orthonormal columns, takes
   * the place of `a` `[rows, columns]`; `r` `[columns, columns]` is upper triangular with a diagonal
   * of at least 0.
   */
  qr(args: { a: Buffer<"f64">; rows: number; columns: number; r: Buffer<"f64"> }): void;
}
