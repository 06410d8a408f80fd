/**
 * Scales and minima as bytes, in the number format that a scheme names.
 *
 * Values are stored as they read back: writing a number that the format cannot hold exactly is an
 * error, so that nothing is rounded twice.
 *
 * @module
 */

import type { PlainType } from "../../spec/checkpoint.ts";
import { LowbitError } from "../../spec/errors.ts";
import { numberFormat, numberFormats } from "../lookup.ts";
import { decodeTable } from "../reference.ts";
import { decodePlain, encodePlain } from "./plain.ts";

/** Formats of scales that are plain types of every container. */
type FloatScale = "float32" | "float16" | "bfloat16";

function isFloat(format: string): format is FloatScale {
  return format === "float32" || format === "float16" || format === "bfloat16";
}

/**
 * The plain type that holds scales of a format: itself for floats of 16 and 32 bits, `uint8` for
 * formats of 8 bits or fewer (one code a byte), `uint16` for other formats of the catalog.
 */
export function scaleStorageType(format: string): PlainType | undefined {
  if (isFloat(format)) return format;
  if (!numberFormats.has(format)) return undefined;
  return numberFormat(format).bits <= 8 ? "uint8" : "uint16";
}

/** Bytes of one scale; error `FORMAT` if scales of this format cannot be stored. */
export function scaleBytes(format: string): number {
  if (isFloat(format)) return format === "float32" ? 4 : 2;
  const type = scaleStorageType(format);
  if (type) return type === "uint8" ? 1 : 2;
  throw new LowbitError("FORMAT", `scales of ${format} cannot be stored`, {
    advice: "use float32, float16, bfloat16 or a number format of the catalog",
  });
}

/**
 * Little-endian bytes of scales. Error `FORMAT` for a scale that the format cannot hold.
 *
 * @example
 * ```ts
 * import { decodeScales, encodeScales } from "./scales.ts";
 * const bytes = encodeScales("float8_e8m0fnu", new Float32Array([0.5, 1, 8])); // 126, 127, 130
 * decodeScales("float8_e8m0fnu", bytes); // Float32Array [0.5, 1, 8]
 * ```
 */
export function encodeScales(format: string, scales: Float32Array): Uint8Array<ArrayBuffer> {
  const bytes = isFloat(format) ? encodePlain(format, scales) : encodeCodes(format, scales);
  const back = decodeScales(format, bytes);
  for (let i = 0; i < scales.length; i++) {
    if (!Object.is(back[i], scales[i])) {
      throw new LowbitError("FORMAT", `the scale ${scales[i]} is not a number of ${format}`, {
        advice: "round scales to the format that the scheme stores them in",
      });
    }
  }
  return bytes;
}

/** Scales from little-endian bytes; exact. */
export function decodeScales(format: string, bytes: Uint8Array): Float32Array<ArrayBuffer> {
  if (isFloat(format)) return decodePlain(format, bytes);
  const width = scaleBytes(format);
  const table = tableOf(format);
  const out = new Float32Array(bytes.length / width);
  for (let i = 0; i < out.length; i++) {
    const code = width === 1 ? bytes[i] : bytes[2 * i] + 256 * bytes[2 * i + 1];
    out[i] = code < table.length ? table[code] : NaN;
  }
  return out;
}

const tables = new Map<string, Float32Array>();

function tableOf(format: string): Float32Array {
  let table = tables.get(format);
  if (!table) tables.set(format, table = decodeTable(numberFormat(format)));
  return table;
}

function encodeCodes(format: string, scales: Float32Array): Uint8Array<ArrayBuffer> {
  const codes = new Map<number, number>();
  tableOf(format).forEach((value, code) => {
    // A Map does not tell -0 from 0; the check after encoding does.
    if (!codes.has(value)) codes.set(value, code);
  });
  if (scaleBytes(format) === 1) return Uint8Array.from(scales, (scale) => codes.get(scale) ?? 0);
  return Uint8Array.from({ length: 2 * scales.length }, (_, i) => {
    const code = codes.get(scales[i >> 1]) ?? 0;
    return i % 2 === 0 ? code % 256 : code >> 8;
  });
}
