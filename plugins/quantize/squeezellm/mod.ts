/**
 * SqueezeLLM: tables learned where the loss is sensitive, and the few largest weights beside them.
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
import { largest, sparsePart } from "../../_math/outliers.ts";

/** Options of {@linkcode squeezellm}. */
export interface SqueezellmOptions {
  /** The share of weights, by magnitude, that is kept beside the table. */
  outliers: number;
  /** The share of weights, by sensitivity, that is kept beside the table. */
  sensitive: number;
}

/**
 * SqueezeLLM (Kim et al. 2023, arXiv 2306.07629, eq. 3 and section 4.2). Each table is the k-means of
 * its weights with the diagonal of the Fisher information as weights, `min sum F_ii (w - Q(w))^2`; of
 * single numbers it is solved exactly (`formats/vectors/line.ts`).
 * The largest weights and the most sensitive ones are taken out first and kept as a sparse matrix;
 * the table does not have to hold them.
 *
 * @example
 * ```ts
 * import { squeezellm } from "./mod.ts";
 * squeezellm.options.parse({}).outliers; // 0.004
 * ```
 */
export const squeezellm: Plugin<SqueezellmOptions> = definePlugin({
  meta: {
    name: "squeezellm",
    version: "1.0.0",
    apiVersion: PLUGIN_API_VERSION,
    summary: "learned tables weighted by the Fisher information, outliers kept beside them",
    paper: {
      title: "SqueezeLLM: Dense-and-Sparse Quantization",
      id: "arXiv 2306.07629",
      equation: "3, section 4.2",
    },
    needs: { statistics: ["fisher"] },
    supports: { vectors: ["lookup"] },
    after: ["smoothquant", "os-plus", "awq", "quarot"],
    determinism: "exact",
  },
  options: schema(
    "options of squeezellm",
    z.strictObject({
      outliers: z.number().min(0).max(0.5).default(0.004).describe("share kept by magnitude"),
      sensitive: z.number().min(0).max(0.5).default(0.0005).describe("share kept by sensitivity"),
    }),
  ),
  quantizeVector({ context: { options }, linear, weight, codec, statistics }) {
    const { rows, columns } = linear;
    const { fisher } = statistics;
    if (!fisher) {
      throw new LowbitError("CALIBRATION", "has no Fisher information", {
        field: linear.id,
        advice: "give calibration text with --calibration; rotations inside blocks lose it",
      });
    }
    const kept = new Set([
      ...largest(weight.map(Math.abs), Math.floor(options.outliers * weight.length)),
      ...largest(fisher, Math.floor(options.sensitive * weight.length)),
    ]);
    const weights = sensitivities(fisher, columns);
    const learned = codec.encode(weight, rows, columns, {
      weights: weights.map((value, i) => kept.has(i) ? 0 : value),
    });
    if (kept.size === 0) return learned;
    const { tables, scales } = learned;
    const tensor = codec.encode(weight, rows, columns, { weights, tables, scales });
    return { ...tensor, side: [sparsePart(kept, weight, codec.decode(tensor), columns)] };
  },
});

/** The smallest weight of an error, as a share of the row's mean. */
const SMALLEST = 1e-3;

/** The weights of errors; rows without any information count evenly. */
function sensitivities(
  fisher: Readonly<Float32Array>,
  columns: number,
): Float32Array {
  const weights = new Float32Array(fisher.length);
  for (let start = 0; start < fisher.length; start += columns) {
    const row = fisher.subarray(start, start + columns);
    const mean = row.reduce((sum, value) => sum + value, 0) / columns;
    row.forEach((value, j) => {
      weights[start + j] = mean > 0 ? value / mean + SMALLEST : 1;
    });
  }
  return weights;
}
