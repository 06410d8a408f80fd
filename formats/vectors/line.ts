/**
 * Tables of single numbers: the best ones there are.
 *
 * @module
 */

/**
 * The entries of least `sum w (x - entry)^2`, in rising order: weighted k-means of numbers, solved
 * exactly. Of sorted points, each entry has a run; the best runs of the first points with one entry
 * more are found from those with one less, and where runs start never falls as points are added, so
 * that halving the range finds all starts in `points log points` steps (Gronlund et al. 2017, arXiv
 * 1701.07204). Points of equal value are one. Where fewer values than entries have a weight, the last
 * is repeated.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { bestEntries } from "./line.ts";
 * assertEquals([...bestEntries(Float32Array.of(11, 0, 1, 10), 2)], [0.5, 10.5]);
 * ```
 */
export function bestEntries(
  points: Float32Array,
  entries: number,
  weights?: Float32Array,
): Float64Array {
  const { w, x, xx, count } = prefixSums(points, weights);
  /** The error of the run of points from `a` to before `b`. */
  const error = (a: number, b: number) => {
    const weight = w[b] - w[a], sum = x[b] - x[a];
    return weight > 0 ? Math.max(0, xx[b] - xx[a] - sum * sum / weight) : 0;
  };
  let least = Float64Array.from({ length: count + 1 }, (_, b) => error(0, b));
  const starts: Uint32Array[] = [];
  const runs = Math.max(1, Math.min(entries, count));
  for (let k = 1; k < runs; k++) {
    const next = new Float64Array(count + 1), start = new Uint32Array(count + 1);
    const solve = (low: number, high: number, from: number, to: number) => {
      if (low > high) return;
      const b = (low + high) >> 1;
      let best = Infinity;
      for (let a = Math.min(from, b); a <= Math.min(to, b); a++) {
        const total = least[a] + error(a, b);
        if (total < best) {
          best = total;
          start[b] = a;
        }
      }
      next[b] = best;
      solve(low, b - 1, from, start[b]);
      solve(b + 1, high, start[b], to);
    };
    solve(0, count, 0, count);
    starts.push(start);
    least = next;
  }
  const table = new Float64Array(entries);
  let b = count;
  for (let k = runs - 1; k >= 0; k--) {
    const a = k > 0 ? starts[k - 1][b] : 0;
    const weight = w[b] - w[a];
    table[k] = weight > 0 ? (x[b] - x[a]) / weight : k + 1 < runs ? table[k + 1] : 0;
    b = a;
  }
  return table.fill(table[runs - 1], runs);
}

/** Sums of weights, and of them times values and squares, over the first of the sorted points. */
function prefixSums(points: Float32Array, weights?: Float32Array) {
  const order = Uint32Array.from(points.keys()).filter((i) => !weights || weights[i] > 0)
    .sort((a, b) => points[a] - points[b] || a - b);
  const count = order.length;
  const [w, x, xx] = [0, 1, 2].map(() => new Float64Array(count + 1));
  order.forEach((i, n) => {
    const weight = weights ? weights[i] : 1, value = points[i];
    w[n + 1] = w[n] + weight;
    x[n + 1] = x[n] + weight * value;
    xx[n + 1] = xx[n] + weight * value * value;
  });
  return { w, x, xx, count };
}
