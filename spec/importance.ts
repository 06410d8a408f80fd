/**
 * The importance matrix of a model: the mean squares of the inputs of its linears, as llama.cpp
 * collects them, under the names that tensors have in GGUF.
 *
 * @module
 */

import { LowbitError } from "./errors.ts";

/** What was seen of the inputs of one weight; of one after the other where experts are stacked. */
export interface InputSquares {
  /** Sums of squares of each input channel, `[matrices, columns]`. */
  sums: Float64Array;
  /** Rows that were seen, `[matrices]`. */
  counts: Float64Array;
}

/** An importance matrix. */
export interface ImportanceMatrix {
  /** The names of what it was collected on. */
  datasets: string[];
  /** Windows of that. */
  chunks: number;
  /** Tokens of a window. */
  chunkSize: number;
  /** By the name of the weight in GGUF. */
  entries: Map<string, InputSquares>;
}

/**
 * The mean squares of one of the stacked matrices of an entry; undefined where nothing was seen.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { meanSquares } from "./importance.ts";
 * const entry = { sums: Float64Array.of(2, 8, 0, 0), counts: Float64Array.of(4, 0) };
 * assertEquals(meanSquares(entry), Float32Array.of(0.5, 2));
 * assertEquals(meanSquares(entry, 1), undefined);
 * ```
 */
export function meanSquares(
  { sums, counts }: InputSquares,
  matrix = 0,
): Float32Array | undefined {
  const count = counts[matrix], columns = sums.length / counts.length;
  if (!(count > 0)) return undefined;
  return Float32Array.from(
    sums.subarray(matrix * columns, (matrix + 1) * columns),
    (sum) => sum / count,
  );
}

/**
 * What two matrices of one model have seen together. `SHAPE` where an entry has other channels.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { type ImportanceMatrix, mergeImportance } from "./importance.ts";
 * const seen = (sum: number): ImportanceMatrix => ({
 *   datasets: ["a.txt"],
 *   chunks: 1,
 *   chunkSize: 512,
 *   entries: new Map([["w", { sums: Float64Array.of(sum), counts: Float64Array.of(4) }]]),
 * });
 * const both = mergeImportance(seen(1), seen(5));
 * assertEquals([both.chunks, both.entries.get("w")!.sums[0], both.datasets], [2, 6, ["a.txt"]]);
 * ```
 */
export function mergeImportance(a: ImportanceMatrix, b: ImportanceMatrix): ImportanceMatrix {
  const entries = new Map(
    [...a.entries].map(([name, { sums, counts }]) => [
      name,
      { sums: sums.slice(), counts: counts.slice() },
    ]),
  );
  for (const [name, { sums, counts }] of b.entries) {
    const mine = entries.get(name);
    if (!mine) {
      entries.set(name, { sums: sums.slice(), counts: counts.slice() });
      continue;
    }
    if (mine.sums.length !== sums.length || mine.counts.length !== counts.length) {
      throw new LowbitError("SHAPE", `has ${sums.length} channels, not ${mine.sums.length}`, {
        field: name,
        advice: "merge importance matrices of one model only",
      });
    }
    sums.forEach((sum, i) => mine.sums[i] += sum);
    counts.forEach((count, i) => mine.counts[i] += count);
  }
  return {
    datasets: [...new Set([...a.datasets, ...b.datasets])],
    chunks: a.chunks + b.chunks,
    chunkSize: a.chunkSize || b.chunkSize,
    entries,
  };
}

/** The least weight of a channel, as a share of the mean: those that saw zeros still have scales. */
const LEAST_SHARE = 1e-6;

/**
 * Mean squares as weights of the errors of columns, for `Codec.quantize`; undefined without any.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { channelWeights } from "./importance.ts";
 * assertEquals(channelWeights([3, 1, 0]), Float32Array.of(3, 1, 4e-6 / 3));
 * assertEquals(channelWeights([0, 0]), undefined);
 * ```
 */
export function channelWeights(meanSquare?: ArrayLike<number>): Float32Array | undefined {
  if (!meanSquare) return undefined;
  let sum = 0;
  for (let i = 0; i < meanSquare.length; i++) sum += meanSquare[i];
  if (!(sum > 0)) return undefined;
  const least = LEAST_SHARE * sum / meanSquare.length;
  return Float32Array.from(meanSquare, (value) => Math.max(value, least));
}
