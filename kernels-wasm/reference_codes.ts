/**
 * The meaning of the operations on codes and bytes.
 *
 * @module
 */

import type { Tiling } from "../spec/granularity.ts";
import type {
  DecodeArguments,
  ElementEncoder,
  EncodeArguments,
  Kernels,
  PackArguments,
  PackedWeightArguments,
  RangeArguments,
} from "../spec/kernels.ts";
import * as check from "./checks.ts";

const fround = Math.fround;
const word = new DataView(new ArrayBuffer(4));

/** The bits of an f32. */
export function bitsOf(value: number): number {
  word.setFloat32(0, value);
  return word.getUint32(0);
}

/** To the nearest whole number, ties to even. */
export function rint(v: number): number {
  const floor = Math.floor(v);
  const rest = v - floor;
  if (rest !== 0.5) return rest < 0.5 ? floor : floor + 1;
  return floor % 2 === 0 ? floor : floor + 1;
}

/** The order-preserving unsigned key of an f32. */
export function key(v: number): number {
  const bits = bitsOf(v);
  return (bits >>> 31 ? ~bits : bits ^ 0x80000000) >>> 0;
}

/** `x / s`, or `x * (1 / s)`. */
export function apply(x: number, scale: number, how: "divide" | "reciprocal"): number {
  return how === "divide" ? fround(x / scale) : fround(x * fround(1 / scale));
}

function rounded(e: ElementEncoder & { kind: "int" }, v: number): number {
  if (e.rounding === "half_away") return Math.sign(v) * Math.floor(Math.abs(v) + 0.5);
  return e.rounding === "floor" ? Math.floor(fround(v + e.bias!)) : rint(v);
}

/** The code of a scaled value; a NaN gets the smallest code of an integer range. */
export function code(e: ElementEncoder, v: number, zero: number): number {
  if (e.kind === "int") {
    const q = fround(rounded(e, v) + zero);
    const clamped = !(e.min < q) ? e.min : q < e.max ? q : e.max;
    return (Math.trunc(clamped) - (e.shift ?? 0)) & e.mask;
  }
  const k = key(v);
  return e.codes[e.thresholds.findLastIndex((threshold) => threshold < k) + 1];
}

/** Walks a matrix in row-major order with the tile of each element. */
function eachElement(t: Tiling, visit: (element: number, tile: number) => void): void {
  for (let r = 0; r < t.rows; r++) {
    for (let c = 0; c < t.columns; c++) {
      const tile = Math.floor(r / t.tileRows) * t.gridColumns + Math.floor(c / t.tileColumns);
      visit(r * t.columns + c, tile);
    }
  }
}

/** See {@linkcode Kernels.encode}. */
export function encode(a: EncodeArguments): void {
  check.encode(a);
  const [x, codes, scales, zeros] = [a.x.array, a.codes.array, a.scales?.array, a.zeros?.array];
  eachElement(a.tiling, (i, tile) => {
    const v = scales ? apply(x[i], scales[tile], a.apply) : x[i];
    codes[i] = code(a.encoder, v, zeros ? zeros[tile] : 0);
  });
}

/** See {@linkcode Kernels.decode}. */
export function decode(a: DecodeArguments): void {
  check.decode(a);
  const [codes, y, table] = [a.codes.array, a.y.array, a.table.array];
  const [scales, zeros] = [a.scales?.array, a.zeros?.array];
  eachElement(a.tiling, (i, tile) => {
    let v = table[codes[i] & (table.length - 1)];
    if (zeros) v = fround(v - zeros[tile]);
    if (scales) v = fround(v * scales[tile]);
    y[i] = v;
  });
}

/** The values of a packed weight. */
export function decodePacked(a: PackedWeightArguments): Float32Array {
  const { rows, columns } = a.tiling;
  const values = new Float32Array(rows * columns);
  const rowBytes = Math.ceil(columns * a.bits / 8);
  eachElement(a.tiling, (i, tile) => {
    const first = Math.floor(i / columns) * rowBytes * 8 + (i % columns) * a.bits;
    const v = a.table[readBits(a.bytes, first, a.bits)];
    const value = fround(fround(v - (a.zeros ? a.zeros[tile] : 0)) * a.scales[tile]);
    values[i] = a.minimums ? fround(value + a.minimums[tile]) : value;
  });
  return values;
}

/** The code of `bits` bits from bit `first` on. */
export function readBits(bytes: Uint8Array, first: number, bits: number): number {
  let value = 0;
  for (let b = 0; b < bits; b++) {
    const at = first + b;
    value |= (bytes[at >> 3] >> (at & 7) & 1) << b;
  }
  return value;
}

function writeBits(bytes: Uint8Array, first: number, bits: number, value: number): void {
  for (let b = 0; b < bits; b++) {
    const at = first + b;
    bytes[at >> 3] = bytes[at >> 3] & ~(1 << (at & 7)) | (value >> b & 1) << (at & 7);
  }
}

/** Where the code of an element stands in the stream of its unit. */
function position(a: PackArguments, i: number): number {
  if (a.order === "neighbours") return i;
  const half = a.unitLength / 2;
  return i < half ? 2 * i : 2 * (i - half) + 1;
}

/** See {@linkcode Kernels.pack}. */
export function pack(a: PackArguments): void {
  check.pack(a);
  const [codes, bytes, mask] = [a.codes.array, a.bytes.array, (1 << a.bits) - 1];
  for (let unit = 0; unit < a.units; unit++) {
    const stream = unit * a.stride + a.start;
    bytes.fill(0, stream, stream + Math.ceil(a.unitLength * a.bits / 8));
    for (let i = 0; i < a.unitLength; i++) {
      const value = (codes[unit * a.unitLength + i] + a.offset) & mask;
      writeBits(bytes, stream * 8 + position(a, i) * a.bits, a.bits, value);
    }
  }
}

