/**
 * What tests of models share.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import type { CachePolicy } from "../spec/mod.ts";

/** The largest difference between values and golden rows. */
export function largestDifference(actual: Float32Array, expected: number[][]): number {
  const flat = expected.flat();
  assertEquals(actual.length, flat.length);
  return actual.reduce((most, x, i) => Math.max(most, Math.abs(x - flat[i])), 0);
}

/** Everything that a source yields. */
export async function collect<T>(source: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = [];
  for await (const item of source) items.push(item);
  return items;
}

/** Keeps everything, as a plugin would. */
export function plainPolicy(): CachePolicy {
  let keys = new Float32Array(0), values = new Float32Array(0), length = 0;
  const append = (old: Float32Array, more: Float32Array) => Float32Array.of(...old, ...more);
  return {
    append(k, v, tokens) {
      keys = append(keys, k);
      values = append(values, v);
      length += tokens;
    },
    read: () => ({ keys, values, length }),
    truncate() {},
    get bytes() {
      return 4 * (keys.length + values.length);
    },
  };
}
