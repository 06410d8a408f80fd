/**
 * The importance matrix of a run: the one that the user gives, by linear, and the one that the run
 * has collected.
 *
 * @module
 */

import {
  type ImportanceMatrix,
  type InputSquares,
  type InputStatistics,
  type LinearInfo,
  LowbitError,
  meanSquares,
} from "../spec/mod.ts";
import type { ModelGraph } from "../models/architecture.ts";
import type { ParameterInfo } from "../models/parameters.ts";
import { hashJson } from "./hash.ts";
import type { Conflict, Pipeline } from "./pipeline.ts";

/** The mean squares that a matrix has of a parameter; `SHAPE` where it has other channels. */
export function importanceOf(
  matrix: ImportanceMatrix | undefined,
  { names, shape, views }: Pick<ParameterInfo, "names" | "views"> & { shape: readonly number[] },
): Float32Array | undefined {
  const entry = matrix?.entries.get(names.gguf);
  const squares = entry && meanSquares(entry, matrixIndex(entry, views));
  if (!squares || squares.length === shape[1]) return squares;
  throw new LowbitError("SHAPE", `is of ${squares.length} input channels, not ${shape[1]}`, {
    field: names.gguf,
    advice: "give the importance matrix of this model",
  });
}

function matrixIndex({ counts }: InputSquares, { gguf }: ParameterInfo["views"]): number {
  return counts.length > 1 ? gguf?.slice?.index ?? 0 : 0;
}

/** Why a matrix that is given cannot be used with a pipeline. */
export function* importanceConflicts({ steps }: Pipeline): Generator<Conflict> {
  for (const { plugin: { meta, transform, transformModel } } of steps) {
    if (!transform && !transformModel && !meta.transforms) continue;
    yield {
      code: "IMPORTANCE",
      where: meta.name,
      problem: "changes the inputs that the importance matrix describes",
      advice: "leave the matrix out and set importance: true, which collects one behind it",
    };
  }
}

/** What tells two matrices apart. */
export function hashImportance({ entries }: ImportanceMatrix): string {
  return hashJson([...entries].map(([name, { sums, counts }]) => [name, [...sums], [...counts]]));
}

/** Mean squares as a journal keeps them, by linear. */
export type SeenSquares = Record<string, { mean: number[]; rows: number }>;

/** What a run knows of the importance of input channels. */
export class Importance {
  readonly #model: ModelGraph;
  readonly #given?: ImportanceMatrix;
  readonly #seen = new Map<string, { mean: ArrayLike<number>; rows: number }>();

  /** With the matrix that is given, if there is one. */
  constructor(model: ModelGraph, given?: ImportanceMatrix) {
    this.#model = model;
    this.#given = given;
  }

  /** The statistics of a linear, with the mean squares of the matrix that is given. */
  complete(linear: LinearInfo, statistics: InputStatistics): InputStatistics {
    const meanSquare = importanceOf(this.#given, this.#parameter(linear.id));
    return meanSquare ? { ...statistics, meanSquare: Float64Array.from(meanSquare) } : statistics;
  }

  /** Notes what was collected for a linear. */
  note({ id }: LinearInfo, { meanSquare, tokens }: InputStatistics): void {
    if (meanSquare) this.#seen.set(id, { mean: meanSquare, rows: tokens });
  }

  /** What was noted of some linears, for a journal. */
  seen(linears: readonly LinearInfo[]): SeenSquares | undefined {
    const found = linears.flatMap(({ id }) => {
      const squares = this.#seen.get(id);
      return squares ? [[id, { mean: Array.from(squares.mean), rows: squares.rows }]] : [];
    });
    return found.length > 0 ? Object.fromEntries(found) : undefined;
  }

  /** Takes what a journal has kept. */
  replay(seen: SeenSquares = {}): void {
    for (const [id, squares] of Object.entries(seen)) this.#seen.set(id, squares);
  }

  /** What was collected, as a matrix; undefined if nothing was. */
  collected(windows: readonly Int32Array[], datasets: string[]): ImportanceMatrix | undefined {
    if (this.#seen.size === 0) return undefined;
    const entries = new Map<string, InputSquares>();
    for (const [id, { mean, rows }] of this.#seen) {
      const { names: { gguf }, views } = this.#parameter(id);
      const columns = mean.length, { count = 1, index = 0 } = views.gguf?.slice ?? {};
      let entry = entries.get(gguf);
      if (!entry) {
        entry = { sums: new Float64Array(count * columns), counts: new Float64Array(count) };
        entries.set(gguf, entry);
      }
      for (let j = 0; j < columns; j++) entry.sums[index * columns + j] = mean[j] * rows;
      entry.counts[index] = rows;
    }
    return { datasets, chunks: windows.length, chunkSize: windows[0].length, entries };
  }

  #parameter(id: string): ParameterInfo {
    const target = this.#model.tied.get(id) ?? id;
    return this.#model.parameters.find((parameter) => parameter.id === target)!;
  }
}