/** See {@linkcode Kernels.unpack}. */
export function unpack(a: PackArguments): void {
  check.pack(a);
  const [codes, bytes, mask] = [a.codes.array, a.bytes.array, (1 << a.bits) - 1];
  for (let unit = 0; unit < a.units; unit++) {
    const stream = unit * a.stride + a.start;
    for (let i = 0; i < a.unitLength; i++) {
      const value = readBits(bytes, stream * 8 + position(a, i) * a.bits, a.bits);
      codes[unit * a.unitLength + i] = (value - a.offset) & mask;
    }
  }
}

/** See {@linkcode Kernels.range}. A NaN makes all extremes of its tile NaN. */
export function range(a: RangeArguments): void {
  check.range(a);
  const x = a.x.array;
  const tiles = a.tiling.gridRows * a.tiling.gridColumns;
  const min = new Float32Array(tiles).fill(Infinity);
  const max = new Float32Array(tiles).fill(-Infinity);
  const extreme = new Float32Array(tiles);
  const seen = new Uint8Array(tiles);
  eachElement(a.tiling, (i, tile) => {
    min[tile] = Math.min(min[tile], x[i]);
    max[tile] = Math.max(max[tile], x[i]);
    const larger = Math.abs(x[i]) > Math.abs(extreme[tile]) || !seen[tile];
    if (!Number.isNaN(extreme[tile]) && (larger || Number.isNaN(x[i]))) extreme[tile] = x[i];
    seen[tile] = 1;
  });
  const quiet = (values: Float32Array) => values.map((v) => Number.isNaN(v) ? NaN : v);
  a.min?.array.set(quiet(min));
  a.max?.array.set(quiet(max));
  a.extreme?.array.set(quiet(extreme));
}

/** See {@linkcode Kernels.tileError}. */
export function tileError(a: Parameters<Kernels["tileError"]>[0]): void {
  const { elements, tiles } = check.tiling(a.tiling);
  check.buffer("x", a.x, "f32", elements);
  check.buffer("y", a.y, "f32", elements);
  check.buffer("error", a.error, "f64", tiles);
  check.finite("exponent", a.exponent);
  const [x, y, error] = [a.x.array, a.y.array, a.error.array];
  error.fill(0);
  eachElement(a.tiling, (i, tile) => {
    error[tile] += Math.pow(Math.abs(fround(x[i] - y[i])), a.exponent);
  });
}

/** See {@linkcode Kernels.power}. */
export function power(a: Parameters<Kernels["power"]>[0]): void {
  check.buffer("x", a.x, "f32", a.x?.length);
  check.buffer("y", a.y, "f32", a.x.length);
  check.finite("exponent", a.exponent);
  a.y.array.set(a.x.array.map((v) => Math.pow(v, a.exponent)));
}

/** See {@linkcode Kernels.narrow}. */
export function narrow(a: Parameters<Kernels["narrow"]>[0]): void {
  check.oneOf("to", a.to, ["float16", "bfloat16"]);
  check.buffer("x", a.x, "f32", a.x?.length);
  check.buffer("bytes", a.bytes, "u8", 2 * a.x.length);
  const bytes = a.bytes.array;
  a.x.array.forEach((v, i) => {
    const half = a.to === "float16" ? toHalf(v) : toBrain(v);
    bytes[2 * i] = half & 255;
    bytes[2 * i + 1] = half >> 8;
  });
}

function toBrain(v: number): number {
  const bits = bitsOf(v);
  if (Number.isNaN(v)) return bits >>> 16 | 0x40;
  return rint(bits / 65536) & 0xffff;
}

/** The significand is rounded to whole multiples of the spacing of float16 at its size. */
function toHalf(v: number): number {
  const sign = bitsOf(v) >>> 16 & 0x8000;
  const size = Math.abs(v);
  if (Number.isNaN(v)) return sign | 0x7e00 | bitsOf(v) >>> 13 & 0x3ff;
  if (size >= 65520) return sign | 0x7c00;
  const exponent = Math.max((bitsOf(v) >>> 23 & 255) - 127, -14);
  const significand = rint(size / 2 ** (exponent - 10));
  // a significand that reaches 2048 carries into the exponent, as it should
  return sign | (significand < 1024 ? significand : (exponent + 14) * 1024 + significand);
}

/** See {@linkcode Kernels.widen}. */
export function widen(a: Parameters<Kernels["widen"]>[0]): void {
  check.oneOf("from", a.from, ["float16", "bfloat16"]);
  check.buffer("y", a.y, "f32", a.y?.length);
  check.buffer("bytes", a.bytes, "u8", 2 * a.y.length);
  const bytes = a.bytes.array;
  const y = new Uint32Array(a.y.array.buffer, a.y.array.byteOffset, a.y.length);
  for (let i = 0; i < y.length; i++) {
    const half = bytes[2 * i] | bytes[2 * i + 1] << 8;
    y[i] = a.from === "bfloat16" ? half << 16 : widenHalf(half);
  }
}

function widenHalf(half: number): number {
  const [sign, exponent, mantissa] = [(half & 0x8000) << 16, half >> 10 & 31, half & 0x3ff];
  if (exponent === 31) return sign | 0x7f800000 | mantissa << 13;
  const value = exponent ? (1024 + mantissa) * 2 ** (exponent - 25) : mantissa * 2 ** -24;
  return sign | bitsOf(value);
}
