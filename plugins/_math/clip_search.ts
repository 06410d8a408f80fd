/**
 * Clip search: the range of every tile that gives the least error in the outputs.
 *
 * @module
 */

import type { Codec, InputStatistics, Kernels } from "../../spec/mod.ts";
import { gramWeight, outputErrors } from "./output_error.ts";

/** What to search. */
export interface ClipSearch {
  /** How many factors below 1 are tried. */
  candidates: number;
  /** The smallest factor. */
  smallest: number;
}

/**
 * For every tile of a weight `[rows, columns]` the factor of its range, among
 * `1 - (1 - smallest) * i / candidates`, with the least `d G d^T`; d is the error of the tile's
 * weights, G the Gram matrix of its channels. Ties keep the larger range. Tiles are parts of rows.
 */
export function searchClips(
  kernels: Kernels,
  codec: Codec,
  weight: Readonly<Float32Array>,
  rows: number,
  statistics: InputStatistics,
  search: ClipSearch,
): Float32Array {
  const { columns, tokens } = statistics;
  const tiling = codec.tiling(rows, columns);
  const { gridColumns, tileColumns } = tiling;
  using x = kernels.upload(weight as Float32Array);
  const ranges = codec.ranges(x, tiling);
  const grams = Array.from({ length: gridColumns }, (_, group) => {
    const from = group * tileColumns;
    const span: [number, number] = [from, Math.min(columns, from + tileColumns)];
    return { span, gram: gramWeight(kernels, statistics.gram!, tokens, span) };
  });
  const best = new Float64Array(rows * gridColumns).fill(Infinity);
  const factors = new Float32Array(rows * gridColumns).fill(1);
  for (let i = 0; i <= search.candidates; i++) {
    const factor = 1 - (1 - search.smallest) * i / Math.max(1, search.candidates);
    const parameters = codec.fit(ranges, factor);
    using codes = codec.encode(x, tiling, parameters);
    using decoded = codec.decode(codes, tiling, parameters);
    const values = decoded.array.slice();
    for (const [group, { span: [from, to], gram }] of grams.entries()) {
      using difference = kernels.alloc("f32", rows * (to - from));
      const d = difference.array;
      for (let row = 0, at = 0; row < rows; row++) {
        for (let j = from; j < to; j++) {
          d[at++] = values[row * columns + j] - weight[row * columns + j];
        }
      }
      outputErrors(kernels, difference, rows, gram).forEach((error, row) => {
        const tile = row * gridColumns + group;
        if (error < best[tile]) [best[tile], factors[tile]] = [error, factor];
      });
    }
  }
  for (const { gram } of grams) gram.free();
  return factors;
}
