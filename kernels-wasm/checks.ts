/**
 * The checks before every operation, shared by all implementations: a wrong argument is refused by
 * its name before anything is touched.
 *
 * @module
 */

import { LowbitError } from "../spec/errors.ts";
import type { Tiling } from "../spec/granularity.ts";
import type {
  AttentionArguments,
  Buffer,
  BufferType,
  DecodeArguments,
  ElementEncoder,
  EncodeArguments,
  FeedbackArguments,
  PackArguments,
  PackedWeightArguments,
  RangeArguments,
} from "../spec/kernels.ts";

/** Refuses an argument. */
export function refuse(field: string, problem: string): never {
  throw new LowbitError("SHAPE", problem, { field });
}

/** A whole number of at least `min`. */
export function whole(field: string, value: number, min = 0, max = Number.MAX_SAFE_INTEGER): void {
  if (!Number.isSafeInteger(value) || value < min || value > max) {
    const limits = max < Number.MAX_SAFE_INTEGER ? `from ${min} to ${max}` : `of at least ${min}`;
    refuse(field, `must be a whole number ${limits}, not ${value}`);
  }
}

/** A finite number. */
export function finite(field: string, value: number): void {
  if (!Number.isFinite(value)) refuse(field, `must be a finite number, not ${value}`);
}

/** A buffer of a type and an exact length. */
export function buffer<T extends BufferType>(
  field: string,
  value: Buffer<T> | undefined,
  type: T,
  length: number,
): void {
  if (!value) refuse(field, "is missing");
  if (value.type !== type) refuse(field, `holds ${value.type}, expected ${type}`);
  if (value.length !== length) refuse(field, `has ${value.length} elements, expected ${length}`);
}

/** The same for an argument that may be absent. */
export function optional<T extends BufferType>(
  field: string,
  value: Buffer<T> | undefined,
  type: T,
  length: number,
): void {
  if (value !== undefined) buffer(field, value, type, length);
}

/** One of the given words. */
export function oneOf<W extends string>(field: string, value: W, words: readonly W[]): void {
  if (!words.includes(value)) refuse(field, `must be ${words.join(" or ")}, not ${value}`);
}

/** A tiling that is consistent; returns its numbers of elements and of tiles. */
export function tiling(t: Tiling): { elements: number; tiles: number } {
  if (!t) refuse("tiling", "is missing");
  whole("tiling.rows", t.rows);
  whole("tiling.columns", t.columns);
  whole("tiling.tileRows", t.tileRows, 1);
  whole("tiling.tileColumns", t.tileColumns, 1);
  const gridRows = Math.ceil(t.rows / t.tileRows);
  const gridColumns = Math.ceil(t.columns / t.tileColumns);
  if (t.gridRows !== gridRows) refuse("tiling.gridRows", `is ${t.gridRows}, expected ${gridRows}`);
  if (t.gridColumns !== gridColumns) {
    refuse("tiling.gridColumns", `is ${t.gridColumns}, expected ${gridColumns}`);
  }
  return { elements: t.rows * t.columns, tiles: gridRows * gridColumns };
}

function encoder(e: ElementEncoder, zeros: unknown): void {
  if (e?.kind === "int") {
    whole("encoder.min", e.min, -(1 << 23));
    whole("encoder.max", e.max, e.min, 1 << 23);
    whole("encoder.mask", e.mask, 0, 255);
    whole("encoder.shift", e.shift ?? 0, 0, 1 << 23);
    const roundings = ["nearest_even", "half_away", "floor"];
    if (!roundings.includes(e.rounding ?? "nearest_even")) {
      refuse("encoder.rounding", `is ${e.rounding}; known are ${roundings.join(", ")}`);
    }
    if ((e.rounding === "floor") !== Number.isFinite(e.bias)) {
      refuse("encoder.bias", "is a number for rounding floor, and absent for others");
    }
  } else if (e?.kind === "steps") {
    if (zeros !== undefined) refuse("zeros", "go with an int encoder only");
    const { thresholds, codes } = e;
    if (!(thresholds instanceof Uint32Array)) refuse("encoder.thresholds", "must be a Uint32Array");
    if (!(codes instanceof Uint8Array)) refuse("encoder.codes", "must be a Uint8Array");
    if (thresholds.length > 0xffff) refuse("encoder.thresholds", "has more than 65535 entries");
    if (codes.length !== thresholds.length + 1) {
      refuse("encoder.codes", `has ${codes.length} entries, expected ${thresholds.length + 1}`);
    }
    for (let i = 1; i < thresholds.length; i++) {
      if (thresholds[i] < thresholds[i - 1]) refuse("encoder.thresholds", "must ascend");
    }
  } else refuse("encoder", "must be of kind int or steps");
}

