/**
 * What the tests of plugins share: contexts, statistics, the proxy loss. Kernels are handed in.
 *
 * @module
 */

import type {
  Codecs,
  InputStatistics,
  Kernels,
  LinearInfo,
  Plugin,
  PluginContext,
  QuantizedTensor,
  ResolvedScheme,
  Rng,
} from "../../spec/mod.ts";

/** Everything that a test of a plugin works with. */
export interface TestBench {
  /** The kernels. */
  kernels: Kernels;
  /** The codecs on them. */
  codecs: Codecs;
  /** Random numbers for a label. */
  rng(label: string): Rng;
}

/** A context with checked options; warnings are collected. */
export function testContext<O>(
  bench: TestBench,
  plugin: Plugin<O>,
  options: Record<string, unknown> = {},
): { context: PluginContext<O>; warnings: string[] } {
  const warnings: string[] = [];
  return {
    warnings,
    context: {
      ...bench,
      options: plugin.options.parse(options) as Readonly<O>,
      warn: (message) => warnings.push(message),
    },
  };
}

/** A linear that belongs to no model. */
export function testLinear(rows: number, columns: number): LinearInfo {
  return { id: "blocks.0.test", role: "test", block: 0, rows, columns, input: "x" };
}

/** Inputs `[tokens, columns]` with correlated channels of very different sizes. */
export function testInputs(rng: Rng, tokens: number, columns: number): Float32Array {
  const x = new Float32Array(tokens * columns);
  const sizes = Float64Array.from({ length: columns }, () => Math.exp(rng.normal()));
  for (let t = 0; t < tokens; t++) {
    const shared = rng.normal();
    for (let j = 0; j < columns; j++) x[t * columns + j] = sizes[j] * (shared + rng.normal());
  }
  return x;
}

/** Normal weights `[rows, columns]`. */
export function testWeight(rng: Rng, rows: number, columns: number): Float32Array {
  return Float32Array.from({ length: rows * columns }, () => rng.normal() * 0.05);
}

/** Statistics of inputs, computed plainly in f64. */
export function plainStatistics(x: Float32Array, columns: number): InputStatistics {
  const tokens = x.length / columns;
  const gram = new Float64Array(columns * columns);
  const absMax = new Float32Array(columns);
  const absMean = new Float32Array(columns);
  for (let t = 0; t < tokens; t++) {
    const row = x.subarray(t * columns, (t + 1) * columns);
    for (let i = 0; i < columns; i++) {
      absMax[i] = Math.max(absMax[i], Math.abs(row[i]));
      absMean[i] += Math.abs(row[i]) / tokens;
      for (let j = 0; j < columns; j++) gram[i * columns + j] += row[i] * row[j];
    }
  }
  return { columns, tokens, gram, absMax, absMean, custom: new Map() };
}

/** The proxy loss `tr((W^ - W) H (W^ - W)^T)` with H the Gram matrix. */
export function proxyLoss(
  weight: Float32Array,
  decoded: Float32Array,
  statistics: InputStatistics,
): number {
  const { columns, gram } = statistics;
  let loss = 0;
  for (let row = 0; row < weight.length / columns; row++) {
    for (let i = 0; i < columns; i++) {
      const a = decoded[row * columns + i] - weight[row * columns + i];
      if (a === 0) continue;
      for (let j = 0; j < columns; j++) {
        const b = decoded[row * columns + j] - weight[row * columns + j];
        loss += a * gram![i * columns + j] * b;
      }
    }
  }
  return loss;
}

/** Runs the `quantize` hook of a plugin on a weight. */
export function runQuantize<O>(
  bench: TestBench,
  plugin: Plugin<O>,
  args: {
    options?: Record<string, unknown>;
    scheme: ResolvedScheme;
    weight: Float32Array;
    rows: number;
    statistics?: InputStatistics;
  },
): { tensor: QuantizedTensor; decoded: Float32Array; warnings: string[] } {
  const columns = args.weight.length / args.rows;
  const codec = bench.codecs.get(args.scheme);
  const { context, warnings } = testContext(bench, plugin, args.options);
  const tensor = plugin.quantize!({
    context,
    linear: testLinear(args.rows, columns),
    weight: args.weight,
    codec,
    statistics: args.statistics ?? { columns, tokens: 0, custom: new Map() },
  });
  return { tensor, decoded: codec.dequantize(tensor), warnings };
}
