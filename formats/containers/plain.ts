/**
 * Plain tensors: stored bytes to f32 and back.
 *
 * @module
 */

import { PLAIN_BYTES, type PlainType } from "../../spec/checkpoint.ts";
import { LowbitError } from "../../spec/errors.ts";
import { numberFormat } from "../lookup.ts";
import { decodeTable, encodeElement } from "../reference.ts";

/** Whether bytes of this machine are in little-endian order, as all containers want them. */
const LITTLE = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

/** The bytes at an aligned place of their own, so that a typed array can look at them. */
function aligned(bytes: Uint8Array, size: number): Uint8Array<ArrayBuffer> {
  const whole = bytes.byteOffset % size === 0 && bytes.buffer instanceof ArrayBuffer;
  const own = whole && LITTLE ? bytes as Uint8Array<ArrayBuffer> : new Uint8Array(bytes);
  return LITTLE ? own : swapped(own, size);
}

/** Reverses every element of `size` bytes in place. */
function swapped(bytes: Uint8Array<ArrayBuffer>, size: number): Uint8Array<ArrayBuffer> {
  for (let i = 0; i < bytes.length; i += size) bytes.subarray(i, i + size).reverse();
  return bytes;
}

/**
 * The values of little-endian `bytes` of a plain type as f32.
 *
 * Exact for every type of 16 bits or fewer and for float32. float64 and integers of 32 and 64 bits
 * are rounded to the nearest f32 where they are not representable.
 *
 * @example
 * ```ts
 * import { decodePlain } from "./plain.ts";
 * decodePlain("bfloat16", new Uint8Array([0xc0, 0x3f])); // Float32Array [1.5]
 * ```
 */
export function decodePlain(type: PlainType, bytes: Uint8Array): Float32Array<ArrayBuffer> {
  const size = PLAIN_BYTES[type];
  if (bytes.length % size !== 0) {
    throw new LowbitError("SHAPE", `${bytes.length} bytes are not whole elements of ${type}`);
  }
  const count = bytes.length / size;
  if (size < 1) return lookUp(tableOf(type), bitCodes(bytes, 8 * size, count));
  const data = aligned(bytes, size);
  const [buffer, at] = [data.buffer, data.byteOffset];
  switch (type) {
    case "float32":
      return new Float32Array(buffer, at, count).slice();
    case "float64":
      return Float32Array.from(new Float64Array(buffer, at, count));
    case "bfloat16": {
      const source = new Uint16Array(buffer, at, count);
      const out = new Uint32Array(count);
      for (let i = 0; i < count; i++) out[i] = source[i] << 16;
      return new Float32Array(out.buffer);
    }
    case "float16":
      return lookUp(tableOf(type), new Uint16Array(buffer, at, count));
    case "float8_e4m3fn":
    case "float8_e4m3fnuz":
    case "float8_e5m2":
    case "float8_e5m2fnuz":
    case "float8_e8m0fnu":
    case "float6_e2m3fn":
    case "float6_e3m2fn":
    case "float4_e2m1fn":
      return lookUp(tableOf(type), data);
    case "int64":
      return big(new BigInt64Array(buffer, at, count));
    case "uint64":
      return big(new BigUint64Array(buffer, at, count));
    case "int32":
      return Float32Array.from(new Int32Array(buffer, at, count));
    case "uint32":
      return Float32Array.from(new Uint32Array(buffer, at, count));
    case "int16":
      return Float32Array.from(new Int16Array(buffer, at, count));
    case "uint16":
      return Float32Array.from(new Uint16Array(buffer, at, count));
    case "int8":
      return Float32Array.from(new Int8Array(buffer, at, count));
    case "uint8":
      return Float32Array.from(data);
    case "bool":
      return Float32Array.from(data, (value) => value === 0 ? 0 : 1);
  }
}

/** Codes of fewer than 8 bits out of a stream of bits, low first. */
function bitCodes(bytes: Uint8Array, bits: number, count: number): Uint8Array {
  const out = new Uint8Array(count);
  const mask = (1 << bits) - 1;
  for (let i = 0; i < count; i++) {
    const at = i * bits;
    const pair = bytes[at >> 3] | ((bytes[(at >> 3) + 1] ?? 0) << 8);
    out[i] = (pair >> (at & 7)) & mask;
  }
  return out;
}

