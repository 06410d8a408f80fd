/**
 * What the kit runs plugins with: kernels, contexts, hard tensors, statistics.
 *
 * @module
 */

import { seededRng } from "../engine/rng.ts";
import { createCodecs } from "../formats/codec.ts";
import type {
  Codecs,
  InputStatistics,
  Kernels,
  LinearInfo,
  Plugin,
  ResolvedScheme,
} from "../spec/mod.ts";
import type { PluginContext, Rng } from "../spec/mod.ts";

/** Kernels with their codecs. */
export interface Bench {
  /** The kernels. */
  kernels: Kernels;
  /** The codecs on them. */
  codecs: Codecs;
}

/** A bench on some kernels. */
export function benchOf(kernels: Kernels): Bench {
  return { kernels, codecs: createCodecs(kernels) };
}

/** The context of a plugin's hooks. */
export function contextOf(
  bench: Bench,
  plugin: Plugin,
  options: Record<string, unknown>,
): PluginContext {
  return {
    ...bench,
    options: plugin.options.parse(options) as Readonly<unknown>,
    rng: (label) => seededRng(`testing/${plugin.meta.name}/${label}`),
    warn() {},
  };
}

/** A linear that belongs to no model. */
export function linearOf(rows: number, columns: number, role = "mlp.up"): LinearInfo {
  return { id: `blocks.0.${role}`, role, block: 0, rows, columns, input: "x" };
}

/** A tensor to quantise. */
export interface HardTensor {
  /** What is hard about it. */
  name: string;
  /** Rows. */
  rows: number;
  /** Columns. */
  columns: number;
  /** The values. */
  values: Float32Array;
}

/** Tensors on which methods break. `whole` is what columns must be a multiple of. */
export function hardTensors(whole: number, ragged: boolean, rows = 4): HardTensor[] {
  const columns = Math.ceil(64 / whole) * whole;
  const rng = seededRng("testing/tensors");
  const normal = (count: number) => Float32Array.from({ length: count }, () => rng.normal() / 20);
  const make = (name: string, change: (values: Float32Array) => void, r = rows, c = columns) => {
    const values = normal(r * c);
    change(values);
    return { name, rows: r, columns: c, values };
  };
  return [
    make("normal", () => {}),
    make("zeros", (values) => values.fill(0)),
    make("one row of zeros", (values) => values.fill(0, columns, 2 * columns)),
    make("constant", (values) => values.fill(0.375)),
    make("negative constant", (values) => values.fill(-0.375)),
    make("one outlier", (values) => values[columns + 3] = 8),
    make("subnormal", (values) => values.forEach((_, i) => values[i] = (i % 7 - 3) * 2 ** -140)),
    ...(ragged ? [make("ragged group", () => {}, rows, columns + 5)] : []),
    make("1 x N", () => {}, 1, columns),
  ];
}

/**
 * Inputs `[tokens, columns]` of correlated channels. They are multiples of 1/4 of at most 16, so
 * that sums of them and of their squares are exact in any order.
 */
export function exactInputs(tokens: number, columns: number): Float32Array {
  const rng: Rng = seededRng(`testing/inputs/${columns}`);
  const sizes = Float64Array.from({ length: columns }, () => Math.exp(rng.normal()));
  const x = new Float32Array(tokens * columns);
  for (let t = 0; t < tokens; t++) {
    const shared = rng.normal();
    for (let j = 0; j < columns; j++) {
      const value = sizes[j] * (shared + rng.normal());
      x[t * columns + j] = Math.round(4 * Math.min(16, Math.max(-16, value))) / 4;
    }
  }
  return x;
}

/** Every statistic that the engine knows, of inputs `[tokens, columns]` of a weight of `rows`. */
export function statisticsOf(
  x: Float32Array,
  columns: number,
  rows: number,
  custom: ReadonlyMap<string, unknown> = new Map(),
): InputStatistics {
  const tokens = x.length / columns;
  const gram = new Float64Array(columns * columns);
  const sums = new Float64Array(columns), mean = new Float64Array(columns);
  const absMax = new Float32Array(columns);
  const min = new Float32Array(columns).fill(Infinity);
  const max = new Float32Array(columns).fill(-Infinity);
  for (let t = 0; t < tokens; t++) {
    for (let i = 0; i < columns; i++) {
      const value = x[t * columns + i];
      sums[i] += Math.abs(value);
      mean[i] += value;
      absMax[i] = Math.max(absMax[i], Math.abs(value));
      min[i] = Math.min(min[i], value);
      max[i] = Math.max(max[i], value);
      for (let j = 0; j < columns; j++) gram[i * columns + j] += value * x[t * columns + j];
    }
  }
  const absMean = Float32Array.from(sums, (sum) => sum / tokens);
  mean.forEach((sum, i) => mean[i] = sum / tokens);
  // As if the gradients of outputs were independent of the inputs.
  const fisher = Float32Array.from(
    { length: rows * columns },
    (_, i) => (1 + Math.floor(i / columns) % 3) * gram[i % columns * (columns + 1)] / tokens,
  );
  return { columns, tokens, gram, absMax, absMean, min, max, mean, fisher, custom };
}

/** Whether a plugin says that it supports a scheme for weights. */
export function accepts({ meta }: Plugin, { element, granularity, zero_point }: ResolvedScheme) {
  const { families, granularities, zeroPoints, symmetric = true } = meta.supports;
  return granularity.kind !== "token" &&
    (!families || families.includes(element.family)) &&
    (!granularities || granularities.includes(granularity.kind)) &&
    (zero_point ? !zeroPoints || zeroPoints.includes(zero_point.kind) : symmetric);
}
