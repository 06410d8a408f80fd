/** Clips every range to a percentile of its magnitudes, for any quantiser behind it. */

import { definePlugin, type Plugin, PLUGIN_API_VERSION, schema } from "@lowbit/lowbit/plugin";
import { z } from "zod";

/** Each tile keeps magnitudes up to this share of its values; the others are clamped. */
export const percentileClip: Plugin<{ percentile: number }> = definePlugin({
  meta: {
    name: "percentile-clip",
    version: "0.1.0",
    apiVersion: PLUGIN_API_VERSION,
    summary: "clips ranges to a percentile of their magnitudes",
    needs: { statistics: [] },
    supports: { families: ["int"], granularities: ["group"] },
    // An outlier that it clips is most of the error of its group.
    error: { of: "weights", factor: 20 },
    determinism: "exact",
  },
  options: schema(
    "options of percentile-clip",
    z.strictObject({
      percentile: z.number().min(0.5).max(1).default(0.99).describe("share that is kept"),
    }),
  ),
  clip({ context: { options }, linear: { rows, columns }, weight, codec }) {
    const { tileRows, tileColumns, gridColumns, gridRows } = codec.tiling(rows, columns);
    return Float32Array.from({ length: gridRows * gridColumns }, (_, tile) => {
      const [row, column] = [Math.floor(tile / gridColumns) * tileRows, tile % gridColumns];
      const values: number[] = [];
      for (let r = row; r < Math.min(rows, row + tileRows); r++) {
        const start = r * columns + column * tileColumns;
        const end = Math.min((r + 1) * columns, start + tileColumns);
        for (let i = start; i < end; i++) values.push(Math.abs(weight[i]));
      }
      values.sort((a, b) => a - b);
      const kept = values[Math.ceil(options.percentile * values.length) - 1];
      return kept > 0 ? kept / values[values.length - 1] : 1;
    });
  },
});
