/**
 * LLM.int8(): 8 bits for weights and inputs, but for the few input features that are outliers.
 *
 * @module
 */

import { z } from "zod";
import { definePlugin, type Plugin, PLUGIN_API_VERSION, schema } from "../../../spec/mod.ts";

/** Options of {@linkcode llmInt8}. */
export interface LlmInt8Options {
  /** A feature with a magnitude above this is an outlier. */
  threshold: number;
}

/**
 * LLM.int8() (Dettmers et al. 2022, arXiv 2208.07339, eq. 8): with O the features (columns of X) that
 * hold a magnitude above the threshold, `X W^T ~ X_O W_O^T + s_x s_w Q(X_rest) Q(W_rest)^T`.
 * Weights have a scale for each row, inputs one for each token, which outliers take no part in. O is
 * found in each input as the model runs: the scheme of the activations says so (`keep_above`), and a
 * model that is read back does the same. Weights of outlier features are those that are stored, as in
 * the published int8 storage. Which features are outliers depends on all tokens that run together.
 *
 * @example
 * ```ts
 * import { llmInt8 } from "./mod.ts";
 * llmInt8.options.parse({}).threshold; // 6
 * ```
 */
export const llmInt8: Plugin<LlmInt8Options> = definePlugin({
  meta: {
    name: "llm-int8",
    version: "1.0.0",
    apiVersion: PLUGIN_API_VERSION,
    summary: "8-bit weights and inputs, outlier features of inputs in full precision",
    paper: {
      title: "LLM.int8(): 8-bit Matrix Multiplication for Transformers at Scale",
      id: "arXiv 2208.07339",
      equation: "8",
    },
    needs: { statistics: [] },
    supports: {},
    after: ["smoothquant", "os-plus", "awq", "quarot"],
    determinism: "exact",
  },
  options: schema(
    "options of llm-int8",
    z.strictObject({
      threshold: z.number().min(0).max(1e30).default(6).describe("magnitude of an outlier"),
    }),
  ),
  plan({ context: { options, codecs }, linears, schemes }) {
    return new Map(linears.flatMap(({ id }) => {
      const given = schemes.get(id);
      if (!given?.weight) return [];
      const activation = given.activation ?? codecs.resolve("int8_token");
      return [[id, { activation: { ...activation, keep_above: options.threshold } }] as const];
    }));
  },
  quantize: ({ linear, weight, codec }) => codec.quantize(weight, linear.rows, linear.columns),
});
