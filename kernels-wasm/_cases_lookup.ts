/**
 * Random cases of products by look-up, of side tensors and of the quantised cache; see `_cases.ts`.
 *
 * @module
 */

import type { Kernels } from "../spec/kernels.ts";
import type { CacheSide, QuantizedCache } from "../spec/kernels_cache.ts";
import type { LookupWeight } from "../spec/kernels_lookup.ts";
import type { Case, Output, Random, Run } from "./_random.ts";
import { integerPlanes } from "./integer_planes.ts";

type Product = "linearPlanes" | "linearCodebook" | "addSparse" | "addLowRank";

/** A product of a few tokens with a weight. */
function product(c: Case, name: Product, weight: LookupWeight): Output[] {
  const tokens = c.random.of([0, 1, 1, 2, 3, 4, 5]);
  using x = c.k.upload(c.random.floats(tokens * weight.columns));
  using y = c.k.upload(c.random.floats(tokens * weight.rows));
  c.k[name]({ x, y, tokens, weight });
  return [y.array.slice()];
}

/** A weight of bit planes: binary coding, or whole numbers. */
function planes({ k, random, rows, columns }: Case): LookupWeight {
  const count = random.int(1, 4);
  const group = random.of([8, 16, 32, 64, Math.max(8, Math.ceil(columns / 8) * 8)]);
  const groups = Math.ceil(columns / group);
  if (random.int(0, 1)) {
    const codes = random.codes(rows * columns, 1 << count);
    const scales = random.scales(rows * groups);
    return k.planeWeight(integerPlanes({ rows, columns, bits: count, group, codes, scales }));
  }
  return k.planeWeight({
    ...{ rows, columns, planes: count, group },
    bits: random.codes(count * rows * Math.ceil(columns / 8), 256),
    alphas: random.scales(count * rows * groups),
    offsets: random.int(0, 1) ? random.floats(rows * groups) : undefined,
  });
}

/** A weight of vector codebooks; columns are rounded up to whole vectors. */
function codebook({ k, random, rows, columns: near }: Case): LookupWeight {
  const dim = random.of([2, 4, 8] as const);
  const columns = Math.ceil(near / dim) * dim;
  const [books, entries] = [random.int(1, 3), random.of([1, 16, 256, 257, 1000])];
  const group = dim * random.int(1, 9);
  const count = books * rows * columns / dim;
  return k.codebookWeight({
    ...{ rows, columns, dim, books, group },
    codes: Uint16Array.from({ length: count }, () => random.int(0, entries - 1)),
    tables: random.floats(books * entries * dim),
    scales: random.scales(rows * Math.ceil(columns / group)),
  });
}

/** About one entry in eight. */
function sparse({ k, random, rows, columns }: Case): LookupWeight {
  const chosen = Array.from({ length: rows * columns }, (_, i) => i)
    .filter(() => random.int(0, 7) === 0);
  return k.sparseWeight({
    ...{ rows, columns },
    rowIndex: Uint32Array.from(chosen, (i) => Math.floor(i / columns)),
    columnIndex: Uint32Array.from(chosen, (i) => i % columns),
    values: random.floats(chosen.length),
  });
}

function lowRank({ k, random, rows, columns }: Case): LookupWeight {
  const rank = random.int(1, 20);
  const [left, right] = [random.floats(rows * rank), random.floats(rank * columns)];
  return k.lowRankWeight({ rows, columns, rank, left, right });
}

function side(random: Random, headSize: number): CacheSide {
  const bits = random.of([2, 4, 8] as const);
  const by = random.of(["token", "channel"] as const);
  const divisors = [1, 4, 8, 16, 32].filter((size) => headSize % size === 0);
  return { bits, by, group: by === "token" ? random.of(divisors) : random.of([1, 5, 8, 32]) };
}

/** A cache that some rows have been appended to, and how many. */
function filled({ k, random, rows }: Case): { cache: QuantizedCache; last: number } {
  const headSize = random.of([4, 8, 16, 32, 48]);
  const shape = {
    ...{ capacity: Math.min(rows, 80) + random.int(0, 9), kvHeads: random.int(1, 3), headSize },
    ...{ keys: side(random, headSize), values: side(random, headSize) },
  };
  const cache = k.quantizedCache(shape);
  const width = shape.kvHeads * headSize;
  let last = 0;
  for (let left = Math.min(rows, 80); left > 0; left -= last) {
    last = random.int(1, left);
    using keys = k.upload(random.floats(last * width));
    using values = k.upload(random.floats(last * width));
    if (random.int(0, 30) === 0) values.array.fill(1, 0, width);
    k.cacheAppend({ cache, k: keys, v: values, tokens: last });
  }
  return { cache, last };
}

