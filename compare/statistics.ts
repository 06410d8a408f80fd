/**
 * What comparisons add up: histograms, kurtosis, losses of tokens, paired differences, fronts.
 *
 * @module
 */

import { meanAndError } from "../engine/choices.ts";
import type { Evaluator } from "../spec/mod.ts";
import type { Difference, Histogram } from "./document.ts";

/** Counts values over bins of equal width; what lies outside falls into the first or last one. */
export function histogram(
  values: ArrayLike<number>,
  start: number,
  width: number,
  bins: number,
): Histogram {
  const counts = new Array<number>(bins).fill(0);
  for (let i = 0; i < values.length; i++) {
    const bin = Math.floor((values[i] - start) / width);
    counts[Math.max(0, Math.min(bins - 1, bin))]++;
  }
  return { start, width, counts };
}

/** A histogram over the whole range of the values. */
export function rangeHistogram(values: ArrayLike<number>, bins: number): Histogram {
  let [low, high] = [Infinity, -Infinity];
  for (let i = 0; i < values.length; i++) {
    low = Math.min(low, values[i]);
    high = Math.max(high, values[i]);
  }
  if (!(high > low)) [low, high] = [low - 0.5, low + 0.5];
  return histogram(values, low, (high - low) / bins, bins);
}

/** The fourth central moment over the square of the second; 3 for a normal distribution. */
export function kurtosis(values: ArrayLike<number>): number {
  const n = values.length;
  let mean = 0;
  for (let i = 0; i < n; i++) mean += values[i] / n;
  let [second, fourth] = [0, 0];
  for (let i = 0; i < n; i++) {
    const square = (values[i] - mean) ** 2;
    second += square;
    fourth += square * square;
  }
  return second === 0 ? 0 : n * fourth / (second * second);
}

/** The middle value. */
export function median(values: Iterable<number>): number {
  const sorted = Float64Array.from(values).sort();
  const half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

/** An evaluator that keeps the negative log-likelihood of every scored token, by window. */
export class TokenLosses implements Evaluator {
  /** Losses in nats, by window. */
  readonly windows: number[][] = [];

  /** Takes some positions. */
  add(chunk: Parameters<Evaluator["add"]>[0]): void {
    const values = chunk.logProbabilities.array;
    const losses = this.windows[chunk.window ?? 0] ??= [];
    chunk.targets.forEach((target, row) =>
      losses.push(Math.fround(-values[row * chunk.vocabulary + target]))
    );
  }

  /** No figures: the losses are what is wanted. */
  result(): Record<string, number> {
    return {};
  }
}

/** The paired difference of two models on the same tokens. */
export function pairedDifference(
  a: { name: string; losses: readonly (readonly number[])[] },
  b: { name: string; losses: readonly (readonly number[])[] },
): Difference {
  const windows = a.losses.map((losses, i) => losses.map((loss, j) => loss - b.losses[i][j]));
  const tokens = windows.flat();
  const [nll, standard_error] = meanAndError(tokens);
  const result: Difference = { a: a.name, b: b.name, nll, standard_error };
  if (windows.length < 2) return result;
  // Windows as clusters: the error of a ratio of sums, so that windows may differ in length.
  const sums = windows.map((d) => d.reduce((sum, x) => sum + x - result.nll, 0));
  const n = windows.length;
  const spread = sums.reduce((sum, x) => sum + x * x, 0) * n / (n - 1);
  return { ...result, standard_error_windows: Math.sqrt(spread) / tokens.length };
}

/** Whether each point is on the front: none is at most as large and as bad, and better in one. */
export function paretoFront(points: readonly { size: number; cost: number }[]): boolean[] {
  return points.map((point) =>
    !points.some((other) =>
      other.size <= point.size && other.cost <= point.cost &&
      (other.size < point.size || other.cost < point.cost)
    )
  );
}
