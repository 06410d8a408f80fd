/**
 * KL divergence and top-1 agreement: how far a quantised model's predictions are from those of the
 * full-precision model. More sensitive than perplexity, since every token's probability counts.
 *
 * @module
 */

import { z } from "zod";
import { definePlugin, type Plugin, PLUGIN_API_VERSION, schema } from "../../../spec/mod.ts";

/**
 * `KL(P_reference || P_model)` over the whole vocabulary, in nats, averaged over positions, and the
 * share of positions with the same most likely token. Gives `kl` and `top1_agreement`; nothing
 * without a reference.
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
    version: "1.0.0",
    apiVersion: PLUGIN_API_VERSION,
    summary: "mean KL divergence and top-1 agreement with the reference model",
    needs: { statistics: [] },
    supports: {},
    determinism: "exact",
  },
  options: schema("options of kl-divergence", z.strictObject({})),
  evaluate({ context: { kernels } }) {
    let [positions, sum, agreeing] = [0, 0, 0];
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
        for (const value of kl.array) sum += value;
        for (const value of agree.array) agreeing += value;
        positions += rows;
      },
      result(): Record<string, number> {
        return positions === 0 ? {} : { kl: sum / positions, top1_agreement: agreeing / positions };
      },
    };
  },
});
