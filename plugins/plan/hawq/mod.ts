/**
 * HAWQ: what each weight costs under each scheme, by the curvature of the model's loss.
 *
 * @module
 */

import { z } from "zod";
import { definePlugin, type Plugin, PLUGIN_API_VERSION, schema } from "../../../spec/mod.ts";
import { hessianTraces } from "../../_math/hutchinson.ts";

/** Options of {@linkcode hawq}. */
export interface HawqOptions {
  /** Random directions of the estimate. */
  probes: number;
  /** Calibration windows of the loss. */
  windows: number;
  /** How far the weights move to see the gradient change. */
  step: number;
}

/**
 * HAWQ-V2 (Dong et al. 2020, arXiv 1911.03852, eq. 11): `Omega = tr(H_i) / n_i ||Q_k(W_i) - W_i||^2`
 * for every weight i of n elements and scheme k, H the Hessian of the mean negative log-likelihood.
 * Traces by Hutchinson's method; products with the Hessian are central differences of gradients
 * through the whole graph, all weights at once. A trace below 0, which noise can bring, counts as 0.
 * HAWQ-V3's integer program then chooses within the budget.
 *
 * @example
 * ```ts
 * import { hawq } from "./mod.ts";
 * hawq.options.parse({}).probes; // 8
 * ```
 */
export const hawq: Plugin<HawqOptions> = definePlugin({
  meta: {
    name: "hawq",
    version: "1.0.0",
    apiVersion: PLUGIN_API_VERSION,
    summary: "weighs rounding errors by Hessian traces, to choose schemes within a budget",
    paper: {
      title: "HAWQ-V2: Hessian Aware trace-Weighted Quantization of Neural Networks",
      id: "arXiv 1911.03852",
      equation: "11",
    },
    needs: { statistics: [], autodiff: true },
    supports: {},
    determinism: "seeded",
  },
  options: schema(
    "options of hawq",
    z.strictObject({
      probes: z.int().min(1).max(10000).default(8).describe("random directions"),
      windows: z.int().min(1).max(10000).default(4).describe("calibration windows of the loss"),
      step: z.number().min(1e-6).max(1).default(1e-3).describe("how far weights move"),
    }),
  ),
  planLosses({ context, model }) {
    const { autodiff, options: { probes, step } } = context;
    const ids = model.planned.map(({ id }) => id);
    const shapes = new Map(model.planned.map(({ id, rows, columns }) => [id, [rows, columns]]));
    const used = model.windows.keys().toArray()
      .filter((i) => model.windows[i].length === model.windows[0].length)
      .slice(0, context.options.windows);
    using program = autodiff!.compile((scope) =>
      model.loss(scope, {
        linear(id, x) {
          const weight = scope.inputs[id];
          return weight && x.matmul(weight.transpose());
        },
      }), ids);
    const batches = used.map((window) => model.batch([window]));
    const traces = hessianTraces({
      weights: Object.fromEntries(ids.map((id) => [id, model.weight(id)])),
      probes,
      step,
      rng: context.rng("signs"),
      gradients(weights) {
        const inputs = Object.fromEntries(
          ids.map((id) => [id, { values: weights[id], shape: shapes.get(id)! }]),
        );
        const sums: Record<string, Float32Array> = {};
        for (const batch of batches) {
          const { gradients } = program.run({ ...batch, ...inputs });
          for (const id of ids) {
            const sum = sums[id] ??= new Float32Array(gradients[id].length);
            gradients[id].forEach((g, i) => sum[i] += g / batches.length);
          }
        }
        return sums;
      },
    });
    const flat = ids.filter((id) => traces[id] <= 0);
    if (flat.length > 0) context.warn(`no curvature was seen in ${flat.join(", ")}`);
    return new Map(ids.map((id) => {
      const weight = model.weight(id);
      const curvature = Math.max(0, traces[id]) / weight.length;
      return [
        id,
        model.candidates.map((scheme) => {
          const rounded = model.rounded(id, scheme);
          let sum = 0;
          for (let i = 0; i < weight.length; i++) sum += (rounded[i] - weight[i]) ** 2;
          return curvature * sum;
        }),
      ];
    }));
  },
});
