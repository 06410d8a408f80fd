/**
 * Kernels on f32 matrices: products, normalisation, activation functions and statistics.
 *
 * @module
 */

import type { Buffer } from "./kernel_buffers.ts";

/** The activation functions of {@linkcode DenseKernels.activate}. */
export type Activation = "relu" | "silu" | "gelu" | "gelu_tanh";

/** What {@linkcode DenseKernels.matmul} needs. */
export interface MatmulArguments {
  /** `[tokens, inner]`, or with `transpose` `[inner, tokens]`. */
  x: Buffer<"f32">;
  /** `[inner, columns]`. */
  w: Buffer<"f32">;
  /** Output `[tokens, columns]`. */
  y: Buffer<"f32">;
  /** Rows of y. */
  tokens: number;
  /** Terms of a sum. */
  inner: number;
  /** Columns of y. */
  columns: number;
  /** `y = x^T w`. */
  transpose?: boolean;
}

/** Operations on f32 matrices. */
export interface DenseKernels {
  /** `y = x w` or `x^T w`; sums in the order of {@linkcode Kernels.linear}. */
  matmul(args: MatmulArguments): void;
  /** `y = (x - mean) / sqrt(var + epsilon) * weight + bias`, a row at a time; statistics in f64. */
  layerNorm(args: {
    x: Buffer<"f32">;
    y: Buffer<"f32">;
    rows: number;
    columns: number;
    weight: Buffer<"f32">;
    bias?: Buffer<"f32">;
    epsilon: number;
  }): void;
  /**
   * An activation function, element by element; `y` may be `x`. GELU is `x Phi(x)`, or with `_tanh`
   * its usual approximation. Errors are below 2e-7 of the input; in the far tail of GELU, where the
   * result is below 1e-15, its relative error grows to 2e-5. Where a function reads
   * `-infinity * 0` the result is a NaN (all but ReLU).
   */
  activate(args: { x: Buffer<"f32">; y: Buffer<"f32">; kind: Activation }): void;
  /** Rows become probabilities in place; the sum of exponentials in f64. */
  softmax(args: { x: Buffer<"f32">; rows: number; columns: number }): void;
  /** The largest magnitude of every row or column, 0 if there is none; a NaN never becomes it. */
  absMax(args: {
    x: Buffer<"f32">;
    rows: number;
    columns: number;
    by: "row" | "column";
    y: Buffer<"f32">;
  }): void;
  /**
   * Adds to `counts` how many values lie in each of its bins of equal width over `[low, high]`:
   * bin `floor((v - low) * (bins / (high - low)))`, in f64, `high` in the last. NaN and values
   * outside are not counted.
   */
  histogram(
    args: { x: Buffer<"f32">; low: number; high: number; counts: Buffer<"f64"> },
  ): void;
  /**
   * The value below which the fraction `fraction` of `x` lies, by selection: between the values at
   * the positions around `fraction * (length - 1)` of the ascending order, linearly, in f64. A NaN
   * comes last, or first if its sign is set.
   */
  percentile(args: { x: Buffer<"f32">; fraction: number }): number;
}
