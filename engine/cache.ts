/**
 * The key/value cache that a plugin decides on, and the bytes that it takes.
 *
 * @module
 */

import {
  type CachePolicy,
  type Checkpoint,
  type Codecs,
  type Kernels,
  LowbitError,
  type Plugin,
  unknownName,
} from "../spec/mod.ts";
import { openModel } from "../models/architecture.ts";
import { readCacheScales } from "./cache_scales.ts";
import { pluginContext } from "./pipeline.ts";

/** A cache by a plugin. */
export interface CacheChoice {
  /** The name of a plugin with a `cache` hook. */
  use: string;
  /** Its options. */
  options?: Record<string, unknown>;
}

/** What {@linkcode openCache} needs. */
export interface CacheContext {
  /** The plugins on offer. */
  plugins: readonly Plugin[];
  /** The kernels. */
  kernels: Kernels;
  /** The codecs on them. */
  codecs: Codecs;
  /** The model, which may have scales for its cache. */
  checkpoint: Checkpoint;
  /** Takes what the plugin wants the user to know. */
  onWarning(message: string): void;
}

/** The caches of the blocks, and what they have held. */
export interface OpenCache {
  /** A new cache of a block, for one sequence. */
  policy(block: number): CachePolicy;
  /** The most bytes that the caches of all blocks held for one sequence. */
  readonly bytes: number;
  /** What keys and values of as many tokens take in f32. */
  readonly fullBytes: number;
}

/** Looks a cache up; `UNKNOWN_NAME` for a plugin without that hook. */
export async function openCache(
  context: CacheContext,
  { use, options = {} }: CacheChoice,
): Promise<OpenCache> {
  const { plugins, checkpoint, kernels, codecs, onWarning } = context;
  const found = plugins.find(({ meta }) => meta.name === use);
  if (!found?.cache) {
    const known = plugins.filter((plugin) => plugin.cache).map(({ meta }) => meta.name);
    if (!found) throw unknownName("plugin", use, known, { field: "cache" });
    throw new LowbitError("CONFLICT", "has no cache", {
      file: use,
      advice: `plugins with one are ${known.join(", ")}`,
    });
  }
  const { kv_heads: kvHeads, head_size: headSize } = openModel(checkpoint).hyperparameters;
  const stored = await readCacheScales(checkpoint);
  const host = { kernels, codecs, onWarning, recipe: { seed: 0 } };
  const given = pluginContext(host, found, options, `options of ${use}`);
  const most: number[] = [], tokens: number[] = [];
  const policy = (block: number): CachePolicy => {
    const made = found.cache!({
      ...{ context: given, block, kvHeads, headSize },
      scales: stored.get(block),
    });
    let length = 0;
    return {
      stepwise: made.stepwise,
      append(keys, values, count) {
        made.append(keys, values, count);
        length += count;
        most[block] = Math.max(most[block] ?? 0, made.bytes);
        tokens[block] = Math.max(tokens[block] ?? 0, length);
      },
      read: () => made.read(),
      truncate(to) {
        made.truncate(to);
        length = Math.min(length, to);
      },
      get bytes() {
        return made.bytes;
      },
    };
  };
  const sum = (values: readonly number[]) => values.reduce((a, b) => a + b, 0);
  return {
    policy,
    get bytes() {
      return sum(most);
    },
    get fullBytes() {
      return 8 * kvHeads * headSize * sum(tokens);
    },
  };
}