const tables = new Map<string, Float32Array>();

/** The values of all codes of a number format; made once. */
function tableOf(id: string): Float32Array {
  let table = tables.get(id);
  if (!table) tables.set(id, table = decodeTable(numberFormat(id)));
  return table;
}

function lookUp(table: Float32Array, codes: Uint8Array | Uint16Array): Float32Array<ArrayBuffer> {
  const out = new Float32Array(codes.length);
  for (let i = 0; i < codes.length; i++) out[i] = table[codes[i]];
  return out;
}

function big(values: BigInt64Array | BigUint64Array): Float32Array<ArrayBuffer> {
  const out = new Float32Array(values.length);
  for (let i = 0; i < values.length; i++) out[i] = roundOnce(values[i]);
  return out;
}

/** f32 nearest to an integer, rounded once: bits that f64 would drop are kept as a sticky bit. */
function roundOnce(value: bigint): number {
  const magnitude = value < 0n ? -value : value;
  if (magnitude < 1n << 53n) return Number(value);
  const kept = (magnitude >> 12n) << 12n;
  const sticky = kept === magnitude ? kept : kept | (1n << 12n);
  return value < 0n ? -Number(sticky) : Number(sticky);
}

/**
 * Little-endian bytes of f32 values in a float type of 16 or 32 bits, rounded to nearest even.
 *
 * @example
 * ```ts
 * import { encodePlain } from "./plain.ts";
 * encodePlain("float16", new Float32Array([1.5])); // Uint8Array [0x00, 0x3e]
 * ```
 */
export function encodePlain(
  type: "float32" | "float16" | "bfloat16",
  values: Float32Array,
): Uint8Array<ArrayBuffer> {
  if (type === "float32") {
    return little(new Uint8Array(values.slice().buffer), 4);
  }
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const cast = type === "float16" ? halfOf : brainOf;
  const out = new Uint16Array(values.length);
  for (let i = 0; i < out.length; i++) {
    const magnitude = words[i] & 0x7fffffff;
    out[i] = magnitude > INFINITY_BITS
      ? encodeElement(numberFormat(type), NaN)
      : cast(magnitude) | words[i] >>> 16 & 0x8000;
  }
  return little(new Uint8Array(out.buffer), 2);
}

/** The bits of an f32 infinity. */
const INFINITY_BITS = 0x7f800000;

/** Drops the lowest bits of an integer, to the nearest, ties to even. */
function dropBits(value: number, count: number): number {
  return value + (1 << count - 1) - 1 + (value >>> count & 1) >>> count;
}

/** The float16 of an f32 that is not negative, both as bits; the same as `encodeElement`. */
function halfOf(bits: number): number {
  if (bits >= 0x47800000) return 0x7c00; // 2^16 and beyond; what rounds to it carries into it
  if (bits >= 0x38800000) return dropBits(bits - 0x38000000, 13);
  if (bits < 0x33000000) return 0; // below half of the smallest
  return dropBits(bits & 0x7fffff | 0x800000, 126 - (bits >>> 23));
}

/** The bfloat16 of an f32 that is not negative, both as bits. */
function brainOf(bits: number): number {
  return dropBits(bits, 16);
}

/** Little-endian bytes of 16-bit unsigned integers. */
export function encodeUint16(values: Uint32Array): Uint8Array<ArrayBuffer> {
  return little(new Uint8Array(Uint16Array.from(values).buffer), 2);
}

/** Little-endian bytes of 32-bit unsigned integers. */
export function encodeUint32(values: Uint32Array): Uint8Array<ArrayBuffer> {
  return little(new Uint8Array(values.slice().buffer), 4);
}

/** 32-bit unsigned integers from little-endian bytes. */
export function decodeUint32(bytes: Uint8Array): Uint32Array<ArrayBuffer> {
  const data = aligned(bytes, 4);
  return new Uint32Array(data.buffer, data.byteOffset, bytes.length / 4).slice();
}

/** 64-bit signed integers as little-endian bytes. */
export function encodeInt64(values: readonly number[]): Uint8Array<ArrayBuffer> {
  return little(new Uint8Array(BigInt64Array.from(values, BigInt).buffer), 8);
}

function little(bytes: Uint8Array<ArrayBuffer>, size: number): Uint8Array<ArrayBuffer> {
  return LITTLE ? bytes : swapped(bytes, size);
}
