/**
 * The checks of products by look-up, of side tensors and of the quantised cache.
 *
 * @module
 */

import type { Buffer } from "../spec/kernel_buffers.ts";
import type { CacheArguments, CacheSide, QuantizedCache } from "../spec/kernels_cache.ts";
import type {
  CodebookWeightArguments,
  LookupKernels,
  LookupWeight,
  PlaneWeightArguments,
} from "../spec/kernels_lookup.ts";
import * as check from "./checks.ts";

type ArgumentsOf<Name extends keyof LookupKernels> = Parameters<LookupKernels[Name]>[0];
type TypedArrayType = typeof Float32Array | typeof Uint8Array | typeof Uint32Array;

/** A typed array of an exact length. */
function array(field: string, value: unknown, type: TypedArrayType, length: number): void {
  if (!(value instanceof type)) check.refuse(field, `must be a ${type.name}`);
  if (value.length !== length) {
    check.refuse(field, `has ${value.length} entries, expected ${length}`);
  }
}

function shape(a: { rows: number; columns: number }): void {
  check.whole("rows", a.rows);
  check.whole("columns", a.columns);
}

/** Checks {@linkcode PlaneWeightArguments}; the columns of a group, and the groups of a row. */
export function planes(a: PlaneWeightArguments): { group: number; groups: number } {
  shape(a);
  check.whole("planes", a.planes, 1, 8);
  array("bits", a.bits, Uint8Array, a.planes * a.rows * Math.ceil(a.columns / 8));
  const all = Math.max(8, Math.ceil(a.columns / 8) * 8);
  const group = a.group ?? all;
  check.whole("group", group, 1);
  if (group % 8 && group < a.columns) {
    check.refuse("group", `must be a multiple of 8, not ${group}`);
  }
  const groups = Math.ceil(a.columns / group);
  if (a.alphas) array("alphas", a.alphas, Float32Array, a.planes * a.rows * groups);
  if (a.offsets) array("offsets", a.offsets, Float32Array, a.rows * groups);
  if (a.offsets && !a.alphas) check.refuse("alphas", "are missing beside offsets");
  return { group: Math.min(group, all), groups };
}

/** Checks {@linkcode CodebookWeightArguments}; the entries of a table, and the groups of a row. */
export function codebook(a: CodebookWeightArguments): { entries: number; groups: number } {
  shape(a);
  if (![2, 4, 8].includes(a.dim)) check.refuse("dim", `must be 2, 4 or 8, not ${a.dim}`);
  if (a.columns % a.dim) check.refuse("columns", `${a.columns} is no multiple of dim, ${a.dim}`);
  check.whole("books", a.books, 1, 8);
  check.whole("group", a.group, 1);
  if (a.group % a.dim) check.refuse("group", `${a.group} is no multiple of dim, ${a.dim}`);
  const groups = Math.ceil(a.columns / a.group);
  array("scales", a.scales, Float32Array, a.rows * groups);
  if (!(a.tables instanceof Float32Array)) check.refuse("tables", "must be a Float32Array");
  const entries = a.tables.length / (a.books * a.dim);
  check.whole("tables.length / (books * dim)", entries, 1, 1 << 16);
  const codes = a.books * a.rows * (a.columns / a.dim);
  if (!(a.codes instanceof Uint8Array || a.codes instanceof Uint16Array)) {
    check.refuse("codes", "must be a Uint8Array or a Uint16Array");
  }
  if (a.codes.length !== codes) {
    check.refuse("codes", `has ${a.codes.length} entries, expected ${codes}`);
  }
  const beyond = a.codes.findIndex((code) => code >= entries);
  if (beyond >= 0) check.refuse("codes", `entry ${beyond} is beyond the ${entries} of a table`);
  return { entries, groups };
}

/** Checks the arguments of `sparseWeight`; where the entries of each row start. */
export function sparse(a: ArgumentsOf<"sparseWeight">): Uint32Array {
  shape(a);
  const count = a.values?.length;
  array("values", a.values, Float32Array, count);
  array("rowIndex", a.rowIndex, Uint32Array, count);
  array("columnIndex", a.columnIndex, Uint32Array, count);
  const starts = new Uint32Array(a.rows + 1);
  for (let i = 0; i < count; i++) {
    const [row, column] = [a.rowIndex[i], a.columnIndex[i]];
    if (row >= a.rows) check.refuse("rowIndex", `entry ${i} is ${row}, beyond ${a.rows} rows`);
    if (column >= a.columns) {
      check.refuse("columnIndex", `entry ${i} is ${column}, beyond ${a.columns} columns`);
    }
    const before = i > 0 ? a.rowIndex[i - 1] : 0;
    if (row < before || (i > 0 && row === before && column <= a.columnIndex[i - 1])) {
      check.refuse("rowIndex", `entry ${i} does not come after the one before it`);
    }
    starts[row + 1]++;
  }
  for (let r = 0; r < a.rows; r++) starts[r + 1] += starts[r];
  return starts;
}

/** Checks the arguments of `lowRankWeight`. */
export function lowRank(a: ArgumentsOf<"lowRankWeight">): void {
  shape(a);
  check.whole("rank", a.rank, 1);
  array("left", a.left, Float32Array, a.rows * a.rank);
  array("right", a.right, Float32Array, a.rank * a.columns);
}

