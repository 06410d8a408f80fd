/**
 * Clipping: the ranges of tiles shrunk by the factors of plugins, before a weight is quantised.
 *
 * @module
 */

import { type Codec, type InputStatistics, type LinearInfo, LowbitError } from "../spec/mod.ts";
import type { PipelineStep } from "./pipeline.ts";

/** The weight with every tile clamped to its range times the product of all factors for it. */
export function clipWeight(args: {
  steps: readonly PipelineStep[];
  linear: LinearInfo;
  weight: Float32Array;
  codec: Codec;
  statistics: InputStatistics;
}): Float32Array {
  const { steps, linear, codec, statistics } = args;
  const { rows, columns } = linear;
  let weight = args.weight;
  for (const { plugin, context, selects } of steps) {
    if (!plugin.clip || !selects(linear)) continue;
    const factors = plugin.clip({ context, linear, weight, codec, statistics });
    if (!factors) continue;
    const { gridRows, gridColumns, tileRows, tileColumns } = codec.tiling(rows, columns);
    const tiles = gridRows * gridColumns;
    if (factors.length !== tiles || !factors.every((f) => f > 0 && f <= 1)) {
      throw new LowbitError("PLUGIN", `clip needs ${tiles} factors above 0 and up to 1`, {
        file: plugin.meta.name,
        field: linear.id,
      });
    }
    const tileOf = (i: number) =>
      Math.floor(Math.floor(i / columns) / tileRows) * gridColumns +
      Math.floor((i % columns) / tileColumns);
    const min = new Float32Array(tiles), max = new Float32Array(tiles);
    for (let i = 0; i < weight.length; i++) {
      const tile = tileOf(i);
      min[tile] = Math.min(min[tile], weight[i]);
      max[tile] = Math.max(max[tile], weight[i]);
    }
    // A symmetric range reaches as far below as above.
    if (!codec.scheme.zero_point) {
      for (let tile = 0; tile < tiles; tile++) {
        max[tile] = Math.max(max[tile], -min[tile]);
        min[tile] = -max[tile];
      }
    }
    weight = weight.map((value, i) => {
      const tile = tileOf(i);
      return Math.min(factors[tile] * max[tile], Math.max(factors[tile] * min[tile], value));
    });
  }
  return weight;
}