/** A decode table: `2^bits` entries, up to 256. */
export function table(length: number): void {
  if (length < 2 || length > 256 || (length & (length - 1)) !== 0) {
    refuse("table", `has ${length} entries, expected 2^bits for 1 to 8 bits`);
  }
}

/** Checks {@linkcode EncodeArguments}. */
export function encode(a: EncodeArguments): void {
  const { elements, tiles } = tiling(a.tiling);
  buffer("x", a.x, "f32", elements);
  buffer("codes", a.codes, "u8", elements);
  optional("scales", a.scales, "f32", tiles);
  optional("zeros", a.zeros, "f32", tiles);
  oneOf("apply", a.apply, ["divide", "reciprocal"]);
  encoder(a.encoder, a.zeros);
}

/** Checks {@linkcode DecodeArguments}. */
export function decode(a: DecodeArguments): void {
  const { elements, tiles } = tiling(a.tiling);
  buffer("codes", a.codes, "u8", elements);
  buffer("y", a.y, "f32", elements);
  table(a.table?.length ?? 0);
  buffer("table", a.table, "f32", a.table.length);
  optional("scales", a.scales, "f32", tiles);
  optional("zeros", a.zeros, "f32", tiles);
}

/** Checks {@linkcode PackArguments}. */
export function pack(a: PackArguments): void {
  whole("bits", a.bits, 1, 8);
  whole("units", a.units);
  whole("unitLength", a.unitLength);
  whole("stride", a.stride);
  whole("start", a.start);
  whole("offset", a.offset, 0, 255);
  oneOf("order", a.order, ["neighbours", "halves"]);
  if (a.order === "halves") {
    if (a.bits !== 4) refuse("bits", `must be 4 for halves, not ${a.bits}`);
    if (a.unitLength % 2) refuse("unitLength", `must be even for halves, not ${a.unitLength}`);
  }
  const stream = Math.ceil(a.unitLength * a.bits / 8);
  if (a.start + stream > a.stride) {
    refuse("stride", `is ${a.stride}, but a unit takes ${a.start} + ${stream} bytes`);
  }
  buffer("codes", a.codes, "u8", a.units * a.unitLength);
  buffer("bytes", a.bytes, "u8", a.units * a.stride);
}

/** Checks {@linkcode RangeArguments}. */
export function range(a: RangeArguments): void {
  const { elements, tiles } = tiling(a.tiling);
  buffer("x", a.x, "f32", elements);
  optional("min", a.min, "f32", tiles);
  optional("max", a.max, "f32", tiles);
  optional("extreme", a.extreme, "f32", tiles);
}

/** Checks a matrix buffer and its sizes. */
export function matrix(field: string, x: Buffer<"f32">, rows: number, columns: number): void {
  whole("rows", rows);
  whole("columns", columns);
  buffer(field, x, "f32", rows * columns);
}

/** Checks f32 data for a dense weight. */
export function dense(data: Float32Array, rows: number, columns: number): void {
  whole("rows", rows);
  whole("columns", columns);
  if (!(data instanceof Float32Array)) refuse("data", "must be a Float32Array");
  if (data.length !== rows * columns) {
    refuse("data", `has ${data.length} elements, expected ${rows * columns}`);
  }
}

