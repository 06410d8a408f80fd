/**
 * SpQR: error feedback in small groups whose scales are quantised too, with outliers kept aside.
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
import { refuseNonFinite } from "../../_math/finite.ts";
import { descendingDiagonal, expandRows, uploadGrid } from "../../_math/feedback.ts";
import { dampedInverseFactor, prepareHessian } from "../../_math/hessian.ts";
import { sparsePart } from "../../_math/outliers.ts";
import { inversePermutation, permuteColumns, permuteSymmetric } from "../../_math/permutation.ts";
import { fitWithoutOutliers, meanVariance, minima } from "./ranges.ts";

/** Options of {@linkcode spqr}. */
export interface SpqrOptions {
  /** A weight whose error weighs more than this share of the mean variance is an outlier. */
  threshold: number;
  /** Quantise the columns with the largest Hessian diagonal first. */
  act_order: boolean;
  /** Added to the Hessian's diagonal, as a share of its mean. */
  damping: number;
  /** How often damping is multiplied by 10 when the Hessian is not positive definite. */
  escalations: number;
}

/**
 * SpQR (Dettmers et al. 2023, arXiv 2306.03078, algorithm 1), for any scheme; the paper's has groups
 * of 16 with scales and minima of 3 bits. With U as in GPTQ, `e_j = (w_j - Q(w_j)) / U_jj` is the
 * sensitivity of an error, and the limit is `threshold` times the mean of `var(column j) / U_jj^2`.
 *
 * - Weights without which the best range of their group would lower the sum of `e^2` by more than the
 *   limit are left out where scales are fitted, before the first column is quantised
 * - Columns follow one after the other as in GPTQ; a weight with `e_j^2` above the limit is an
 *   outlier: it stays as it is, in a sparse part, and leaves no error
 *
 * @example
 * ```ts
 * import { spqr } from "./mod.ts";
 * spqr.options.parse({}).threshold; // 0.2
 * ```
 */
export const spqr: Plugin<SpqrOptions> = definePlugin({
  meta: {
    name: "spqr",
    version: "1.0.0",
    apiVersion: PLUGIN_API_VERSION,
    summary: "error feedback with outliers kept aside, for schemes with two levels of scales",
    paper: {
      title: "SpQR: A Sparse-Quantized Representation for Near-Lossless LLM Weight Compression",
      id: "arXiv 2306.03078",
      equation: "algorithm 1",
    },
    needs: { statistics: ["gram"] },
    supports: {
      granularities: ["tensor", "channel", "group"],
      zeroPoints: ["int", "minimum"],
    },
    after: ["smoothquant", "os-plus", "awq", "quarot"],
    determinism: "exact",
  },
  options: schema(
    "options of spqr",
    z.strictObject({
      threshold: z.number().positive().max(1e30).default(0.2).describe(
        "share of the mean variance above which an error makes an outlier",
      ),
      act_order: z.boolean().default(true).describe("largest Hessian diagonal first"),
      damping: z.number().min(0).max(10).default(0.01).describe("share of the mean diagonal"),
      escalations: z.int().min(0).max(8).default(4).describe("times damping may grow tenfold"),
    }),
  ),
  quantize({ context, linear, weight, codec, statistics }) {
    const { kernels, options } = context;
    const { rows, columns } = linear;
    refuseNonFinite(weight, linear.id); // a NaN would pass as an outlier
    if (!statistics.gram) {
      throw new LowbitError("CALIBRATION", "has no Hessian", {
        field: linear.id,
        advice: "give calibration text with --calibration",
      });
    }
    const { hessian, dead } = prepareHessian(statistics.gram, columns, statistics.tokens);
    const order = options.act_order
      ? descendingDiagonal(hessian, columns)
      : Uint32Array.from({ length: columns }, (_, j) => j);
    using u = kernels.alloc("f32", columns * columns);
    const ordered = permuteSymmetric(hessian, columns, order);
    const damping = dampedInverseFactor(kernels, ordered, columns, options, u);
    if (damping === undefined) {
      context.warn(
        `${linear.id}: the Hessian is not positive definite at any damping; rounded to nearest`,
      );
      return codec.quantize(weight, rows, columns);
    }
    const work = weight.slice();
    for (const j of dead) for (let row = 0; row < rows; row++) work[row * columns + j] = 0;
    // The weight of an error in each column, 1 / U_jj^2.
    const sensitivity = new Float64Array(columns);
    order.forEach((j, place) => sensitivity[j] = 1 / u.array[place * columns + place] ** 2);
    const limit = options.threshold * meanVariance(work, rows, columns, sensitivity);
    const tiling = codec.tiling(rows, columns);
    const parameters = fitWithoutOutliers({ kernels, codec, tiling, work, sensitivity, limit });
    const shift = minima(codec, tiling, parameters);
    const target = work.map((value, i) => value - (shift?.[i] ?? 0));
    using w = kernels.upload(permuteColumns(target, rows, columns, order));
    using codes = kernels.alloc("u8", rows * columns);
    using table = kernels.upload(codec.table);
    using groupOf = kernels.upload(order.map((j) => Math.floor(j / tiling.tileColumns)));
    using errors = kernels.alloc("f32", rows);
    const { apply } = codec.scheme.scale;
    const multiplies = apply === "multiply";
    const grid = uploadGrid(
      kernels,
      expandRows({
        scales: parameters.scales,
        ...(!multiplies && parameters.unrounded && { unrounded: parameters.unrounded }),
        ...(!shift && parameters.zeros && { zeros: parameters.zeros }),
      }, tiling),
    );
    const kept: number[] = [];
    for (let place = 0; place < columns; place++) {
      kernels.encodeFeedback({
        ...{ w, rows, columns, start: place, count: 1, u, groupOf, table, codes, errors },
        groups: tiling.gridColumns,
        ...{ scales: grid.scales, stored: grid.stored, zeros: grid.zeros },
        apply: multiplies ? "divide" : apply,
        encoder: codec.encoder,
      });
      const [e, now] = [errors.array, w.array];
      for (let row = 0; row < rows; row++) {
        if (e[row] * e[row] <= limit) continue;
        e[row] = 0;
        const i = row * columns + order[place];
        kept.push(i);
        target[i] = now[row * columns + place];
      }
      kernels.trailingUpdate({ w, rows, columns, start: place, count: 1, errors, u });
    }
    grid.free();
    const tensor = {
      shape: [rows, columns] as [number, number],
      scheme: codec.scheme,
      codes: permuteColumns(codes.array.slice(), rows, columns, inversePermutation(order)),
      parameters,
    };
    if (kept.length === 0) return tensor;
    const values = target.map((value, i) => value + (shift?.[i] ?? 0));
    return { ...tensor, side: [sparsePart(kept, values, codec.dequantize(tensor), columns)] };
  },
});
