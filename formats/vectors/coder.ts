/**
 * What every family of vector formats implements: codes of scaled matrices, and back.
 *
 * @module
 */

import type { VectorEncodeOptions, VectorShape } from "../../spec/mod.ts";

/** Codes, and the tables that were learned for them. */
export interface Encoded {
  /** The codes, row by row of units. */
  codes: Uint32Array;
  /** The learned tables. */
  tables?: Float32Array;
}

/** A family at work. Matrices are divided by their scales already. */
export interface VectorCoder {
  /** The codes of `x` `[rows, columns]`. */
  encode(x: Float32Array, shape: VectorShape, options: VectorEncodeOptions): Encoded;
  /** The values of codes, `[rows, columns]`. */
  decode(encoded: Encoded, shape: VectorShape): Float32Array;
}

/** Weights of squared errors for all elements of a `[rows, columns]` matrix. */
export function elementWeights(
  weights: Float32Array | undefined,
  { rows, columns }: VectorShape,
): Float32Array | undefined {
  if (weights === undefined || weights.length === rows * columns) return weights;
  const all = new Float32Array(rows * columns);
  for (let row = 0; row < rows; row++) all.set(weights, row * columns);
  return all;
}
