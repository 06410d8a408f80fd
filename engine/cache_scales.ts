/**
 * Static scales of the key/value cache, which checkpoints of compressed-tensors and FP8 keep beside
 * the attention of a block: `k_scale` and `v_scale`, one number or one a head.
 *
 * @module
 */

import { type CacheScales, type Checkpoint, LowbitError, type StoredTensor } from "../spec/mod.ts";

const NAME = /(?:^|\.)(\d+)\.(?:[a-z_.]+\.)?([kv])_scale$/;

/**
 * The scales of the caches of blocks. Blocks without both have none.
 *
 * Errors: `UNSUPPORTED` (a cache of other than 8 symmetric bits), `MALFORMED` (a scale that is no
 * positive number).
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { embeddedPath } from "../embedded/mod.ts";
 * import { openCheckpoint } from "../formats/open.ts";
 * import { readCacheScales } from "./cache_scales.ts";
 * const checkpoint = await openCheckpoint(embeddedPath("model"));
 * assertEquals((await readCacheScales(checkpoint)).size, 0);
 * checkpoint.close();
 * ```
 */
export async function readCacheScales(checkpoint: Checkpoint): Promise<Map<number, CacheScales>> {
  const sides = new Map<number, Record<string, Float32Array>>();
  for (const tensor of checkpoint.tensors.values()) {
    const [, block, side] = NAME.exec(tensor.name) ?? [];
    if (!side) continue;
    const found = sides.get(Number(block)) ?? {};
    sides.set(Number(block), { ...found, [side]: await scalesOf(tensor, checkpoint.name) });
  }
  const made = new Map<number, CacheScales>();
  if (sides.size === 0) return made;
  const element = elementOf(checkpoint);
  for (const [block, { k: keys, v: values }] of sides) {
    if (keys && values) made.set(block, { element, keys, values });
  }
  return made;
}

async function scalesOf(tensor: StoredTensor, file: string): Promise<Float32Array> {
  const scales = await tensor.read();
  if (scales.length > 0 && scales.every((scale) => scale > 0 && Number.isFinite(scale))) {
    return scales;
  }
  throw new LowbitError("MALFORMED", "is no positive number", {
    ...{ file, field: tensor.name },
    advice: "the checkpoint is damaged; `--cache` of another kind needs no scales",
  });
}

/** The element of the cache: FP8 where nothing is said. */
function elementOf({ config, name: file }: Checkpoint): CacheScales["element"] {
  const settings = config.quantization_config as Record<string, unknown> | undefined;
  const scheme = settings?.kv_cache_scheme as Record<string, unknown> | null | undefined;
  if (!scheme) return "float8_e4m3fn";
  const { num_bits, type, symmetric } = scheme;
  if (num_bits === 8 && symmetric !== false && (type === "float" || type === "int")) {
    return type === "int" ? "int8" : "float8_e4m3fn";
  }
  throw new LowbitError("UNSUPPORTED", `says a cache of ${num_bits} bits, type ${type}`, {
    file,
    field: "quantization_config.kv_cache_scheme",
    advice: "symmetric caches of 8 bits can be run; leave --cache out to run without",
  });
}
