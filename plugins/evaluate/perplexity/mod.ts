/**
 * Perplexity: the exponential of the mean negative log-likelihood of the tokens that came next.
 *
 * @module
 */

import { z } from "zod";
import { definePlugin, type Plugin, PLUGIN_API_VERSION, schema } from "../../../spec/mod.ts";

/**
 * Perplexity (survey of low-bit LLMs, section 2): `exp(mean of -ln p(token))`, natural logarithms,
 * sums in f64. Gives `tokens` (predictions scored), `nll` and `perplexity`, and standard errors over
 * tokens as if they were independent, by the first-order rule for the exponential.
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
    version: "1.1.0",
    apiVersion: PLUGIN_API_VERSION,
    summary: "exponential of the mean negative log-likelihood",
    needs: { statistics: [] },
    supports: {},
    determinism: "exact",
  },
  options: schema("options of perplexity", z.strictObject({})),
  evaluate() {
    let [tokens, sum, squares] = [0, 0, 0];
    return {
      add({ logProbabilities, vocabulary, targets }) {
        const values = logProbabilities.array;
        targets.forEach((target, row) => {
          const nll = -values[row * vocabulary + target];
          sum += nll;
          squares += nll * nll;
        });
        tokens += targets.length;
      },
      result() {
        const nll = sum / tokens;
        const variance = Math.max(0, squares / tokens - nll * nll);
        const error = tokens > 1 ? Math.sqrt(variance / (tokens - 1)) : 0;
        return {
          tokens,
          nll,
          nll_standard_error: error,
          perplexity: Math.exp(nll),
          perplexity_standard_error: Math.exp(nll) * error,
        };
      },
    };
  },
});
