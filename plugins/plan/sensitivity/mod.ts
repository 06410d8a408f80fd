/**
 * Sensitivity: what each weight costs in quality under each scheme, measured one by one.
 *
 * @module
 */

import { z } from "zod";
import { definePlugin, type Plugin, PLUGIN_API_VERSION, schema } from "../../../spec/mod.ts";

/** Options of {@linkcode sensitivity}. */
export interface SensitivityOptions {
  /** `kl`: the divergence of the model's predictions; `block`: the error of the block's output. */
  measure: "kl" | "block";
}

/**
 * Sensitivity (Cai et al. 2020, ZeroQ, arXiv 2001.00281, eq. 5): `KL(M(theta) || M(theta_i(k)))` for
 * every weight i and scheme k, the other weights in full precision, on the calibration windows; their
 * sum predicts the loss of a whole plan. ZeroQ distils its inputs; here they are calibration text.
 * `block` measures the mean squared error of the block's output instead, which runs one block only.
 *
 * @example
 * ```ts
 * import { sensitivity } from "./mod.ts";
 * sensitivity.options.parse({}); // { measure: "kl" }
 * ```
 */
export const sensitivity: Plugin<SensitivityOptions> = definePlugin({
  meta: {
    name: "sensitivity",
    version: "1.0.0",
    apiVersion: PLUGIN_API_VERSION,
    summary: "measures what each weight costs under each scheme, to choose within a budget",
    paper: {
      title: "ZeroQ: A Novel Zero Shot Quantization Framework",
      id: "arXiv 2001.00281",
      equation: "5",
    },
    needs: { statistics: [] },
    supports: {},
    determinism: "exact",
  },
  options: schema(
    "options of sensitivity",
    z.strictObject({
      measure: z.enum(["kl", "block"]).default("kl").describe(
        "divergence of predictions, or the error of the block's output",
      ),
    }),
  ),
  planLosses({ context: { options }, model }) {
    const losses = new Map<string, number[]>();
    for (const { id } of model.planned) {
      losses.set(
        id,
        model.candidates.map((scheme) => {
          const weight = model.rounded(id, scheme);
          const loss = options.measure === "kl"
            ? model.divergence(new Map([[id, weight]]))
            : model.blockError(id, weight);
          // Rounding of sums can leave a divergence a little below 0.
          return Math.max(0, loss);
        }),
      );
    }
    return losses;
  },
});
