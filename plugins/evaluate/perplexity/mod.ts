/**
 * Perplexity: the exponential of the mean negative log-likelihood of the tokens that came next.
 *
 * @module
 */

import { z } from "zod";
import { definePlugin, type Plugin, PLUGIN_API_VERSION, schema } from "../../../spec/mod.ts";

/**
 * Perplexity (survey of low-bit LLMs, section 2): `exp(mean of -ln p(token))`, natural logarithms,
 * sums in f64. Gives `tokens` (predictions scored), `nll` and `perplexity`.
 *
 * @example
 * ```ts
 * import { perplexity } from "./mod.ts";
 * perplexity.meta.name; // "perplexity"
 * ```
 */
export const perplexity: Plugin<Record<string, never>> = definePlugin({
  meta: {
    name: "perplexity",
    version: "1.0.0",
    apiVersion: PLUGIN_API_VERSION,
    summary: "exponential of the mean negative log-likelihood",
    needs: { statistics: [] },
    supports: {},
    determinism: "exact",
  },
  options: schema("options of perplexity", z.strictObject({})),
  evaluate() {
    let [tokens, sum] = [0, 0];
    return {
      add({ logProbabilities, vocabulary, targets }) {
        const values = logProbabilities.array;
        targets.forEach((target, row) => sum -= values[row * vocabulary + target]);
        tokens += targets.length;
      },
      result: () => ({ tokens, nll: sum / tokens, perplexity: Math.exp(sum / tokens) }),
    };
  },
});
