/**
 * Scales as a number format stores them.
 *
 * @module
 */

import { type FloatFormat, LowbitError, type ResolvedScheme } from "../spec/mod.ts";
import { numberFormat } from "./lookup.ts";
import {
  bitsToFloat,
  decodeElement,
  encodeElement,
  floatBits,
  largestFinite,
} from "./reference.ts";

const fround = Math.fround;

/**
 * What a scale becomes when it is stored in a number format and read back.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { scaleStorage } from "./scale_storage.ts";
 * assertEquals(scaleStorage("bfloat16")(1.001), 1);
 * assertEquals(scaleStorage("float8_e8m0fnu")(0.5), 0.5);
 * ```
 */
export function scaleStorage(id: string): (scale: number) => number {
  if (id === "float32") return fround;
  const format = numberFormat(id);
  const slow = (scale: number) => decodeElement(format, encodeElement(format, scale));
  return format.family === "float" && format.cast.rounding === "nearest_even" && format.subnormals
    ? roundedBits(format, slow)
    : slow;
}

/** The same for most numbers of a float format, by their bits. */
function roundedBits(format: FloatFormat, slow: (x: number) => number): (x: number) => number {
  const shift = 23 - format.mantissa;
  const half = 2 ** (shift - 1) - 1;
  const largest = largestFinite(format);
  const smallest = Math.max(2 ** -126, 2 ** (1 - format.bias)); // the smallest normal
  return (x) => {
    const bits = floatBits(x);
    const magnitude = bits & 0x7fffffff;
    const rounded = ((magnitude + half + ((magnitude >>> shift) & 1)) >>> shift) << shift;
    const value = bitsToFloat(rounded);
    const fits = value >= smallest && value <= largest && Math.abs(x) >= smallest;
    if (!fits || (!format.signed && x < 0)) return slow(x);
    return x < 0 ? -value : value;
  };
}

/** The error of a scale that the format of scales cannot hold. */
export function scaleOverflow(scheme: ResolvedScheme, scale: number): LowbitError {
  return new LowbitError(
    "NON_FINITE",
    `a scale of ${scale} cannot be stored in ${scheme.scale.format}`,
    { field: scheme.id, advice: "check the weights, or store the scales in float32" },
  );
}
