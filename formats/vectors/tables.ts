/**
 * Learned tables: look-up tables, vector quantisation, additive codebooks.
 *
 * @module
 */

import type { LookupFormat, VectorEncodeOptions, VectorShape } from "../../spec/mod.ts";
import { elementWeights, type Encoded, type VectorCoder } from "./coder.ts";
import { roundEntries } from "./entries.ts";
import { kMeans } from "./kmeans.ts";
import { bestEntries } from "./line.ts";
import { nearestEntries, squaredDistance } from "./nearest.ts";

/** Points an entry that tables are learned from; more change little. */
const TRAINING = 128;
/** Learning ends when a round lowers the error by less than this share of it. */
const TOLERANCE = 5e-4;
/** Partial sums that are kept for each vector while additive codes are chosen. */
const BEAM = 4;

/** The coder of learned tables. */
export class TableCoder implements VectorCoder {
  readonly #format: LookupFormat;

  /** Of a format. */
  constructor(format: LookupFormat) {
    this.#format = format;
  }

  /**
   * Learns the tables of each tile, one after the other on what the earlier ones leave, unless they
   * are given, and then chooses the codes by {@linkcode additiveCodes}.
   */
  encode(x: Float32Array, shape: VectorShape, options: VectorEncodeOptions): Encoded {
    const { dimension, codebooks } = this.#format;
    const weights = elementWeights(options.weights, shape);
    const tiles = vectorsOf(shape, dimension);
    const codes = new Uint32Array(shape.codeRows * shape.codeColumns);
    const tables = new Float32Array(tiles.length * shape.tableSize);
    tiles.forEach((vectors, tile) => {
      const points = gather(x, vectors, dimension);
      const weight = weights && gather(weights, vectors, dimension);
      const from = tile * shape.tableSize;
      const own = options.tables?.slice(from, from + shape.tableSize) ??
        this.#learn(points, weight, options);
      tables.set(own, from);
      const chosen = additiveCodes({ points, tables: own, dimension, codebooks, weights: weight });
      vectors.forEach((vector, i) => {
        const from = i * codebooks;
        codes.set(chosen.subarray(from, from + codebooks), vector * codebooks);
      });
    });
    return { codes, tables };
  }

  /** Sums of entries, in f32 in the order of the codebooks. */
  decode({ codes, tables }: Encoded, shape: VectorShape): Float32Array {
    const { dimension, codebooks, bits } = this.#format;
    const out = new Float32Array(shape.rows * shape.columns);
    const size = 2 ** bits * dimension;
    vectorsOf(shape, dimension).forEach((vectors, tile) => {
      for (const vector of vectors) {
        for (let m = 0; m < codebooks; m++) {
          const from = tile * shape.tableSize + m * size +
            codes[vector * codebooks + m] * dimension;
          for (let j = 0; j < dimension; j++) out[vector * dimension + j] += tables![from + j];
        }
      }
    });
    return out;
  }

  /** The tables of one tile, `[codebook, entry, element]`, rounded as they are stored. */
  #learn(all: Float32Array, allWeights: Float32Array | undefined, options: VectorEncodeOptions) {
    const { dimension, bits, codebooks, entries } = this.#format;
    const points = evenly(all, dimension, TRAINING * 2 ** bits);
    const weights = allWeights && evenly(allWeights, dimension, TRAINING * 2 ** bits);
    if (dimension === 1 && codebooks === 1) {
      return Float32Array.from(roundEntries(entries, bestEntries(points, 2 ** bits, weights)));
    }
    const { random, iterations } = options;
    const size = 2 ** bits * dimension;
    const tables = new Float32Array(codebooks * size);
    const rest = points.slice();
    for (let m = 0; m < codebooks; m++) {
      const learned = kMeans({
        points: rest,
        dimension,
        entries: 2 ** bits,
        weights,
        random,
        iterations,
        tolerance: TOLERANCE,
      });
      const table = roundEntries(entries, learned.table);
      tables.set(table, m * size);
      if (m + 1 === codebooks) break;
      const { indices } = nearestEntries(rest, table, dimension, weights);
      for (let i = 0; i < rest.length; i++) {
        rest[i] -= table[indices[Math.floor(i / dimension)] * dimension + i % dimension];
      }
    }
    return tables;
  }
}

