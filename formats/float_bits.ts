/**
 * Numbers as f32: their bits, their exponents, and their rounding to integers.
 *
 * @module
 */

import { type Cast, LowbitError } from "../spec/mod.ts";

/**
 * Rounds a real number (exact in f64) to an integer; `isEven` decides ties to even, and `random` in
 * `[0, 1)` stochastic rounding, which goes up where it is below the distance from the lower integer.
 */
export function roundToInteger(
  x: number,
  rounding: Cast["rounding"],
  isEven: (lower: number) => boolean,
  random?: number,
): number {
  const lower = Math.floor(x);
  const rest = x - lower;
  if (rest === 0) return lower;
  const upper = lower + 1;
  const awayFromZero = x < 0 ? lower : upper;
  const towardZero = x < 0 ? upper : lower;
  if (rounding === "toward_zero") return towardZero;
  if (rounding === "up") return upper;
  if (rounding === "down") return lower;
  if (rounding === "stochastic") return needRandom(random) < rest ? upper : lower;
  if (rest !== 0.5) return rest < 0.5 ? lower : upper;
  switch (rounding) {
    case "half_away":
      return awayFromZero;
    case "half_toward_zero":
      return towardZero;
    case "half_up":
      return upper;
    case "half_down":
      return lower;
    default:
      return isEven(towardZero) ? towardZero : awayFromZero;
  }
}

/** A random number that a stochastic cast must be given. */
export function needRandom(random: number | undefined): number {
  if (random !== undefined) return random;
  throw new LowbitError("FORMAT", "stochastic rounding needs random numbers", {
    advice: "it is for `formats encode` and for the reference, not for schemes",
  });
}

/**
 * floor(log2(a)) of a positive f32, exactly.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { exponentOf } from "./float_bits.ts";
 * assertEquals([7.9, 8, 2 ** -149].map(exponentOf), [2, 3, -149]);
 * ```
 */
export function exponentOf(a: number): number {
  const bits = floatBits(a);
  const stored = (bits >>> 23) & 0xff;
  return stored === 0 ? 31 - Math.clz32(bits & 0x7fffff) - 149 : stored - 127;
}

const scratch = new Float32Array(1);
const scratchBits = new Uint32Array(scratch.buffer);

/**
 * The bits of a number rounded to f32.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { floatBits } from "./float_bits.ts";
 * assertEquals([1, -0].map(floatBits), [0x3f800000, 0x80000000]);
 * ```
 */
export function floatBits(x: number): number {
  scratch[0] = x;
  return scratchBits[0];
}

/**
 * The f32 with these bits.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { bitsToFloat } from "./float_bits.ts";
 * assertEquals([0x3f800000, 0x7f800000].map(bitsToFloat), [1, Infinity]);
 * ```
 */
export function bitsToFloat(bits: number): number {
  scratchBits[0] = bits;
  return scratch[0];
}

/** Whether the sign bit is set, also of -0. */
export function isNegative(x: number): boolean {
  return x < 0 || Object.is(x, -0);
}

/**
 * Rounds to the nearest integer, ties to even.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { roundHalfEven } from "./float_bits.ts";
 * assertEquals([0.5, 1.5, 2.5, -2.6].map(roundHalfEven), [0, 2, 2, -3]);
 * ```
 */
export function roundHalfEven(x: number): number {
  return roundToInteger(x, "nearest_even", (lower) => lower % 2 === 0);
}
