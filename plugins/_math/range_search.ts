/**
 * Range search: the clipping factor of every tile that quantises it with the least error.
 *
 * @module
 */

import type { Buffer, Codec, GridParameters, Kernels, Tiling } from "../../spec/mod.ts";

/** What to search. */
export interface RangeSearch {
  /** The exponent p of the error `sum |x - Q(x)|^p`. */
  norm: number;
  /** How many factors below 1 are tried. */
  candidates: number;
  /** The smallest factor. */
  smallest: number;
}

/**
 * The parameters with the least error for every tile of `x` `[rows, columns]`, among the factors
 * `1 - (1 - smallest) * i / candidates`. Ties keep the larger range, so a search never loses to
 * the plain range. (Survey of low-bit LLMs, eq. 12 and 13; p = 2.4 as in the GPTQ code.)
 */
export function searchRanges(
  kernels: Kernels,
  codec: Codec,
  x: Buffer<"f32">,
  tiling: Tiling,
  search: RangeSearch,
): GridParameters {
  const ranges = codec.ranges(x, tiling);
  const tiles = tiling.gridRows * tiling.gridColumns;
  const best = new Float64Array(tiles).fill(Infinity);
  const factors = new Float32Array(tiles).fill(1);
  using error = kernels.alloc("f64", tiles);
  for (let i = 0; i <= search.candidates; i++) {
    const factor = 1 - (1 - search.smallest) * i / Math.max(1, search.candidates);
    const parameters = codec.fit(ranges, factor);
    using codes = codec.encode(x, tiling, parameters);
    using y = codec.decode(codes, tiling, parameters);
    kernels.tileError({ x, y, tiling, exponent: search.norm, error });
    const errors = error.array;
    for (let tile = 0; tile < tiles; tile++) {
      if (errors[tile] < best[tile]) [best[tile], factors[tile]] = [errors[tile], factor];
    }
  }
  return codec.fit(ranges, factors);
}
