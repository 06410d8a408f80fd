/**
 * GPTQ: columns are quantised one after the other, and each column's error is made up for by the
 * columns that are still to come, weighted by the inverse Hessian of the layer's output error.
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
import { descendingDiagonal, quantizeWithFeedback } from "../../_math/feedback.ts";
import { dampedInverseFactor, prepareHessian } from "../../_math/hessian.ts";
import { permuteSymmetric } from "../../_math/permutation.ts";

/** Options of {@linkcode gptq}. */
export interface GptqOptions {
  /** Quantise the columns with the largest Hessian diagonal first. Implies static groups. */
  act_order: boolean;
  /** Fix all scales from the original weights, instead of when their group is reached. */
  static_groups: boolean;
  /** Added to the Hessian's diagonal, as a share of its mean. */
  damping: number;
  /** How often damping is multiplied by 10 when the Hessian is not positive definite. */
  escalations: number;
  /** Columns whose errors are spread among themselves before the rest is updated. */
  block: number;
  /** `min_max` takes the whole range of a group; `error` searches it. */
  range: "min_max" | "error";
  /** The exponent of the error that the search minimises. */
  norm: number;
}

/**
 * GPTQ (Frantar et al. 2022, arXiv 2210.17323, algorithm 1). With `H = X^T X + damping`, and U
 * upper triangular with `H^-1 = U^T U`: for every column j, `e = (w_j - Q(w_j)) / U_jj`, then
 * `w_k -= e U_jk` for all k > j. Columns of zero Hessian diagonal (dead inputs) become zero. If H
 * stays indefinite after all escalations of damping, the weight falls back to round to nearest and
 * a warning says so.
 *
 * @example
 * ```ts
 * import { gptq } from "./mod.ts";
 * gptq.options.parse({ act_order: true }).damping; // 0.01
 * ```
 */
export const gptq: Plugin<GptqOptions> = definePlugin({
  meta: {
    name: "gptq",
    version: "1.0.0",
    apiVersion: PLUGIN_API_VERSION,
    summary: "second-order error feedback, column by column",
    paper: {
      title: "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers",
      id: "arXiv 2210.17323",
      equation: "algorithm 1",
    },
    needs: { statistics: ["gram"] },
    supports: { granularities: ["tensor", "channel", "group"], zeroPoints: ["int"] },
    after: ["smoothquant", "os-plus", "awq", "quarot"],
    determinism: "exact",
  },
  options: schema(
    "options of gptq",
    z.strictObject({
      act_order: z.boolean().default(true).describe("largest Hessian diagonal first"),
      static_groups: z.boolean().default(false).describe("scales from the original weights"),
      damping: z.number().min(0).max(10).default(0.01).describe("share of the mean diagonal"),
      escalations: z.int().min(0).max(8).default(4).describe("times damping may grow tenfold"),
      block: z.int().min(1).max(4096).default(128).describe("columns of a lazy update"),
      range: z.enum(["min_max", "error"]).default("min_max").describe("how ranges are chosen"),
      norm: z.number().min(1).max(8).default(2.4).describe("exponent of the error of a search"),
    }),
  ),
  quantize({ context, linear, weight, codec, statistics }) {
    const { kernels, options } = context;
    const { rows, columns } = linear;
    if (!statistics.gram) {
      throw new LowbitError("CALIBRATION", "has no Hessian", {
        field: linear.id,
        advice: "give calibration text with --calibration",
      });
    }
    if (statistics.tokens === 0) {
      context.warn(`${linear.id}: no calibration token reached it; rounded to nearest`);
      return codec.quantize(weight, rows, columns);
    }
    const { hessian, dead } = prepareHessian(statistics.gram, columns, statistics.tokens);
    const order = options.act_order ? descendingDiagonal(hessian, columns) : undefined;
    const ordered = order ? permuteSymmetric(hessian, columns, order) : hessian;
    using u = kernels.alloc("f32", columns * columns);
    const damping = dampedInverseFactor(kernels, ordered, columns, options, u);
    if (damping === undefined) {
      context.warn(
        `${linear.id}: the Hessian is not positive definite at any damping; rounded to nearest`,
      );
      return codec.quantize(weight, rows, columns);
    }
    if (damping > options.damping) {
      context.warn(`${linear.id}: damping was raised from ${options.damping} to ${damping}`);
    }
    const work = weight.slice();
    for (const column of dead) {
      for (let row = 0; row < rows; row++) work[row * columns + column] = 0;
    }
    if (dead.length > 0) context.warn(`${linear.id}: ${dead.length} dead input channels`);
    return quantizeWithFeedback({ kernels, codec, options, rows, columns, work, order, u });
  },
});