/** Checks the shapes of a product with a weight of a form. */
export function product(
  a: { x: Buffer; y: Buffer; tokens: number; weight: LookupWeight },
  form: LookupWeight["form"],
  types: { x: "f32" | "u8"; y: "f32" | "i32" } = { x: "f32", y: "f32" },
): void {
  if (!a.weight) check.refuse("weight", "is missing");
  if (a.weight.form !== form) check.refuse("weight", `is ${a.weight.form}, expected ${form}`);
  check.whole("tokens", a.tokens);
  check.buffer("x", a.x, types.x, a.tokens * a.weight.columns);
  check.buffer("y", a.y, types.y, a.tokens * a.weight.rows);
}

/** Checks what `linearPlanesInt` needs besides its product: nothing may overflow. */
export function factors(a: ArgumentsOf<"linearPlanesInt">, planes: number): void {
  if (!(a.factors instanceof Int32Array)) check.refuse("factors", "must be an Int32Array");
  if (a.factors.length !== planes) {
    check.refuse("factors", `has ${a.factors.length} entries, expected ${planes}`);
  }
  check.whole("offset", a.offset, -(2 ** 31), 2 ** 31 - 1);
  const most = a.factors.reduce((sum, f) => sum + Math.abs(f), Math.abs(a.offset));
  if (most * 128 * a.weight.columns >= 2 ** 31) {
    check.refuse("factors", `and offset add up to ${most}: sums may not fit 32 bits`);
  }
}

/** Checks the arguments of `linearBinary`. */
export function binary(a: ArgumentsOf<"linearBinary">): void {
  check.whole("tokens", a.tokens);
  check.whole("rows", a.rows);
  check.whole("columns", a.columns, 0, 2 ** 24);
  const bytes = Math.ceil(a.columns / 8);
  check.buffer("x", a.x, "u8", a.tokens * bytes);
  check.buffer("w", a.w, "u8", a.rows * bytes);
  check.buffer("y", a.y, "f32", a.tokens * a.rows);
  check.optional("xScales", a.xScales, "f32", a.tokens);
  check.optional("wScales", a.wScales, "f32", a.rows);
}

/** Checks the arguments of `linearFp6`. */
export function fp6(a: ArgumentsOf<"linearFp6">): void {
  check.whole("tokens", a.tokens);
  check.whole("rows", a.rows);
  check.whole("columns", a.columns);
  check.oneOf("format", a.format, ["e3m2", "e2m3"]);
  check.buffer("x", a.x, "f32", a.tokens * a.columns);
  check.buffer("y", a.y, "f32", a.tokens * a.rows);
  check.buffer("high", a.high, "u8", a.rows * Math.ceil(a.columns / 2));
  check.buffer("low", a.low, "u8", a.rows * Math.ceil(a.columns / 4));
  check.buffer("scales", a.scales, "f32", a.rows);
}

function side(field: string, s: CacheSide, headSize: number): void {
  if (!s) check.refuse(field, "is missing");
  if (![2, 4, 8].includes(s.bits)) {
    check.refuse(`${field}.bits`, `must be 2, 4 or 8, not ${s.bits}`);
  }
  check.oneOf(`${field}.by`, s.by, ["token", "channel"]);
  check.whole(`${field}.group`, s.group, 1, 1 << 16);
  if (s.by === "token" && headSize % s.group) {
    check.refuse(`${field}.group`, `${s.group} does not divide the head size, ${headSize}`);
  }
  if (headSize * s.bits % 8) {
    check.refuse("headSize", `${headSize} codes of ${s.bits} bits are no whole bytes`);
  }
}

/** Checks {@linkcode CacheArguments}. */
export function cache(a: CacheArguments): void {
  check.whole("capacity", a.capacity, 0, 1 << 30);
  check.whole("kvHeads", a.kvHeads, 1);
  check.whole("headSize", a.headSize, 1);
  side("keys", a.keys, a.headSize);
  side("values", a.values, a.headSize);
}

/** Checks rows of keys and values of a cache. */
export function cacheRows(
  c: QuantizedCache,
  a: { k: Buffer<"f32">; v: Buffer<"f32"> },
  tokens: number,
): void {
  const width = c.shape.kvHeads * c.shape.headSize;
  check.buffer("k", a.k, "f32", tokens * width);
  check.buffer("v", a.v, "f32", tokens * width);
}

/** Checks that a cache has room. */
export function room(c: QuantizedCache, tokens: number): void {
  check.whole("tokens", tokens);
  const left = c.shape.capacity - c.length;
  if (tokens > left) check.refuse("tokens", `the cache has room for ${left} more, not ${tokens}`);
}

/** Checks the arguments of `attentionCached`. */
export function attentionCached(
  c: QuantizedCache,
  a: { q: Buffer<"f32">; y: Buffer<"f32">; tokens: number; heads: number; scale: number },
): void {
  const { kvHeads, headSize } = c.shape;
  check.whole("tokens", a.tokens, 0, c.length);
  check.whole("heads", a.heads, 1);
  check.finite("scale", a.scale);
  if (a.heads % kvHeads) check.refuse("heads", `${a.heads} is no multiple of kvHeads, ${kvHeads}`);
  check.buffer("q", a.q, "f32", a.tokens * a.heads * headSize);
  check.buffer("y", a.y, "f32", a.tokens * a.heads * headSize);
}
