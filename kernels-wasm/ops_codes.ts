/**
 * Operations on codes and bytes: encode, decode, pack, unpack, range, narrow, widen.
 *
 * @module
 */

import type {
  Buffer,
  DecodeArguments,
  EncodeArguments,
  Kernels,
  PackArguments,
  RangeArguments,
} from "../spec/kernels.ts";
import * as check from "./checks.ts";
import type { Context } from "./context.ts";

/** A power counts as this many products. */
const POWER_WORK = 32;

/** Real numbers to codes, `[rows, columns]`; split by rows. */
export function encode(c: Context, a: EncodeArguments): void {
  check.encode(a);
  const { rows, columns, tileRows, tileColumns, gridColumns } = a.tiling;
  const e = c.encoder(a.encoder, a.x.length);
  c.pool.run("encode", [
    c.at("x", a.x),
    c.at("codes", a.codes),
    columns,
    tileRows,
    tileColumns,
    gridColumns,
    c.at("scales", a.scales),
    c.at("zeros", a.zeros),
    a.apply === "reciprocal" ? 1 : 0,
    e.kind,
    e.min,
    e.max,
    e.mask,
    e.bias,
    e.shift,
    e.thresholds,
    e.codes,
    e.index,
    e.depth,
  ], { units: rows, work: rows * columns });
}

/** Codes to real numbers, `[rows, columns]`; split by rows. */
export function decode(c: Context, a: DecodeArguments): void {
  check.decode(a);
  const { rows, columns, tileRows, tileColumns, gridColumns } = a.tiling;
  c.pool.run("decode", [
    c.at("codes", a.codes),
    c.at("y", a.y),
    columns,
    tileRows,
    tileColumns,
    gridColumns,
    c.at("table", a.table),
    a.table.length - 1,
    c.at("scales", a.scales),
    c.at("zeros", a.zeros),
  ], { units: rows, work: rows * columns });
}

/** Codes to bytes or back; split by units. */
export function packing(c: Context, operation: "pack" | "unpack", a: PackArguments): void {
  check.pack(a);
  c.pool.run(operation, [
    c.at("codes", a.codes),
    c.at("bytes", a.bytes),
    a.bits,
    a.unitLength,
    a.stride,
    a.start,
    a.order === "halves" ? 1 : 0,
    a.offset,
  ], { units: a.units, work: a.units * a.unitLength });
}

/** Extremes of every tile; split by rows of the grid. */
export function range(c: Context, a: RangeArguments): void {
  check.range(a);
  const { rows, columns, tileRows, tileColumns, gridRows, gridColumns } = a.tiling;
  c.pool.run("range", [
    c.at("x", a.x),
    rows,
    columns,
    tileRows,
    tileColumns,
    gridColumns,
    c.at("min", a.min),
    c.at("max", a.max),
    c.at("extreme", a.extreme),
  ], { units: gridRows, work: rows * columns });
}

/** Error of every tile; split by rows of the grid. */
export function tileError(c: Context, a: Parameters<Kernels["tileError"]>[0]): void {
  const { elements, tiles } = check.tiling(a.tiling);
  check.buffer("x", a.x, "f32", elements);
  check.buffer("y", a.y, "f32", elements);
  check.buffer("error", a.error, "f64", tiles);
  check.finite("exponent", a.exponent);
  const { rows, columns, tileRows, tileColumns, gridRows, gridColumns } = a.tiling;
  c.pool.run("tile_error", [
    c.at("x", a.x),
    c.at("y", a.y),
    rows,
    columns,
    tileRows,
    tileColumns,
    gridColumns,
    a.exponent,
    c.at("error", a.error),
  ], { units: gridRows, work: rows * columns * (a.exponent === 2 ? 1 : POWER_WORK) });
}

/** `y = x^exponent`; split by elements. */
export function power(c: Context, a: Parameters<Kernels["power"]>[0]): void {
  const length = a.x?.length;
  check.buffer("x", a.x, "f32", length);
  check.buffer("y", a.y, "f32", length);
  check.finite("exponent", a.exponent);
  const args = [c.at("x", a.x), c.at("y", a.y), a.exponent];
  c.pool.run("power", args, { units: length, work: length * POWER_WORK });
}

/** f32 to 16-bit floats; split by elements. */
export function narrow(
  c: Context,
  a: { x: Buffer<"f32">; bytes: Buffer<"u8">; to: "float16" | "bfloat16" },
): void {
  check.oneOf("to", a.to, ["float16", "bfloat16"]);
  check.buffer("x", a.x, "f32", a.x?.length);
  check.buffer("bytes", a.bytes, "u8", 2 * a.x.length);
  const args = [c.at("x", a.x), c.at("bytes", a.bytes), a.to === "bfloat16" ? 1 : 0];
  c.pool.run("narrow", args, { units: a.x.length, work: a.x.length });
}

/** 16-bit floats to f32; split by elements. */
export function widen(
  c: Context,
  a: { bytes: Buffer<"u8">; y: Buffer<"f32">; from: "float16" | "bfloat16" },
): void {
  check.oneOf("from", a.from, ["float16", "bfloat16"]);
  check.buffer("y", a.y, "f32", a.y?.length);
  check.buffer("bytes", a.bytes, "u8", 2 * a.y.length);
  const args = [c.at("bytes", a.bytes), c.at("y", a.y), a.from === "bfloat16" ? 1 : 0];
  c.pool.run("widen", args, { units: a.y.length, work: a.y.length });
}
