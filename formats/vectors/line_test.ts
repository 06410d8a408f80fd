import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { kMeans } from "./kmeans.ts";
import { bestEntries } from "./line.ts";
import { fixedRandom } from "./random.ts";

/** The weighted squared error of points to their nearest entries. */
function errorOf(points: Float32Array, entries: ArrayLike<number>, weights: Float32Array): number {
  const nearest = (x: number) => Math.min(...Array.from(entries, (entry) => (x - entry) ** 2));
  return points.reduce((sum, x, i) => sum + weights[i] * nearest(x), 0);
}

/** The least error over all ways to cut sorted points into so many runs. */
function leastError(points: readonly number[], weights: readonly number[], runs: number): number {
  const run = (a: number, b: number) => {
    const w = weights.slice(a, b), x = points.slice(a, b);
    const total = w.reduce((sum, value) => sum + value, 0);
    const mean = x.reduce((sum, value, i) => sum + w[i] * value, 0) / total;
    return x.reduce((sum, value, i) => sum + w[i] * (value - mean) ** 2, 0);
  };
  const cut = (from: number, left: number): number => {
    if (left === 1) return run(from, points.length);
    let least = Infinity;
    for (let b = from + 1; b <= points.length - left + 1; b++) {
      least = Math.min(least, run(from, b) + cut(b, left - 1));
    }
    return least;
  };
  return cut(0, runs);
}

const random = fixedRandom();
const draw = (count: number, value: () => number) => Float32Array.from({ length: count }, value);

Deno.test("the entries have the least error of all ways to cut the points", () => {
  for (let trial = 0; trial < 40; trial++) {
    const points = draw(9, () => 4 * random() - 2), weights = draw(9, random);
    const order = [...points.keys()].sort((a, b) => points[a] - points[b]);
    const sorted = [order.map((i) => points[i]), order.map((i) => weights[i])];
    for (const count of [1, 2, 3, 4, 8]) {
      const least = leastError(sorted[0], sorted[1], count);
      assertAlmostEquals(
        errorOf(points, bestEntries(points, count, weights), weights),
        least,
        1e-9,
      );
    }
  }
});

Deno.test("no run of Lloyd's k-means does better", () => {
  const points = draw(300, () => random() + random() - random()), weights = draw(300, random);
  const best = errorOf(points, bestEntries(points, 16, weights), weights);
  for (let trial = 0; trial < 10; trial++) {
    const { table } = kMeans({ points, dimension: 1, entries: 16, weights, random });
    assert(errorOf(points, table, weights) >= best - 1e-9);
  }
});

Deno.test("few points, equal points and points without weight", () => {
  assertEquals([...bestEntries(Float32Array.of(3, 1), 4)], [1, 3, 3, 3]);
  assertEquals([...bestEntries(Float32Array.of(2, 2, 2), 2)], [2, 2]);
  assertEquals([...bestEntries(Float32Array.of(9, 1, 5), 2, Float32Array.of(0, 1, 1))], [1, 5]);
  assertEquals([...bestEntries(Float32Array.of(9, 1), 2, Float32Array.of(0, 0))], [0, 0]);
  assertEquals([...bestEntries(new Float32Array(0), 2)], [0, 0]);
});
