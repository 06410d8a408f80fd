/**
 * K-means: how tables are learned.
 *
 * @module
 */

import { nearestEntries, squaredDistance, type Vectors } from "./nearest.ts";
import { fixedRandom } from "./random.ts";

/** What k-means works on. */
export interface KMeansArguments {
  /** The points, one after the other. */
  points: Vectors;
  /** Numbers of a point. */
  dimension: number;
  /** Entries of the table. */
  entries: number;
  /** Weights of squared errors, one for each number of `points`. */
  weights?: Float32Array;
  /** Random numbers in `[0, 1)` for the first entries. */
  random?: () => number;
  /** The first entries, instead of chosen ones. */
  initial?: Vectors;
  /** The most rounds; it ends before when no point moves. */
  iterations?: number;
  /** It also ends when a round lowers the error by less than this share of it. */
  tolerance?: number;
}

/** Operations that choosing the first entries by k-means++ may take. */
const MOST_SEEDING = 4e9;

/**
 * Lloyd's k-means: each point goes to its nearest entry, each entry becomes the (weighted) mean of
 * its points; an entry without points stays. The first entries are chosen by k-means++ (Arthur and
 * Vassilvitskii 2007), or, where that would take too long, at random. `errors` has the sum of
 * squared errors before each round; it never rises.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { kMeans } from "./kmeans.ts";
 * const points = Float32Array.of(0, 1, 10, 11);
 * const { table } = kMeans({ points, dimension: 1, entries: 2, initial: Float32Array.of(0, 1) });
 * assertEquals([...table], [0.5, 10.5]);
 * ```
 */
export function kMeans(args: KMeansArguments): { table: Float64Array; errors: number[] } {
  const { points, dimension, entries, weights, iterations = 25, tolerance = 0 } = args;
  const table = args.initial ? Float64Array.from(args.initial) : firstEntries(args);
  const errors: number[] = [];
  let before: Uint32Array | undefined;
  for (let round = 0; round < iterations; round++) {
    const { indices, distances } = nearestEntries(points, table, dimension, weights, before);
    errors.push(distances.reduce((sum, distance) => sum + distance, 0));
    if (before?.every((index, i) => index === indices[i])) break;
    if (round > 0 && errors[round - 1] - errors[round] < tolerance * errors[round]) break;
    before = indices;
    const sums = new Float64Array(entries * dimension);
    const totals = new Float64Array(entries * dimension);
    for (let i = 0; i < indices.length; i++) {
      for (let j = 0; j < dimension; j++) {
        const [from, to] = [i * dimension + j, indices[i] * dimension + j];
        const weight = weights ? weights[from] : 1;
        sums[to] += weight * points[from];
        totals[to] += weight;
      }
    }
    for (let k = 0; k < table.length; k++) if (totals[k] > 0) table[k] = sums[k] / totals[k];
  }
  return { table, errors };
}

/** The first entries: points, far from each other by chance. */
function firstEntries(args: KMeansArguments): Float64Array {
  const { points, dimension, entries, weights, random = fixedRandom() } = args;
  const count = points.length / dimension;
  const table = new Float64Array(entries * dimension);
  const put = (entry: number, point: number) => {
    const from = point * dimension;
    table.set(points.subarray(from, from + dimension), entry * dimension);
  };
  if (count <= entries) {
    for (let i = 0; i < entries && count > 0; i++) put(i, i % count);
    return table;
  }
  if (points.length * entries > MOST_SEEDING) {
    for (const [entry, point] of someOf(count, entries, random).entries()) put(entry, point);
    return table;
  }
  const nearest = new Float64Array(count).fill(Infinity);
  let chosen = Math.floor(random() * count);
  for (let entry = 0;; entry++) {
    put(entry, chosen);
    if (entry + 1 === entries) return table;
    let total = 0;
    for (let i = 0; i < count; i++) {
      const distance = squaredDistance(
        points,
        i * dimension,
        table,
        entry * dimension,
        dimension,
        weights,
        nearest[i],
      );
      if (distance < nearest[i]) nearest[i] = distance;
      total += nearest[i];
    }
    // A point is chosen with the probability of its squared distance.
    let left = random() * total;
    chosen = 0;
    while (chosen < count - 1 && (left -= nearest[chosen]) >= 0) chosen++;
  }
}

/** Some of the numbers below `count`, all different, in the order in which they are drawn. */
function someOf(count: number, some: number, random: () => number): number[] {
  const chosen = new Set<number>();
  while (chosen.size < some) chosen.add(Math.floor(random() * count));
  return [...chosen];
}
