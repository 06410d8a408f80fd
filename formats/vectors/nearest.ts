/**
 * Nearest entries of a table, exactly: all distances are f64, and of equal ones the first wins.
 *
 * @module
 */

import { EntryTree } from "./entry_tree.ts";

/** Entries and points from which on a tree is quicker than trying all. */
const TREE = { entries: 128, points: 64 };

/** Vectors one after the other, each of `dimension` numbers. */
export type Vectors = Float32Array | Float64Array;

/**
 * `sum_j w_j (point_j - entry_j)^2`, given up once it exceeds `limit`; offsets count numbers.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { squaredDistance } from "./nearest.ts";
 * const [a, b] = [Float32Array.of(1, 2), Float32Array.of(3, 5)];
 * assertEquals(squaredDistance(a, 0, b, 0, 2), 4 + 9);
 * ```
 */
export function squaredDistance(
  points: Vectors,
  p: number,
  table: Vectors,
  t: number,
  dimension: number,
  weights?: Vectors,
  limit = Infinity,
): number {
  let sum = 0;
  for (let j = 0; j < dimension; j++) {
    const difference = points[p + j] - table[t + j];
    sum += weights ? weights[p + j] * difference * difference : difference * difference;
    if (sum > limit) return sum;
  }
  return sum;
}

/**
 * The index of the nearest entry of `table` for every point, with its squared distance; `weights`
 * are one for each number of `points`. A good `guess` of the indices saves time and changes nothing.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { nearestEntries } from "./nearest.ts";
 * const table = Float32Array.of(0, 0, 1, 1);
 * const { indices } = nearestEntries(Float32Array.of(0.9, 0.4, 0.1, 0.1), table, 2);
 * assertEquals([...indices], [1, 0]);
 * ```
 */
export function nearestEntries(
  points: Vectors,
  table: Vectors,
  dimension: number,
  weights?: Float32Array,
  guess?: Uint32Array,
): { indices: Uint32Array; distances: Float64Array } {
  const count = points.length / dimension;
  const indices = new Uint32Array(count);
  const distances = new Float64Array(count);
  const entries = Float64Array.from(table);
  const point = new Float64Array(dimension);
  const weight = new Float64Array(dimension).fill(1);
  const large = entries.length / dimension >= TREE.entries && count >= TREE.points;
  const tree = large ? new EntryTree(entries, dimension) : undefined;
  for (let i = 0; i < count; i++) {
    const at = i * dimension;
    for (let j = 0; j < dimension; j++) {
      point[j] = points[at + j];
      if (weights) weight[j] = weights[at + j];
    }
    let best = guess ? guess[i] : 0;
    let least = squaredDistance(point, 0, entries, best * dimension, dimension, weights && weight);
    if (tree) {
      tree.query(point, weight, best, least);
      [best, least] = [tree.index, tree.distance];
    }
    for (let t = tree ? entries.length : 0, entry = 0; t < entries.length; entry++) {
      const end = t + dimension;
      let sum = 0;
      for (let j = 0; t < end && sum <= least; t++, j++) {
        const difference = point[j] - entries[t];
        sum += weight[j] * difference * difference;
      }
      // A sum that was given up is larger, so that an equal one is whole.
      if (sum < least || (sum === least && entry < best)) [best, least] = [entry, sum];
      t = end;
    }
    indices[i] = best;
    distances[i] = least;
  }
  return { indices, distances };
}
