/**
 * Key/value caches in few bits: what they hold, and what they cost.
 *
 * @module
 */

import type { CacheChoice } from "../../engine/cache.ts";
import type { Checkpoint, Workbench } from "../../mod.ts";

/** A cache that is tried. */
interface CacheCase {
  /** What people call it. */
  name: string;
  /** The cache; full precision if absent. */
  cache?: CacheChoice;
}

/** What is tried: the method, and what each of its two ideas does alone. */
export const CACHES: readonly CacheCase[] = [
  { name: "f32" },
  { name: "kivi 2 bits, newest 128 exact", cache: { use: "kivi" } },
  {
    name: "kivi 2 bits, newest 32 exact",
    cache: { use: "kivi", options: { residual: 32 } },
  },
  { name: "kivi 2 bits, none exact", cache: { use: "kivi", options: { residual: 0 } } },
  {
    name: "int2 by token, newest 32 exact",
    cache: { use: "kivi", options: { keys: "token", residual: 32 } },
  },
  {
    name: "int2 by token, none exact",
    cache: { use: "kivi", options: { keys: "token", residual: 0 } },
  },
  { name: "kivi 4 bits, none exact", cache: { use: "kivi", options: { bits: 4, residual: 0 } } },
];

/** The figures of one cache. */
export interface CacheFigures extends CacheCase {
  /** The most bytes that the cache of one window held. */
  bytes: number;
  /** KL to the model with a full cache, nats. */
  kl: number;
  /** Perplexity with the cache. */
  perplexity: number;
}

/** Scores a model with each cache against itself with keys and values in f32. */
export async function measureCaches(
  lowbit: Workbench,
  model: Checkpoint,
  windows: readonly Int32Array[],
): Promise<CacheFigures[]> {
  using reference = await lowbit.stream(model, windows);
  const rows: CacheFigures[] = [];
  for (const { name, cache } of CACHES) {
    const figures = await lowbit.evaluate({ model, windows, reference, cache });
    const { kl, perplexity, cache_bytes: bytes } = figures;
    rows.push({ name, cache, bytes: bytes ?? 0, kl, perplexity });
  }
  const full = await lowbit.evaluate({
    model,
    windows: windows.slice(0, 1),
    cache: { use: "kivi", options: { residual: 0 } },
  });
  rows[0].bytes = full.cache_bytes_f32;
  return rows;
}
