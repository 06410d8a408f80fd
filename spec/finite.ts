/**
 * NaN and infinities.
 *
 * @module
 */

/**
 * Whether all values are finite, at the speed of reading them.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { allFinite } from "./finite.ts";
 * assertEquals(allFinite(Float32Array.of(0, -1e38)), true);
 * assertEquals(allFinite(Float32Array.of(0, Infinity)), false);
 * ```
 */
export function allFinite(values: Readonly<Float32Array>): boolean {
  let zero = 0; // stays 0 for finite values, becomes NaN otherwise
  for (let i = 0; i < values.length; i++) zero += values[i] * 0;
  return zero === 0;
}
