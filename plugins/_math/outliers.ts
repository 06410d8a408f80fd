/**
 * Weights that are kept beside the codes, exactly or nearly so.
 *
 * @module
 */

import type { SparsePart } from "../../spec/mod.ts";

/** The indices of the `count` largest values; of equal ones the first. */
export function largest(values: Readonly<Float32Array>, count: number): Uint32Array {
  if (count === 0) return new Uint32Array(0);
  const limit = values.slice().sort()[values.length - count];
  const above: number[] = [], equal: number[] = [];
  values.forEach((value, i) => {
    if (value > limit) above.push(i);
    else if (value === limit) equal.push(i);
  });
  return Uint32Array.from(
    [...above, ...equal.slice(0, count - above.length)].sort((a, b) => a - b),
  );
}

/**
 * What makes `decoded` the weight at some places, in numbers that float16 holds. `kept` are indices
 * into the matrix, of `columns` columns.
 */
export function sparsePart(
  kept: Iterable<number>,
  weight: Readonly<Float32Array>,
  decoded: Readonly<Float32Array>,
  columns: number,
): SparsePart {
  const indices = Uint32Array.from(kept).sort();
  return {
    kind: "sparse",
    rows: indices.map((i) => Math.floor(i / columns)),
    columns: indices.map((i) => i % columns),
    values: Float32Array.from(indices, (i) => toFloat16(weight[i] - decoded[i])),
  };
}

/** A value near x of 11 significant bits, fewer below 2^-14; beyond float16's range x as f32. */
export function toFloat16(x: number): number {
  if (Math.abs(x) > 65504) return Math.fround(x);
  if (Math.abs(x) < 2 ** -14) return Math.round(x * 2 ** 24) / 2 ** 24;
  const high = Math.fround(Math.fround(x) * (2 ** 13 + 1));
  return Math.fround(high - Math.fround(high - Math.fround(x)));
}
