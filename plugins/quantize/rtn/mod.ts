/**
 * Round to nearest: every weight becomes the nearest value of its grid. The baseline of all
 * methods, and the only one that needs no data.
 *
 * @module
 */

import { z } from "zod";
import {
  channelWeights,
  definePlugin,
  type Plugin,
  PLUGIN_API_VERSION,
  schema,
} from "../../../spec/mod.ts";

/** Options of {@linkcode rtn}. */
export interface RtnOptions {
  /** `min_max` takes the whole range; `error` searches a clipping factor for every scale. */
  range: "min_max" | "error";
  /** The exponent of the error that the search minimises. */
  norm: number;
  /** How many smaller ranges the search tries. */
  candidates: number;
  /** The smallest range it tries, as a share of the whole one. */
  smallest: number;
}

/**
 * Round to nearest. With `x ~ (q - z) s`: `q = clamp(round(x / s) + z)`, s and z from the extremes
 * of each group (Survey of low-bit LLMs, eq. 8 to 11), or from a range that is searched for the
 * least `sum |x - Q(x)|^p` (eq. 12 and 13).
 *
 * @example
 * ```ts
 * import { rtn } from "./mod.ts";
 * rtn.options.parse({}); // { range: "min_max", norm: 2.4, candidates: 20, smallest: 0.6 }
 * ```
 */
export const rtn: Plugin<RtnOptions> = definePlugin({
  meta: {
    name: "rtn",
    version: "1.0.0",
    apiVersion: PLUGIN_API_VERSION,
    summary: "round to nearest, with the whole range or the one of least error",
    paper: {
      title: "A Survey of Low-bit Large Language Models: Basics, Systems, and Algorithms",
      id: "arXiv 2409.16694",
      equation: "8 to 13",
    },
    needs: { statistics: [] },
    supports: {},
    determinism: "exact",
  },
  options: schema(
    "options of rtn",
    z.strictObject({
      range: z.enum(["min_max", "error"]).default("min_max").describe(
        "min_max takes the whole range, error searches the range of least error",
      ),
      norm: z.number().min(1).max(8).default(2.4).describe("exponent of the error"),
      candidates: z.int().min(1).max(200).default(20).describe("smaller ranges that are tried"),
      smallest: z.number().min(0.05).max(1).default(0.6).describe("smallest share of the range"),
    }),
  ),
  quantizeVector: ({ linear, weight, codec }) => codec.encode(weight, linear.rows, linear.columns),
  quantize({ context, linear, weight, codec, statistics }) {
    const { rows, columns } = linear;
    const { range, norm, candidates, smallest } = context.options;
    if (range === "min_max") {
      return codec.quantize(weight, rows, columns, channelWeights(statistics.meanSquare));
    }
    using x = context.kernels.upload(weight);
    const tiling = codec.tiling(rows, columns);
    const search = { rule: "error" as const, norm, candidates, smallest };
    const parameters = codec.parameters(x, tiling, search);
    using codes = codec.encode(x, tiling, parameters);
    return {
      shape: [rows, columns],
      scheme: codec.scheme,
      codes: codes.array.slice(),
      parameters,
    };
  },
});
