/**
 * SmoothQuant: outliers of the activations move into the weights, channel by channel.
 *
 * @module
 */

import { z } from "zod";
import {
  type BlockView,
  definePlugin,
  type Edge,
  type Kernels,
  LowbitError,
  type Plugin,
  PLUGIN_API_VERSION,
  schema,
  type TransformOp,
} from "../../../spec/mod.ts";
import { shareAmongHeads } from "../../_math/heads.ts";

/** Options of {@linkcode smoothquant}. */
export interface SmoothquantOptions {
  /** How much of the difficulty moves to the weights: 0 none, 1 all. */
  alpha: number;
  /** `norms`: only inputs that a norm produces, as in the paper; `all`: every edge of the block. */
  edges: "norms" | "all";
}

/** Ranges below this count as this, so that no factor is infinite (as in the released code). */
const SMALLEST = 1e-5;

/**
 * SmoothQuant (Xiao et al. 2022, arXiv 2211.10438, eq. 4): input channel j of a linear is divided
 * by `s_j = max|X_j|^alpha / max|W_j|^(1 - alpha)`, and the weights of that channel multiplied by
 * it; 1/s goes into whatever produces the channel. Channels that were never active keep s = 1.
 *
 * @example
 * ```ts
 * import { smoothquant } from "./mod.ts";
 * smoothquant.options.parse({}).alpha; // 0.5
 * ```
 */
export const smoothquant: Plugin<SmoothquantOptions> = definePlugin({
  meta: {
    name: "smoothquant",
    version: "1.0.0",
    apiVersion: PLUGIN_API_VERSION,
    summary: "moves activation outliers into the weights",
    paper: {
      title: "SmoothQuant: Accurate and Efficient Post-Training Quantization for LLMs",
      id: "arXiv 2211.10438",
      equation: "4",
    },
    needs: { statistics: ["abs_max"] },
    supports: {},
    determinism: "exact",
  },
  options: schema(
    "options of smoothquant",
    z.strictObject({
      alpha: z.number().min(0).max(1).default(0.5).describe("migration strength"),
      edges: z.enum(["norms", "all"]).default("all").describe("which inputs are smoothed"),
    }),
  ),
  transform({ context, block }) {
    const { kernels, options } = context;
    const linears = new Set(block.linears.map((linear) => linear.role));
    return block.edges
      .filter((edge) => options.edges === "all" || !linears.has(edge.from))
      .map((edge): TransformOp => ({
        op: "scale",
        edge: edge.id,
        factors: smoothingFactors(kernels, block, edge, options.alpha),
      }));
  },
});

/** The factors of an edge: one for each input channel of its consumers. */
export function smoothingFactors(
  kernels: Kernels,
  block: BlockView,
  edge: Edge,
  alpha: number,
): Float32Array {
  const { absMax } = block.statistics(edge.to[0]);
  if (!absMax) {
    throw new LowbitError("CALIBRATION", "has no activation statistics", {
      field: `blocks.${block.index}.${edge.id}`,
      advice: "give calibration text with --calibration",
    });
  }
  const inputs = absMax.slice();
  const weights = new Float32Array(inputs.length);
  for (const role of edge.to) columnAbsMax(block.weight(role), weights);
  if (edge.shared_heads) {
    for (const values of [inputs, weights]) shareAmongHeads(values, block.hyperparameters);
  }
  const numerator = power(kernels, inputs, alpha);
  const denominator = power(kernels, weights, 1 - alpha);
  return inputs.map((input, j) => {
    const factor = Math.fround(numerator[j] / denominator[j]);
    return input === 0 ? 1 : Math.max(SMALLEST, factor);
  });
}

/** `max = max(max, |W|)` over the rows of a weight `[rows, max.length]`. */
function columnAbsMax(weight: Readonly<Float32Array>, max: Float32Array): void {
  for (let i = 0, j = 0; i < weight.length; i++) {
    const magnitude = Math.abs(weight[i]);
    if (magnitude > max[j]) max[j] = magnitude;
    if (++j === max.length) j = 0;
  }
}

/** `max(x, SMALLEST)^exponent`, the same on every machine. */
function power(kernels: Kernels, x: Float32Array, exponent: number): Float32Array {
  using buffer = kernels.upload(x.map((value) => Math.max(SMALLEST, value)));
  using y = kernels.alloc("f32", x.length);
  kernels.power({ x: buffer, exponent, y });
  return y.array.slice();
}
