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
  /** Whether the scale is `lora_alpha / sqrt(r)`, not `lora_alpha / r`. */
  use_rslora: boolean;
  /** Another method; refused. */
  use_dora: false;
  /** Weights that lie `[in, out]`; refused. */
  fan_in_fan_out: false;
  /** Biases that were trained as well; refused. */
  bias: "none";
  /** Layers that are there twice; refused. */
  layer_replication: null;
  /** Other ranks, by the name of a module or its end. */
  rank_pattern: Record<string, number>;
  /** Other alphas, by the name of a module or its end. */
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
    use_rslora: z.boolean().default(false),
    use_dora: z.literal(false).default(false),
    fan_in_fan_out: z.literal(false).default(false),
    bias: z.literal("none").default("none"),
    layer_replication: z.null().default(null),
    rank_pattern: z.record(z.string(), z.int().min(1)).default({}),
    alpha_pattern: z.record(z.string(), z.number()).default({}),
  }),
);