function contents(k: Kernels, cache: QuantizedCache): Output[] {
  const size = cache.length * cache.shape.kvHeads * cache.shape.headSize;
  using keys = k.alloc("f32", size);
  using values = k.alloc("f32", size);
  k.cacheRead({ cache, k: keys, v: values });
  return [keys.array.slice(), values.array.slice()];
}

function append(c: Case): Output[] {
  const { cache } = filled(c);
  using _owned = cache;
  return contents(c.k, cache);
}

/** A case of every operation. */
export const LOOKUP_CASES: Record<
  | Product
  | "planeWeight"
  | "linearPlanesInt"
  | "linearBinary"
  | "linearFp6"
  | "codebookWeight"
  | "sparseWeight"
  | "lowRankWeight"
  | "quantizedCache"
  | "cacheAppend"
  | "cacheRead"
  | "attentionCached",
  Run
> = {
  planeWeight(c) {
    using weight = planes(c);
    return product(c, "linearPlanes", weight);
  },
  linearPlanes: (c) => LOOKUP_CASES.planeWeight(c),
  linearPlanesInt({ k, random, rows, columns }) {
    const count = random.int(1, 4);
    const bits = random.codes(count * rows * Math.ceil(columns / 8), 256);
    using weight = k.planeWeight({ rows, columns, planes: count, bits });
    const tokens = random.of([0, 1, 1, 2, 3]);
    using x = k.upload(random.codes(tokens * columns, 256));
    using y = k.alloc("i32", tokens * rows);
    const factors = Int32Array.from({ length: count }, () => random.int(-9, 9));
    k.linearPlanesInt({ x, y, tokens, weight, factors, offset: random.int(-5, 5) });
    return [y.array.slice()];
  },
  linearBinary({ k, random, rows, columns }) {
    const [tokens, bytes] = [random.of([0, 1, 2, 5]), Math.ceil(columns / 8)];
    using x = k.upload(random.codes(tokens * bytes, 256));
    using w = k.upload(random.codes(rows * bytes, 256));
    using y = k.alloc("f32", tokens * rows);
    using xs = k.upload(random.scales(tokens));
    using ws = k.upload(random.scales(rows));
    const [xScales, wScales] = [xs, ws].map((s) => random.int(0, 1) ? s : undefined);
    k.linearBinary({ x, w, y, tokens, rows, columns, xScales, wScales });
    return [y.array.slice()];
  },
  linearFp6({ k, random, rows, columns }) {
    const tokens = random.of([0, 1, 1, 2, 5]);
    using x = k.upload(random.floats(tokens * columns));
    using y = k.alloc("f32", tokens * rows);
    using high = k.upload(random.codes(rows * Math.ceil(columns / 2), 256));
    using low = k.upload(random.codes(rows * Math.ceil(columns / 4), 256));
    using scales = k.upload(random.scales(rows));
    const format = random.of(["e3m2", "e2m3"] as const);
    k.linearFp6({ x, y, tokens, rows, columns, format, high, low, scales });
    return [y.array.slice()];
  },
  codebookWeight(c) {
    using weight = codebook(c);
    return product(c, "linearCodebook", weight);
  },
  linearCodebook: (c) => LOOKUP_CASES.codebookWeight(c),
  sparseWeight(c) {
    using weight = sparse(c);
    return product(c, "addSparse", weight);
  },
  addSparse: (c) => LOOKUP_CASES.sparseWeight(c),
  lowRankWeight(c) {
    using weight = lowRank(c);
    return product(c, "addLowRank", weight);
  },
  addLowRank: (c) => LOOKUP_CASES.lowRankWeight(c),
  quantizedCache: append,
  cacheAppend: append,
  cacheRead: append,
  attentionCached(c) {
    const { cache, last: tokens } = filled(c);
    using _owned = cache;
    const { k, random } = c;
    const { kvHeads, headSize } = cache.shape;
    const heads = kvHeads * random.int(1, 3);
    using q = k.upload(random.floats(tokens * heads * headSize));
    using y = k.alloc("f32", tokens * heads * headSize);
    k.attentionCached({ cache, q, y, tokens, heads, scale: 1 / Math.sqrt(headSize) });
    return [y.array.slice()];
  },
};
