/**
 * Outlier Suppression+: channels of activations are shifted to be symmetric and scaled down where
 * they are large; biases and weights take it back.
 *
 * @module
 */

import { z } from "zod";
import {
  type BlockView,
  type Buffer,
  definePlugin,
  type Edge,
  type Kernels,
  LowbitError,
  type ModelOp,
  type Plugin,
  PLUGIN_API_VERSION,
  type PluginContext,
  schema,
  type TransformOp,
} from "../../../spec/mod.ts";
import { RowSample } from "../../_math/row_sample.ts";

/** Options of {@linkcode osPlus}. */
export interface OsPlusOptions {
  /** How many thresholds are tried. */
  grid: number;
  /** Tokens that the search looks at. */
  sample: number;
}

/**
 * Outlier Suppression+ (Wei et al. 2023, arXiv 2304.09145). Along every edge behind a norm, channel j
 * of the activations becomes `(X_j - z_j) / s_j` with `z_j = (max X_j + min X_j) / 2` (eq. 24) and
 * `s_j = max(1, max|X_j - z_j| / t)` (eq. 30); weights are multiplied by s and `W z` is added to the
 * outputs. The threshold t is the one, of `grid` from the largest range down, whose quantised outputs
 * (weights and activations, by their schemes) are nearest to the exact ones on a sample of tokens; if
 * none is better than leaving the edge alone, it is left alone.
 *
 * @example
 * ```ts
 * import { osPlus } from "./mod.ts";
 * osPlus.options.parse({}).grid; // 24
 * ```
 */
export const osPlus: Plugin<OsPlusOptions> = definePlugin({
  meta: {
    name: "os-plus",
    version: "1.0.0",
    apiVersion: PLUGIN_API_VERSION,
    summary: "shifts and scales channels of activations, searched for the least output error",
    paper: {
      title: "Outlier Suppression+: Accurate quantization of large language models by equivalent " +
        "and effective shifting and scaling",
      id: "arXiv 2304.09145",
      equation: "24 and 30",
    },
    needs: { statistics: ["moments"] },
    supports: {},
    conflicts: ["smoothquant"],
    determinism: "exact",
  },
  options: schema(
    "options of os-plus",
    z.strictObject({
      grid: z.int().min(1).max(200).default(24).describe("thresholds that are tried"),
      sample: z.int().min(1).max(65536).default(256).describe("tokens that the search looks at"),
    }),
  ),
  collect: ({ context }) => new RowSample(context.options.sample),
  transformModel({ model: { graph } }): ModelOp[] {
    const norms = new Set(
      graph.flatMap((node) => node.op === "rms_norm" || node.op === "layer_norm" ? [node.out] : []),
    );
    const values = graph.flatMap((node) =>
      node.op === "linear" && norms.has(node.in) ? [node.in, node.out] : []
    );
    return [{ op: "bias", values: [...new Set(values)] }];
  },
  transform({ context, block }) {
    const linears = new Set(block.linears.map(({ role }) => role));
    return block.edges.filter((edge) => !linears.has(edge.from)).flatMap((edge): TransformOp[] => {
      const found = searchThreshold(context, block, edge);
      if (!found) return [];
      const { offsets, factors } = found;
      return [{ op: "shift", edge: edge.id, offsets }, { op: "scale", edge: edge.id, factors }];
    });
  },
});

/** What the search of an edge found. */
export interface ThresholdSearch {
  /** The threshold t. */
  threshold: number;
  /** z of every channel. */
  offsets: Float32Array;
  /** s of every channel. */
  factors: Float32Array;
  /** The error of the outputs with it. */
  loss: number;
  /** The error without shift and scale. */
  plain: number;
}

/**
 * Searches the threshold of an edge; undefined where leaving it alone is best, and where nothing
 * behind it is quantised.
 */
export function searchThreshold(
  context: PluginContext<OsPlusOptions>,
  block: BlockView,
  edge: Edge,
): ThresholdSearch | undefined {
  const quantised = edge.to.map((role) => block.schemes(role));
  if (!quantised.some(({ weight, activation }) => weight || activation)) return undefined;
  const statistics = block.statistics(edge.to[0]);
  const sample = statistics.custom.get(osPlus.meta.name) as Float32Array | undefined;
  const { min, max, columns } = statistics;
  if (!sample?.length || !min || !max) {
    throw new LowbitError("CALIBRATION", "has no activation statistics", {
      field: `blocks.${block.index}.${edge.id}`,
      advice: "give calibration text with --calibration",
    });
  }
  const offsets = min.map((least, j) => (least + max[j]) / 2);
  const ranges = min.map((least, j) => (max[j] - least) / 2);
  const largest = ranges.reduce((a, b) => Math.max(a, b), 0);
  const none = new Float32Array(columns), ones = new Float32Array(columns).fill(1);
  const loss = (z: Float32Array, s: Float32Array) =>
    quantizedLoss(context, block, edge, sample, z, s);
  const plain = loss(none, ones);
  let best: ThresholdSearch | undefined;
  for (let i = context.options.grid; i > 0 && largest > 0; i--) {
    const threshold = largest * i / context.options.grid;
    const factors = ranges.map((range) => Math.max(1, Math.fround(range / threshold)));
    const candidate = loss(offsets, factors);
    if (candidate < (best?.loss ?? plain)) {
      best = { threshold, offsets, factors, loss: candidate, plain };
    }
  }
  return best;
}

/** `sum ||Q((X - z) / s) Q(W s)^T - (X - z) W^T||^2` over the linears of an edge. */
function quantizedLoss(
  { kernels, codecs }: PluginContext<OsPlusOptions>,
  block: BlockView,
  edge: Edge,
  sample: Float32Array,
  offsets: Float32Array,
  factors: Float32Array,
): number {
  const columns = factors.length, tokens = sample.length / columns;
  const shifted = sample.map((value, i) => value - offsets[i % columns]);
  using exact = kernels.upload(shifted);
  let loss = 0;
  for (const { role, rows } of block.linears.filter(({ role }) => edge.to.includes(role))) {
    const { weight: weightScheme, activation } = block.schemes(role);
    const weight = block.weight(role) as Float32Array;
    using scaled = kernels.upload(weight.map((value, i) => value * factors[i % columns]));
    using inputs = kernels.upload(shifted.map((value, i) => value / factors[i % columns]));
    if (weightScheme) codecs.get(weightScheme).fake(scaled, rows, columns);
    if (activation) codecs.get(activation).fake(inputs, tokens, columns);
    const quantized = product(kernels, inputs, tokens, scaled.array.slice(), rows);
    const wanted = product(kernels, exact, tokens, weight, rows);
    quantized.forEach((value, i) => loss += (value - wanted[i]) ** 2);
  }
  return loss;
}

/** `x W^T`. */
function product(
  kernels: Kernels,
  x: Buffer<"f32">,
  tokens: number,
  values: Float32Array,
  rows: number,
): Float32Array {
  using weight = kernels.denseWeight(values, rows, values.length / rows);
  using y = kernels.alloc("f32", tokens * rows);
  kernels.linear({ x, y, tokens, weight });
  return y.array.slice();
}
