/**
 * Clipping: the ranges of tiles shrunk by the factors of plugins, before a weight is quantised.
 *
 * @module
 */

import { type Codec, type InputStatistics, type LinearInfo, LowbitError } from "../spec/mod.ts";
import { forEachElement } from "../formats/reference.ts";
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
    const tiling = codec.tiling(rows, columns);
    const tiles = tiling.gridRows * tiling.gridColumns;
    if (factors.length !== tiles || !factors.every((f) => f > 0 && f <= 1)) {
      throw new LowbitError("PLUGIN", `clip needs ${tiles} factors above 0 and up to 1`, {
        file: plugin.meta.name,
        field: linear.id,
        advice: "report it to the author of the plugin",
      });
    }
    const min = new Float32Array(tiles), max = new Float32Array(tiles);
    const whole = weight;
    forEachElement(tiling, (i, tile) => {
      min[tile] = Math.min(min[tile], whole[i]);
      max[tile] = Math.max(max[tile], whole[i]);
    });
    // A symmetric range reaches as far below as above.
    if (!codec.scheme.zero_point) {
      for (let tile = 0; tile < tiles; tile++) {
        max[tile] = Math.max(max[tile], -min[tile]);
        min[tile] = -max[tile];
      }
    }
    weight = new Float32Array(whole.length);
    forEachElement(tiling, (i, tile) => {
      const factor = factors[tile];
      weight[i] = Math.min(factor * max[tile], Math.max(factor * min[tile], whole[i]));
    });
  }
  return weight;
}
