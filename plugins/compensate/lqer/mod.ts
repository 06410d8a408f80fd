/**
 * LQER: the error of a quantised weight, made up for by a matrix of low rank.
 *
 * @module
 */

import { z } from "zod";
import {
  definePlugin,
  LowbitError,
  type Plugin,
  PLUGIN_API_VERSION,
  schema,
} from "../../../spec/mod.ts";
import { nearestLowRank } from "../../_math/low_rank.ts";

/** Options of {@linkcode lqer}. */
export interface LqerOptions {
  /** The rank of the correction. */
  rank: number;
  /** Whether errors count by the size of the activations that meet them. */
  weighting: "activations" | "none";
  /** Iterations that look for the leading directions. */
  iterations: number;
}

/** Channels below this share of the largest count as this, so that scales can be undone. */
const SMALLEST = 1e-4;

/**
 * LQER (Zhang et al. 2024, arXiv 2402.02446, eq. 7 to 11). With `E = W - Q(W)` and S the diagonal of
 * the inputs' mean magnitudes, the leading singular triples of `E S` give
 * `E ~ (U Sigma)(V^T S^-1)`, which is kept beside the quantised weight: L2QER. Without weighting S is
 * the identity. Corrections are kept in f32.
 *
 * @example
 * ```ts
 * import { lqer } from "./mod.ts";
 * lqer.options.parse({}).rank; // 32
 * ```
 */
export const lqer: Plugin<LqerOptions> = definePlugin({
  meta: {
    name: "lqer",
    version: "1.0.0",
    apiVersion: PLUGIN_API_VERSION,
    summary: "a low-rank correction of each weight's error, weighted by its inputs",
    paper: {
      title: "LQER: Low-Rank Quantization Error Reconstruction for LLMs",
      id: "arXiv 2402.02446",
      equation: "7 to 11",
    },
    needs: { statistics: ["abs_mean"] },
    supports: {},
    determinism: "seeded",
  },
  options: schema(
    "options of lqer",
    z.strictObject({
      rank: z.int().min(1).max(4096).default(32).describe("rank of the correction"),
      weighting: z.enum(["activations", "none"]).default("activations").describe(
        "whether errors count by the size of the inputs that meet them",
      ),
      iterations: z.int().min(0).max(100).default(6).describe("iterations towards the best rank"),
    }),
  ),
  compensate({ context: { options, rng }, linear, weight, tensor, codec, statistics }) {
    const { rows, columns } = linear;
    const scales = new Float64Array(columns).fill(1);
    if (options.weighting === "activations") {
      const { absMean } = statistics;
      if (!absMean) {
        throw new LowbitError("CALIBRATION", "has no activation statistics", {
          field: linear.id,
          advice: "give calibration text with --calibration, or weighting: none",
        });
      }
      const largest = absMean.reduce((a, b) => Math.max(a, b), 0);
      if (largest > 0) {
        absMean.forEach((mean, j) => scales[j] = Math.max(SMALLEST, mean / largest));
      }
    }
    const decoded = codec.dequantize(tensor);
    const error = Float64Array.from(
      weight,
      (value, i) => (value - decoded[i]) * scales[i % columns],
    );
    const rank = Math.min(options.rank, rows, columns);
    const { iterations } = options;
    const factors = nearestLowRank(error, rows, columns, rank, { rng: rng(linear.id), iterations });
    const right = Float32Array.from(factors.right, (value, i) => value / scales[i % columns]);
    return { side: [{ kind: "low_rank", rank, left: Float32Array.from(factors.left), right }] };
  },
});
