/**
 * Errors of weights as they show in the outputs of a linear: `||X D^T||^2 = tr(D X^T X D^T)`.
 *
 * @module
 */

import type { Buffer, Kernels, LinearWeight } from "../../spec/mod.ts";

/** The Gram matrix of some input channels `[from, to)`, an average over tokens, to multiply by. */
export function gramWeight(
  kernels: Kernels,
  gram: Float64Array,
  tokens: number,
  [from, to]: [number, number] = [0, Math.sqrt(gram.length)],
): LinearWeight {
  const columns = Math.sqrt(gram.length), width = to - from;
  const values = new Float32Array(width * width);
  for (let i = 0; i < width; i++) {
    for (let j = 0; j < width; j++) {
      values[i * width + j] = gram[(from + i) * columns + from + j] / Math.max(1, tokens);
    }
  }
  return kernels.denseWeight(values, width, width);
}

/** For each row d of a difference of weights `[rows, columns]`: `d G d^T`, added up in f64. */
export function outputErrors(
  kernels: Kernels,
  difference: Buffer<"f32">,
  rows: number,
  gram: LinearWeight,
): Float64Array {
  using product = kernels.alloc("f32", difference.length);
  kernels.linear({ x: difference, y: product, tokens: rows, weight: gram });
  const [d, p] = [difference.array, product.array];
  const columns = gram.columns;
  const errors = new Float64Array(rows);
  for (let row = 0, i = 0; row < rows; row++) {
    let sum = 0;
    for (let j = 0; j < columns; j++, i++) sum += d[i] * p[i];
    errors[row] = sum;
  }
  return errors;
}
