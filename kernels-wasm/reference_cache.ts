/**
 * The meaning of the quantised key/value cache.
 *
 * @module
 */

import type {
  CacheArguments,
  CacheKernels,
  CacheSide,
  QuantizedCache,
} from "../spec/kernels_cache.ts";
import { refuse } from "./checks.ts";
import * as check from "./checks_lookup.ts";
import type { Hold } from "./reference_lookup.ts";
import { attend } from "./reference_model.ts";

type ArgumentsOf<Name extends Exclude<keyof CacheKernels, "quantizedCache">> = Parameters<
  CacheKernels[Name]
>[0];

const fround = Math.fround;

/** A cache as the f32 rows that it decodes to. */
class PlainCache implements QuantizedCache {
  readonly shape: CacheArguments;
  readonly bytes: number;
  length = 0;
  #rows?: { k: Float32Array; v: Float32Array };
  #hold: Hold;

  constructor(shape: CacheArguments, hold: Hold) {
    this.shape = structuredClone(shape);
    const size = shape.capacity * shape.kvHeads * shape.headSize;
    this.#rows = { k: new Float32Array(size), v: new Float32Array(size) };
    this.bytes = 8 * size;
    this.#hold = hold;
    hold(this.bytes);
  }

  get rows(): { k: Float32Array; v: Float32Array } {
    return this.#rows ?? refuse("cache", "is used after it was freed");
  }

  free(): void {
    if (this.#rows) this.#hold(-this.bytes);
    this.#rows = undefined;
  }

  [Symbol.dispose](): void {
    this.free();
  }
}

function own(cache: QuantizedCache): PlainCache {
  if (cache instanceof PlainCache && cache.rows) return cache;
  refuse("cache", "was not made by these kernels");
}

/** See {@linkcode CacheKernels.quantizedCache}. */
export function quantizedCache(a: CacheArguments, hold: Hold): QuantizedCache {
  check.cache(a);
  return new PlainCache(a, hold);
}

/** See {@linkcode CacheKernels.cacheAppend}. */
export function cacheAppend(a: ArgumentsOf<"cacheAppend">): void {
  const cache = own(a.cache);
  check.room(cache, a.tokens);
  check.cacheRows(cache, a, a.tokens);
  const { shape, rows, length } = cache;
  const width = shape.kvHeads * shape.headSize;
  rows.k.set(a.k.array, length * width);
  rows.v.set(a.v.array, length * width);
  cache.length += a.tokens;
  quantize(rows.k, shape.keys, width, length, cache.length);
  quantize(rows.v, shape.values, width, length, cache.length);
}

/** Quantises the groups that have become full, in place. */
function quantize(x: Float32Array, side: CacheSide, width: number, from: number, to: number): void {
  const { group, by, bits } = side;
  if (by === "token") {
    for (let at = from * width; at < to * width; at += group) roundTrip(x, at, 1, group, bits);
    return;
  }
  for (let block = Math.floor(from / group); block < Math.floor(to / group); block++) {
    for (let c = 0; c < width; c++) roundTrip(x, block * group * width + c, width, group, bits);
  }
}

function roundTrip(x: Float32Array, at: number, step: number, count: number, bits: number): void {
  const places = Array.from({ length: count }, (_, i) => at + i * step);
  const values = places.map((p) => x[p]);
  const [min, max] = [Math.min(...values), Math.max(...values)];
  const scale = fround(fround(max - min) / (2 ** bits - 1));
  const finite = values.every(Number.isFinite) && Number.isFinite(scale);
  for (const p of places) {
    const ratio = scale === 0 ? 0 : fround(fround(x[p] - min) / scale);
    const low = Math.floor(ratio);
    const even = ratio - low === 0.5 ? low + low % 2 : Math.round(ratio);
    const code = Math.min(even, 2 ** bits - 1);
    x[p] = finite ? fround(min + fround(code * scale)) : NaN;
  }
}

/** See {@linkcode CacheKernels.cacheRead}. */
export function cacheRead(a: ArgumentsOf<"cacheRead">): void {
  const cache = own(a.cache);
  check.cacheRows(cache, a, cache.length);
  a.k.array.set(cache.rows.k.subarray(0, a.k.length));
  a.v.array.set(cache.rows.v.subarray(0, a.v.length));
}

/** See {@linkcode CacheKernels.attentionCached}. */
export function attentionCached(a: ArgumentsOf<"attentionCached">): void {
  const cache = own(a.cache);
  check.attentionCached(cache, a);
  const { kvHeads, headSize } = cache.shape;
  attend({
    ...{ q: a.q.array, y: a.y.array, tokens: a.tokens, heads: a.heads, scale: a.scale },
    ...{ ...cache.rows, past: cache.length - a.tokens, kvHeads, headSize },
  });
}
