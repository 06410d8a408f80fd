/**
 * Bias correction: the mean error of a quantised linear's outputs is taken back.
 *
 * @module
 */

import { z } from "zod";
import {
  definePlugin,
  LowbitError,
  type ModelOp,
  type Plugin,
  PLUGIN_API_VERSION,
  schema,
} from "../../../spec/mod.ts";

/**
 * Bias correction (Nagel et al. 2019, arXiv 1906.04721, section 4.2): the outputs of a quantised
 * linear are off by `E[y] - E[y'] = (W - W') E[x]` on average, which is added to them; E[x] is the
 * mean of the calibration inputs.
 *
 * @example
 * ```ts
 * import { biasCorrection } from "./mod.ts";
 * biasCorrection.meta.needs.statistics; // ["moments"]
 * ```
 */
export const biasCorrection: Plugin<Record<string, never>> = definePlugin({
  meta: {
    name: "bias-correction",
    version: "1.0.0",
    apiVersion: PLUGIN_API_VERSION,
    summary: "takes back the mean error of each quantised linear's outputs",
    paper: {
      title: "Data-Free Quantization Through Weight Equalization and Bias Correction",
      id: "arXiv 1906.04721",
      equation: "section 4.2",
    },
    needs: { statistics: ["moments"] },
    supports: {},
    after: ["lqer"],
    determinism: "exact",
  },
  options: schema("options of bias-correction", z.strictObject({})),
  transformModel({ model: { graph, linears, schemes } }): ModelOp[] {
    const roles = new Set(
      linears.filter(({ id, block }) => block !== undefined && schemes.get(id)?.weight)
        .map(({ role }) => role),
    );
    const values = graph.flatMap((node) =>
      node.op === "linear" && roles.has(node.weight) ? [node.out] : []
    );
    return [{ op: "bias", values }];
  },
  compensate({ linear, weight, tensor, codec, statistics: { mean } }) {
    if (linear.block === undefined) return {};
    if (!mean) {
      throw new LowbitError("CALIBRATION", "has no activation statistics", {
        field: linear.id,
        advice: "give calibration text with --calibration",
      });
    }
    const { rows, columns } = linear;
    const decoded = codec.dequantize(tensor);
    const bias = new Float32Array(rows);
    for (let row = 0; row < rows; row++) {
      let sum = 0;
      for (let j = 0, i = row * columns; j < columns; j++, i++) {
        sum += (weight[i] - decoded[i]) * mean[j];
      }
      bias[row] = sum;
    }
    return { bias };
  },
});
