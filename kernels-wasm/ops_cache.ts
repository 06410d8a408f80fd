/**
 * The quantised key/value cache in WebAssembly memory.
 *
 * @module
 */

import { LowbitError } from "../spec/errors.ts";
import type {
  CacheArguments,
  CacheKernels,
  CacheSide,
  QuantizedCache,
} from "../spec/kernels_cache.ts";
import { refuse } from "./checks.ts";
import * as check from "./checks_lookup.ts";
import type { Context } from "./context.ts";
import type { Heap } from "./memory.ts";

type ArgumentsOf<Name extends Exclude<keyof CacheKernels, "quantizedCache">> = Parameters<
  CacheKernels[Name]
>[0];

/** Queries of a unit of attention. */
const QUERY_BLOCK = 8;
/** Words of the description of a side. */
const SIDE_WORDS = 9;

/** Keys, or values: codes, scales, minima, and rows that are still f32. */
class Side {
  readonly bytes: number;
  /** Positions that are quantised. */
  quantised = 0;
  /** Positions, and columns, of a group. */
  readonly tile: { tokens: number; width: number };
  readonly #sizes: { codes: number; grid: number; rest: number };
  readonly #address: number;

  constructor(
    readonly heap: Heap,
    readonly form: CacheSide,
    readonly width: number,
    capacity: number,
  ) {
    const { by, group, bits } = form;
    this.tile = by === "token" ? { tokens: 1, width: group } : { tokens: group, width: 1 };
    const tiles = Math.floor(capacity / this.tile.tokens) * (width / this.tile.width);
    const round = (bytes: number) => Math.ceil(bytes / 16) * 16;
    this.#sizes = {
      codes: round(capacity * width * bits / 8),
      grid: round(4 * tiles),
      rest: by === "token" ? 0 : 4 * group * width,
    };
    const { codes, grid, rest } = this.#sizes;
    this.bytes = codes + 2 * grid + rest + 4 * SIDE_WORDS;
    this.#address = heap.take(this.bytes);
  }

  /** Addresses of codes, scales, minima, f32 rows and the description. */
  get at() {
    const { codes, grid, rest } = this.#sizes;
    const scales = this.#address + codes;
    const rows = scales + 2 * grid;
    return { codes: this.#address, scales, minima: scales + grid, rows, words: rows + rest };
  }

  /** Appends rows at `x`; `length` positions came before. */
  append(c: Context, x: number, tokens: number, length: number): void {
    const { tile, width } = this;
    const rowBytes = 4 * width;
    for (let done = 0; done < tokens;) {
      const open = length + done - this.quantised;
      const count = Math.min(tokens - done, tile.tokens === 1 ? tokens : tile.tokens - open);
      const from = x + done * rowBytes;
      if (tile.tokens === 1) this.#encode(c, from, count);
      else {
        const { rows } = this.at;
        const target = c.heap.view("u8", rows + open * rowBytes, count * rowBytes);
        target.set(c.heap.view("u8", from, count * rowBytes));
        if (open + count === tile.tokens) this.#encode(c, rows, tile.tokens);
      }
      done += count;
    }
  }

  #encode(c: Context, x: number, tokens: number): void {
    const { tile, width, form: { bits }, at } = this;
    const first = this.quantised / tile.tokens * (width / tile.width);
    c.exports.cache_encode(
      x,
      tokens,
      width,
      tile.tokens,
      tile.width,
      bits,
      at.codes + this.quantised * width * bits / 8,
      at.scales + 4 * first,
      at.minima + 4 * first,
    );
    this.quantised += tokens;
  }

  /** Writes the description that the kernels read; its address. */
  describe(): number {
    const { codes, scales, minima, rows, words } = this.at;
    const { tile, quantised, width, form } = this;
    const sides = [codes, scales, minima, rows, form.bits, tile.tokens, tile.width];
    this.heap.view("u32", words, SIDE_WORDS).set([...sides, quantised, width]);
    return words;
  }

  free(): void {
    this.heap.give(this.#address, this.bytes);
  }
}

/** A cache: its keys and its values. */
class WasmCache implements QuantizedCache {
  readonly shape: CacheArguments;
  length = 0;
  #keys: Side;
  #values: Side;
  #freed = false;

  constructor(heap: Heap, shape: CacheArguments) {
    this.shape = structuredClone(shape);
    const width = shape.kvHeads * shape.headSize;
    this.#keys = new Side(heap, this.shape.keys, width, shape.capacity);
    try {
      this.#values = new Side(heap, this.shape.values, width, shape.capacity);
    } catch (error) {
      this.#keys.free();
      throw error;
    }
  }

  get bytes(): number {
    return this.#keys.bytes + this.#values.bytes;
  }

  /** Keys and values; refuses a freed cache and one of other kernels. */
  sides(heap: Heap): { keys: Side; values: Side } {
    if (this.#freed) {
      throw new LowbitError("SHAPE", "is used after it was freed", { field: "cache" });
    }
    if (heap !== this.#keys.heap) {
      throw new LowbitError("SHAPE", "belongs to other kernels", { field: "cache" });
    }
    return { keys: this.#keys, values: this.#values };
  }

  free(): void {
    if (this.#freed) return;
    this.#freed = true;
    this.#keys.free();
    this.#values.free();
  }

  [Symbol.dispose](): void {
    this.free();
  }
}

function own(cache: QuantizedCache): WasmCache {
  if (cache instanceof WasmCache) return cache;
  refuse("cache", "was not made by these kernels");
}

/** An empty cache. */
export function quantizedCache(c: Context, a: CacheArguments): QuantizedCache {
  check.cache(a);
  return new WasmCache(c.heap, a);
}

/** Appends positions, on the calling thread. */
export function cacheAppend(c: Context, a: ArgumentsOf<"cacheAppend">): void {
  const cache = own(a.cache);
  const { keys, values } = cache.sides(c.heap);
  check.room(cache, a.tokens);
  check.cacheRows(cache, a, a.tokens);
  keys.append(c, c.at("k", a.k), a.tokens, cache.length);
  values.append(c, c.at("v", a.v), a.tokens, cache.length);
  cache.length += a.tokens;
}

/** Decodes all positions, on the calling thread. */
export function cacheRead(c: Context, a: ArgumentsOf<"cacheRead">): void {
  const cache = own(a.cache);
  const { keys, values } = cache.sides(c.heap);
  check.cacheRows(cache, a, cache.length);
  c.exports.cache_decode(keys.describe(), 0, cache.length, c.at("k", a.k));
  c.exports.cache_decode(values.describe(), 0, cache.length, c.at("v", a.v));
}

/** Attention over a cache; split by key/value heads and blocks of 8 queries. */
export function attentionCached(c: Context, a: ArgumentsOf<"attentionCached">): void {
  const cache = own(a.cache);
  const { keys, values } = cache.sides(c.heap);
  check.attentionCached(cache, a);
  const { kvHeads, headSize } = cache.shape;
  const { tokens, heads } = a;
  const queries = QUERY_BLOCK * heads / kvHeads;
  c.pool.run("attention_cached", [
    c.at("q", a.q),
    c.at("y", a.y),
    tokens,
    cache.length - tokens,
    heads,
    kvHeads,
    headSize,
    a.scale,
    keys.describe(),
    values.describe(),
  ], {
    units: kvHeads * Math.ceil(tokens / QUERY_BLOCK),
    work: 2 * heads * tokens * cache.length * headSize,
    scratch: 4 * (headSize + queries * (cache.length + 1)),
  });
}
