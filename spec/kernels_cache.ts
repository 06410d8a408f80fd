/**
 * Kernels of the quantised key/value cache.
 *
 * @module
 */

import type { Buffer } from "./kernel_buffers.ts";

/** How keys, or values, of a cache are quantised. */
export interface CacheSide {
  /** Bits of a code. */
  bits: 2 | 4 | 8;
  /**
   * `token`: `group` neighbouring columns of one position share a scale and a minimum.
   * `channel`: `group` positions of one column do; the positions of a group that is not full yet
   * stay f32.
   */
  by: "token" | "channel";
  /** Columns, or positions, of a group. With `token` it divides the head size. */
  group: number;
}

/** The shape of a quantised cache. */
export interface CacheArguments {
  /** Positions that it can hold. */
  capacity: number;
  /** Key/value heads. */
  kvHeads: number;
  /** Size of a head; times the bits a multiple of 8. */
  headSize: number;
  /** How keys are quantised; by channel in KIVI. */
  keys: CacheSide;
  /** How values are quantised; by token in KIVI. */
  values: CacheSide;
}

/** A quantised cache. Owned by the implementation. */
export interface QuantizedCache extends Disposable {
  /** Its shape. */
  readonly shape: CacheArguments;
  /** Positions that it holds. */
  readonly length: number;
  /** Bytes held. */
  readonly bytes: number;
  /** Gives the memory back. */
  free(): void;
}

/** The quantised key/value cache, and attention over it. */
export interface CacheKernels {
  /** An empty cache. */
  quantizedCache(args: CacheArguments): QuantizedCache;
  /**
   * Appends keys and values `[tokens, kvHeads * headSize]`. A group becomes codes by
   * `scale = (max - min) / (2^bits - 1)`, `code = rint((v - min) / scale)`, each step in f32, as soon
   * as it is full. A group with a NaN or an infinity decodes to NaN.
   */
  cacheAppend(
    args: { cache: QuantizedCache; k: Buffer<"f32">; v: Buffer<"f32">; tokens: number },
  ): void;
  /** What the cache holds, `[length, kvHeads * headSize]`: `min + code * scale`, each step in f32. */
  cacheRead(args: { cache: QuantizedCache; k: Buffer<"f32">; v: Buffer<"f32"> }): void;
  /**
   * Causal attention of the last `tokens` positions, which have been appended, to all of them: the
   * bits of {@linkcode Kernels.attention} over what `cacheRead` gives, but decoded on the fly.
   */
  attentionCached(args: {
    cache: QuantizedCache;
    q: Buffer<"f32">;
    y: Buffer<"f32">;
    tokens: number;
    heads: number;
    scale: number;
  }): void;
}