/**
 * Codes of vectors as sums of one entry of each codebook: codebook by codebook, the `beam` best
 * partial sums are kept. With one codebook these are the nearest entries.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { additiveCodes } from "./tables.ts";
 * const tables = Float32Array.of(0, 8, 0, 5); // two codebooks of two numbers
 * const points = Float32Array.of(13.2, 5.1);
 * assertEquals([...additiveCodes({ points, tables, dimension: 1, codebooks: 2 })], [1, 1, 0, 1]);
 * ```
 */
export function additiveCodes(args: {
  points: Float32Array;
  tables: Float32Array;
  dimension: number;
  codebooks: number;
  weights?: Float32Array;
  beam?: number;
}): Uint32Array {
  const { points, tables, dimension, codebooks, weights, beam = BEAM } = args;
  const size = tables.length / codebooks;
  if (codebooks === 1) return nearestEntries(points, tables, dimension, weights).indices;
  const count = points.length / dimension;
  const codes = new Uint32Array(count * codebooks);
  for (let i = 0; i < count; i++) {
    const at = i * dimension;
    const weight = weights?.subarray(at, at + dimension);
    let kept: Partial[] = [{ rest: points.slice(at, at + dimension), codes: [], error: 0 }];
    for (let m = 0; m < codebooks; m++) {
      const table = tables.subarray(m * size, (m + 1) * size);
      kept = extend(kept, table, dimension, m + 1 === codebooks ? 1 : beam, weight);
    }
    codes.set(kept[0].codes, i * codebooks);
  }
  return codes;
}

/** A vector with some codes chosen, and what they leave of it. */
interface Partial {
  rest: Float32Array;
  codes: number[];
  error: number;
}

/** The best partial sums with one more entry each, the best first. */
function extend(
  kept: readonly Partial[],
  table: Float32Array,
  dimension: number,
  beam: number,
  weights?: Float32Array,
): Partial[] {
  const found: { from: Partial; entry: number; error: number }[] = [];
  for (const from of kept) {
    for (let t = 0, entry = 0; t < table.length; t += dimension, entry++) {
      const limit = found.length < beam ? Infinity : found[beam - 1].error;
      const error = squaredDistance(from.rest, 0, table, t, dimension, weights, limit);
      if (error >= limit) continue;
      let place = found.length;
      while (place > 0 && found[place - 1].error > error) place--;
      found.splice(place, 0, { from, entry, error });
      if (found.length > beam) found.pop();
    }
  }
  return found.map(({ from, entry, error }) => ({
    rest: from.rest.map((value, j) => value - table[entry * dimension + j]),
    codes: [...from.codes, entry],
    error,
  }));
}

/** At most `most` of some vectors, at even distances. */
function evenly(points: Float32Array, dimension: number, most: number): Float32Array {
  const count = points.length / dimension;
  if (count <= most) return points;
  const some = new Float32Array(most * dimension);
  for (let i = 0; i < most; i++) {
    const from = Math.floor(i * count / most) * dimension;
    some.set(points.subarray(from, from + dimension), i * dimension);
  }
  return some;
}

/** The vectors of each tile, by their numbers in the matrix. */
function vectorsOf({ tables, rows, columns }: VectorShape, dimension: number): Uint32Array[] {
  const { gridColumns, gridRows, tileRows, tileColumns } = tables!;
  const across = columns / dimension;
  const tiles: number[][] = Array.from({ length: gridRows * gridColumns }, () => []);
  for (let row = 0; row < rows; row++) {
    const first = Math.floor(row / tileRows) * gridColumns;
    for (let v = 0; v < across; v++) {
      tiles[first + Math.floor(v * dimension / tileColumns)].push(row * across + v);
    }
  }
  return tiles.map((vectors) => Uint32Array.from(vectors));
}

function gather(x: Float32Array, vectors: Uint32Array, dimension: number): Float32Array {
  const out = new Float32Array(vectors.length * dimension);
  vectors.forEach((vector, i) => {
    out.set(x.subarray(vector * dimension, (vector + 1) * dimension), i * dimension);
  });
  return out;
}
