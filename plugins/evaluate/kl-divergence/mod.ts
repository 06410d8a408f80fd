/**
 * KL divergence and top-1 agreement: how far a quantised model's predictions are from those of the
 * full-precision model. More sensitive than perplexity, since every token's probability counts.
 *
 * @module
 */

import { z } from "zod";
import { definePlugin, type Plugin, PLUGIN_API_VERSION, schema } from "../../../spec/mod.ts";

/**
 * `KL(P_reference || P_model)` over the whole vocabulary, in nats, over positions: mean with its
 * standard error, median, 99th percentile and largest. `top1_agreement` is the share of positions with
 * the same most likely token; `top5_agreement` the share of the reference's five most likely tokens
 * that are among the model's five. Nothing without a reference.
 *
 * @example
 * ```ts
 * import { klDivergence } from "./mod.ts";
 * klDivergence.meta.name; // "kl-divergence"
 * ```
 */
export const klDivergence: Plugin<Record<string, never>> = definePlugin({
  meta: {
    name: "kl-divergence",
    version: "1.1.0",
    apiVersion: PLUGIN_API_VERSION,
    summary: "KL divergence from the reference model, and agreement of the most likely tokens",
    needs: { statistics: [] },
    supports: {},
    determinism: "exact",
  },
  options: schema("options of kl-divergence", z.strictObject({})),
  evaluate({ context: { kernels } }) {
    const divergences: number[] = [];
    let [agreeing, shared] = [0, 0];
    return {
      add({ logProbabilities, reference, rows, vocabulary }) {
        if (!reference) return;
        using kl = kernels.alloc("f64", rows);
        using agree = kernels.alloc("u8", rows);
        kernels.divergence({
          p: reference,
          q: logProbabilities,
          rows,
          columns: vocabulary,
          kl,
          agree,
        });
        divergences.push(...kl.array);
        for (const value of agree.array) agreeing += value;
        const [p, q] = [reference.array, logProbabilities.array];
        for (let row = 0; row < rows; row++) {
          const theirs = mostLikely(p, row * vocabulary, vocabulary);
          const ours = mostLikely(q, row * vocabulary, vocabulary);
          shared += theirs.filter((token) => ours.includes(token)).length / theirs.length;
        }
      },
      result(): Record<string, number> {
        const positions = divergences.length;
        if (positions === 0) return {};
        const sorted = Float64Array.from(divergences).sort();
        const mean = divergences.reduce((a, b) => a + b, 0) / positions;
        const squares = divergences.reduce((sum, x) => sum + (x - mean) ** 2, 0);
        const top1 = agreeing / positions;
        const others = Math.max(1, positions - 1);
        return {
          kl: mean,
          kl_standard_error: Math.sqrt(squares / others / positions),
          kl_median: quantile(sorted, 0.5),
          kl_p99: quantile(sorted, 0.99),
          kl_max: sorted[positions - 1],
          top1_agreement: top1,
          top1_agreement_standard_error: Math.sqrt(top1 * (1 - top1) / others),
          top5_agreement: shared / positions,
        };
      },
    };
  },
});

/** The places of the five largest values of a row, or of all if there are fewer; first ones first. */
function mostLikely(values: Float32Array, start: number, count: number): number[] {
  const places: number[] = [];
  let least = -Infinity;
  for (let i = 0; i < count; i++) {
    const value = values[start + i];
    if (places.length === 5 && !(value > least)) continue;
    let at = places.length;
    while (at > 0 && values[start + places[at - 1]] < value) at--;
    places.splice(at, 0, i);
    if (places.length > 5) places.pop();
    least = values[start + places[places.length - 1]];
  }
  return places;
}

/** The quantile of sorted values, between two of them by a straight line. */
function quantile(sorted: Float64Array, q: number): number {
  const at = q * (sorted.length - 1), low = Math.floor(at);
  const high = Math.min(low + 1, sorted.length - 1);
  return sorted[low] + (at - low) * (sorted[high] - sorted[low]);
}