/** Checks {@linkcode PackedWeightArguments}. */
export function packed(a: PackedWeightArguments): void {
  const { tiles } = tiling(a.tiling);
  whole("bits", a.bits, 1, 8);
  const sized = (field: string, array: unknown, type: typeof Float32Array, length: number) => {
    if (!(array instanceof type)) refuse(field, `must be a ${type.name}`);
    if (array.length !== length) refuse(field, `has ${array.length} entries, expected ${length}`);
  };
  if (!(a.bytes instanceof Uint8Array)) refuse("bytes", "must be a Uint8Array");
  const bytes = a.tiling.rows * Math.ceil(a.tiling.columns * a.bits / 8);
  if (a.bytes.length !== bytes) refuse("bytes", `has ${a.bytes.length} bytes, expected ${bytes}`);
  sized("table", a.table, Float32Array, 1 << a.bits);
  sized("scales", a.scales, Float32Array, tiles);
  if (a.zeros !== undefined) sized("zeros", a.zeros, Float32Array, tiles);
  if (a.minimums !== undefined) sized("minimums", a.minimums, Float32Array, tiles);
  if (a.zeros && a.minimums) refuse("minimums", "do not go with zero points");
}

/** Checks the columns of a block. */
export function block(a: { rows: number; columns: number; start: number; count: number }): void {
  whole("rows", a.rows);
  whole("columns", a.columns);
  whole("start", a.start);
  whole("count", a.count);
  if (a.start + a.count > a.columns) {
    refuse("count", `the block ends at ${a.start + a.count}, after column ${a.columns}`);
  }
}

/** Checks {@linkcode FeedbackArguments}. */
export function feedback(a: FeedbackArguments): void {
  block(a);
  whole("groups", a.groups, 1);
  buffer("w", a.w, "f32", a.rows * a.columns);
  buffer("u", a.u, "f32", a.columns * a.columns);
  buffer("groupOf", a.groupOf, "u32", a.columns);
  const groupOf = a.groupOf.array;
  for (let c = a.start; c < a.start + a.count; c++) {
    if (groupOf[c] >= a.groups) refuse("groupOf", `column ${c} is in group ${groupOf[c]}`);
  }
  buffer("scales", a.scales, "f32", a.rows * a.groups);
  optional("stored", a.stored, "f32", a.rows * a.groups);
  optional("zeros", a.zeros, "f32", a.rows * a.groups);
  oneOf("apply", a.apply, ["divide", "reciprocal"]);
  encoder(a.encoder, undefined);
  table(a.table?.length ?? 0);
  buffer("table", a.table, "f32", a.table.length);
  buffer("codes", a.codes, "u8", a.rows * a.columns);
  buffer("errors", a.errors, "f32", a.rows * a.count);
}

/** Checks {@linkcode AttentionArguments}. */
export function attention(a: AttentionArguments): void {
  whole("tokens", a.tokens);
  whole("past", a.past);
  whole("heads", a.heads, 1);
  whole("kvHeads", a.kvHeads, 1);
  whole("headSize", a.headSize, 1);
  finite("scale", a.scale);
  if (a.heads % a.kvHeads) refuse("kvHeads", `${a.kvHeads} does not divide heads, ${a.heads}`);
  buffer("q", a.q, "f32", a.tokens * a.heads * a.headSize);
  buffer("k", a.k, "f32", (a.past + a.tokens) * a.kvHeads * a.headSize);
  buffer("v", a.v, "f32", (a.past + a.tokens) * a.kvHeads * a.headSize);
  buffer("y", a.y, "f32", a.tokens * a.heads * a.headSize);
}

/** The buffer type of a typed array. */
export function typeOf(data: unknown): BufferType {
  if (data instanceof Uint8Array) return "u8";
  if (data instanceof Float32Array) return "f32";
  if (data instanceof Float64Array) return "f64";
  if (data instanceof Uint32Array) return "u32";
  if (data instanceof Int32Array) return "i32";
  refuse("data", "must be a Uint8Array, Float32Array, Float64Array, Uint32Array or Int32Array");
}
