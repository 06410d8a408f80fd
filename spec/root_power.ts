/**
 * Powers by exactly rounded steps, so that every machine gives the same bits.
 *
 * @module
 */

/**
 * `a^power` for a of at least 0 and a power of 0 to 1: products of repeated square roots.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { rootPower } from "./root_power.ts";
 * assertEquals([rootPower(16, 0.5), rootPower(16, 0.75), rootPower(16, 1)], [4, 8, 16]);
 * ```
 */
export function rootPower(a: number, power: number): number {
  let [root, rest, result] = [a, power, 1];
  for (let bit = 0; bit < 40 && rest > 0; bit++) {
    if (rest >= 1) [result, rest] = [result * root, rest - 1];
    [root, rest] = [Math.sqrt(root), rest * 2];
  }
  return result;
}
