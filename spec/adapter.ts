/**
 * The settings of an adapter of LoRA, as PEFT keeps them in `adapter_config.json`.
 *
 * @module
 */

import { z } from "zod";
import { type Schema, schema } from "./schema.ts";

/** What is read of `adapter_config.json`. */
export interface AdapterConfig {
  /** The kind of adapter. */
  peft_type: "LORA";
  /** The rank. */
  r: number;
  /** The scale times the rank. */
  lora_alpha: number;
  /** Another scale; refused. */
  use_rslora: false;
  /** Another method; refused. */
  use_dora: false;
  /** Other ranks, by module. */
  rank_pattern: Record<string, number>;
  /** Other alphas, by module. */
  alpha_pattern: Record<string, number>;
}

/**
 * What is read of `adapter_config.json`; kinds of LoRA that add something else are refused.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { adapterConfigSchema } from "./adapter.ts";
 * const config = adapterConfigSchema.parse({ peft_type: "LORA", r: 8, lora_alpha: 16 });
 * assertEquals([config.lora_alpha / config.r, config.rank_pattern], [2, {}]);
 * ```
 */
export const adapterConfigSchema: Schema<AdapterConfig> = schema(
  "adapter_config.json",
  z.looseObject({
    peft_type: z.literal("LORA"),
    r: z.int().min(1),
    lora_alpha: z.number(),
    use_rslora: z.literal(false).default(false),
    use_dora: z.literal(false).default(false),
    rank_pattern: z.record(z.string(), z.int().min(1)).default({}),
    alpha_pattern: z.record(z.string(), z.number()).default({}),
  }),
);
