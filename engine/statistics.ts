/**
 * Statistics of the inputs of linears, collected once for all plugins.
 *
 * @module
 */

import type {
  Buffer,
  Edge,
  InputStatistics,
  Kernels,
  LinearInfo,
  Statistic,
  StatisticName,
  TransformOp,
} from "../spec/mod.ts";

/** What watches the inputs of linears while a window runs: each value of the graph is added once. */
export function observeInputs(
  collectors: ReadonlyMap<string, InputCollector>,
): (linear: LinearInfo, x: Buffer<"f32">, tokens: number) => void {
  const seen = new Set<string>();
  return ({ input }, x, tokens) => {
    if (!seen.has(input)) collectors.get(input)?.add(x, tokens);
    seen.add(input);
  };
}

/** Adds up statistics of one value of the graph: the input of one or several linears. */
export class InputCollector {
  readonly #kernels: Kernels;
  readonly #columns: number;
  readonly #custom: Map<string, Statistic>;
  readonly #gram?: Buffer<"f64">;
  readonly #absMax?: Buffer<"f32">;
  readonly #absSum?: Buffer<"f64">;
  readonly #moments?: Moments;
  readonly #squares?: Float64Array;
  #tokens = 0;

  /** Makes room for what is needed of inputs of `columns` channels. */
  constructor(
    kernels: Kernels,
    columns: number,
    needs: ReadonlySet<StatisticName>,
    custom: Map<string, Statistic>,
  ) {
    this.#kernels = kernels;
    this.#columns = columns;
    this.#custom = custom;
    if (needs.has("gram")) this.#gram = kernels.alloc("f64", columns * columns);
    if (needs.has("abs_max") || needs.has("abs_mean")) {
      this.#absMax = kernels.alloc("f32", columns);
      this.#absSum = kernels.alloc("f64", columns);
    }
    if (needs.has("moments")) this.#moments = new Moments(columns);
    if (needs.has("mean_square")) this.#squares = new Float64Array(columns);
  }

  /** Takes inputs `[rows, columns]`. */
  add(x: Buffer<"f32">, rows: number): void {
    const columns = this.#columns;
    if (this.#gram) this.#kernels.gram({ x, rows, columns, gram: this.#gram });
    if (this.#absMax) {
      this.#kernels.columnStats({
        x,
        rows,
        columns,
        absMax: this.#absMax,
        absSum: this.#absSum!,
      });
    }
    this.#moments?.add(x.array);
    if (this.#squares) addSquares(this.#squares, x.array);
    for (const statistic of this.#custom.values()) statistic.add(x, rows, columns);
    this.#tokens += rows;
  }

  /** What hooks are given; frees the kernel memory. */
  finish(): InputStatistics {
    const tokens = this.#tokens;
    const absSum = this.#absSum?.array;
    const result: InputStatistics = {
      columns: this.#columns,
      tokens,
      gram: this.#gram?.array.slice(),
      absMax: this.#absMax?.array.slice(),
      absMean: absSum && Float32Array.from(absSum, (sum) => sum / Math.max(1, tokens)),
      ...this.#moments?.result(tokens),
      meanSquare: this.#squares?.map((sum) => sum / Math.max(1, tokens)),
      custom: new Map([...this.#custom].map(([name, statistic]) => [name, statistic.value()])),
    };
    this.free();
    return result;
  }

  /** Frees the kernel memory; again does nothing. */
  free(): void {
    this.#gram?.free();
    this.#absMax?.free();
    this.#absSum?.free();
  }
}

/** Adds the squares of rows to the sums of their channels. */
function addSquares(sums: Float64Array, x: Float32Array): void {
  for (let i = 0, j = 0; i < x.length; i++) {
    sums[j] += x[i] * x[i];
    if (++j === sums.length) j = 0;
  }
}

/** Extremes and sums of channels. */
class Moments {
  readonly #min: Float32Array;
  readonly #max: Float32Array;
  readonly #sum: Float64Array;

  constructor(columns: number) {
    this.#min = new Float32Array(columns).fill(Infinity);
    this.#max = new Float32Array(columns).fill(-Infinity);
    this.#sum = new Float64Array(columns);
  }

  add(x: Float32Array): void {
    const [min, max, sum] = [this.#min, this.#max, this.#sum];
    for (let i = 0, j = 0; i < x.length; i++) {
      const value = x[i];
      if (value < min[j]) min[j] = value;
      if (value > max[j]) max[j] = value;
      sum[j] += value;
      if (++j === sum.length) j = 0;
    }
  }

  result(tokens: number): Pick<InputStatistics, "min" | "max" | "mean"> {
    const mean = this.#sum.map((sum) => sum / Math.max(1, tokens));
    return { min: this.#min, max: this.#max, mean };
  }
}

/** The statistics of inputs whose channel j has been divided by `factors[j]`. */
export function rescaleStatistics(
  statistics: InputStatistics,
  factors: Readonly<Float32Array>,
): InputStatistics {
  const { columns, gram } = statistics;
  const divide = <T extends Float32Array | Float64Array>(values?: T) =>
    values?.map((value, j) => value / factors[j]) as T | undefined;
  return {
    ...statistics,
    absMax: divide(statistics.absMax),
    absMean: divide(statistics.absMean),
    min: divide(statistics.min),
    max: divide(statistics.max),
    mean: divide(statistics.mean),
    meanSquare: divide(divide(statistics.meanSquare)),
    gram: gram?.map((value, i) => value / factors[Math.floor(i / columns)] / factors[i % columns]),
  };
}

/**
 * Fisher diagonals after an operation on an edge: where a weight is multiplied by a factor, its
 * gradient is divided by it. `producedFactors` are those of the producer's rows, where heads are
 * shared. A rotation mixes what a diagonal keeps apart, so these are dropped.
 */
export function followFisher(
  op: Exclude<TransformOp, { op: "permute" }>,
  edge: Edge,
  diagonals: Map<string, Float32Array>,
  producedFactors?: Readonly<Float32Array>,
): void {
  if (op.op === "shift") return;
  for (const role of [edge.from, ...edge.to]) {
    const diagonal = diagonals.get(role);
    if (!diagonal) continue;
    if (op.op === "rotate") {
      diagonals.delete(role);
      continue;
    }
    const produces = role === edge.from;
    const factors = produces ? producedFactors ?? op.factors : op.factors;
    const columns = produces ? diagonal.length / factors.length : factors.length;
    diagonals.set(
      role,
      diagonal.map((value, i) => {
        const factor = factors[produces ? Math.floor(i / columns) : i % columns];
        return produces ? value * factor * factor : value / (factor * factor);
      }),
    );
  }
}

/** Linears by the value that they read: those that share one collector. */
export function byInput(linears: readonly LinearInfo[]): Map<string, LinearInfo[]> {
  return Map.groupBy(linears, (linear) => linear.input);
}
