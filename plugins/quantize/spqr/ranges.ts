/**
 * Ranges of groups of weights without the outliers among them.
 *
 * @module
 */

import type { Codec, GridParameters, Kernels, Ranges, Tiling } from "../../../spec/mod.ts";

/** The mean over columns of their variance, each times its sensitivity. */
export function meanVariance(
  work: Float32Array,
  rows: number,
  columns: number,
  sensitivity: Float64Array,
): number {
  let total = 0;
  for (let j = 0; j < columns; j++) {
    let [sum, squares] = [0, 0];
    for (let row = 0; row < rows; row++) {
      const value = work[row * columns + j];
      sum += value;
      squares += value * value;
    }
    total += sensitivity[j] * Math.max(0, squares - sum * sum / rows) / Math.max(1, rows - 1);
  }
  return total / columns;
}

/** What scales are fitted to. */
export interface Fit {
  /** The kernels. */
  kernels: Kernels;
  /** The scheme at work. */
  codec: Codec;
  /** Which weights share a scale. */
  tiling: Tiling;
  /** The weights. */
  work: Float32Array;
  /** The weight of a squared error in each column. */
  sensitivity: Float64Array;
  /** What an outlier must lower the loss of its group by. */
  limit: number;
}

/** Scales of the ranges that are left when likely outliers are taken out, one at each end at most. */
export function fitWithoutOutliers(fit: Fit): GridParameters {
  const { kernels, codec, tiling, work, limit } = fit;
  const tiles = tiling.gridRows * tiling.gridColumns;
  using x = kernels.upload(work);
  const whole = codec.ranges(x, tiling);
  const inner = innerRanges(work, tiling);
  const before = losses(fit, whole);
  const low = losses(fit, { ...whole, min: inner.min });
  const high = losses(fit, { ...whole, max: inner.max });
  const [min, max] = [whole.min.slice(), whole.max.slice()];
  for (let tile = 0; tile < tiles; tile++) {
    // The outlier's own error is gone as well.
    if (before.sums[tile] - low.sums[tile] + low.errors[inner.lowest[tile]] > limit) {
      min[tile] = inner.min[tile];
    }
    if (before.sums[tile] - high.sums[tile] + high.errors[inner.highest[tile]] > limit) {
      max[tile] = inner.max[tile];
    }
  }
  return codec.fit({ ...whole, min, max });
}

/** Weighted squared errors under the scales of some ranges: of every weight, and of every tile. */
function losses({ kernels, codec, tiling, work, sensitivity }: Fit, ranges: Ranges) {
  using x = kernels.upload(work);
  const parameters = codec.fit(ranges);
  using codes = codec.encode(x, tiling, parameters);
  using decoded = codec.decode(codes, tiling, parameters);
  const y = decoded.array;
  const errors = new Float64Array(work.length);
  const sums = new Float64Array(tiling.gridRows * tiling.gridColumns);
  forEach(tiling, (i, tile, column) => {
    errors[i] = sensitivity[column] * (work[i] - y[i]) ** 2;
    sums[tile] += errors[i];
  });
  return { errors, sums };
}

/** The range of each tile without its smallest value, without its largest, and where these are. */
function innerRanges(work: Float32Array, tiling: Tiling) {
  const tiles = tiling.gridRows * tiling.gridColumns;
  const lowest = new Uint32Array(tiles), highest = new Uint32Array(tiles);
  const seen = new Uint8Array(tiles);
  forEach(tiling, (i, tile) => {
    if (!seen[tile] || work[i] < work[lowest[tile]]) lowest[tile] = i;
    if (!seen[tile] || work[i] > work[highest[tile]]) highest[tile] = i;
    seen[tile] = 1;
  });
  const min = new Float32Array(tiles).fill(Infinity);
  const max = new Float32Array(tiles).fill(-Infinity);
  forEach(tiling, (i, tile) => {
    if (i !== lowest[tile]) min[tile] = Math.min(min[tile], work[i]);
    if (i !== highest[tile]) max[tile] = Math.max(max[tile], work[i]);
  });
  // A tile of one value keeps it.
  for (let tile = 0; tile < tiles; tile++) {
    if (min[tile] === Infinity) min[tile] = max[tile] = work[lowest[tile]];
  }
  return { min, max, lowest, highest };
}

/** What is added to each decoded element, for schemes with minima. */
export function minima(codec: Codec, tiling: Tiling, { zeros }: GridParameters) {
  if (codec.scheme.zero_point?.kind !== "minimum") return undefined;
  const shift = new Float32Array(tiling.rows * tiling.columns);
  forEach(tiling, (i, tile) => shift[i] = zeros![tile]);
  return shift;
}

function forEach(tiling: Tiling, visit: (i: number, tile: number, column: number) => void): void {
  const { rows, columns, tileRows, tileColumns, gridColumns } = tiling;
  for (let row = 0; row < rows; row++) {
    const first = Math.floor(row / tileRows) * gridColumns;
    for (let column = 0; column < columns; column++) {
      visit(row * columns + column, first + Math.floor(column / tileColumns), column);
    }
  }
}
