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
  // Each stays 0 for finite values, and becomes NaN otherwise; four, so that none waits for another.
  let [a, b, c, d] = [0, 0, 0, 0];
  const whole = values.length & ~3;
  for (let i = 0; i < whole; i += 4) {
    a += values[i] * 0;
    b += values[i + 1] * 0;
    c += values[i + 2] * 0;
    d += values[i + 3] * 0;
  }
  for (let i = whole; i < values.length; i++) a += values[i] * 0;
  return a + b + c + d === 0;
}
