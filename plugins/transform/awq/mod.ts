/**
 * AWQ: channels that matter to the outputs are made larger before rounding, and ranges are clipped
 * where that makes the outputs better.
 *
 * @module
 */

import { z } from "zod";
import {
  type BlockView,
  definePlugin,
  type Edge,
  type InputStatistics,
  LowbitError,
  type Plugin,
  PLUGIN_API_VERSION,
  type PluginContext,
  schema,
  selects,
  type TransformOp,
} from "../../../spec/mod.ts";
import { searchClips } from "../../_math/clip_search.ts";
import { shareAmongHeads } from "../../_math/heads.ts";
import { gramWeight, outputErrors } from "../../_math/output_error.ts";

/** Options of {@linkcode awq}. */
export interface AwqOptions {
  /** Search scales of channels. */
  scale: boolean;
  /** How many exponents are tried. */
  grid: number;
  /** Search clipped ranges. */
  clip: boolean;
  /** Linears whose ranges stay whole. */
  unclipped: string[];
}

/** Means below this count as this, so that silent channels have a factor. */
const SMALLEST = 1e-4;

/** Ranges from the whole to a half, in steps of a twentieth. */
const CLIPS = { candidates: 10, smallest: 0.5 };

/**
 * AWQ (Lin et al. 2023, arXiv 2306.00978, eq. 4 and 5): along an edge, input channel j of the linears
 * is divided by `s_j = mean|X_j|^alpha`, and their weights multiplied by it. Alpha is the one of
 * 0, 1/grid, ... that leaves the least `||(Q(W diag(s)) diag(1/s) - W) X||^2`, summed over the linears
 * of the edge and exact over all calibration tokens by their Gram matrix; 0 leaves the weights alone.
 * Then every range is clipped to the share, from 1 down to a half, with the least such error. (The
 * released code leaves queries and keys whole, since it clips without knowing what the softmax makes
 * of them: `unclipped: ["attention.query", "attention.key"]`.)
 *
 * @example
 * ```ts
 * import { awq } from "./mod.ts";
 * awq.options.parse({}).grid; // 20
 * ```
 */
export const awq: Plugin<AwqOptions> = definePlugin({
  meta: {
    name: "awq",
    version: "1.0.0",
    apiVersion: PLUGIN_API_VERSION,
    summary: "searches scales of channels, and clipped ranges, for the least output error",
    paper: {
      title: "AWQ: Activation-aware Weight Quantization for LLM Compression and Acceleration",
      id: "arXiv 2306.00978",
      equation: "4 and 5",
    },
    needs: { statistics: ["gram", "abs_mean"] },
    supports: {},
    // Clipping looks at sampled rows, and scales that are powers of two jump.
    error: { of: "outputs", factor: 2 },
    after: ["smoothquant", "os-plus"],
    determinism: "exact",
  },
  options: schema(
    "options of awq",
    z.strictObject({
      scale: z.boolean().default(true).describe("search scales of channels"),
      grid: z.int().min(1).max(100).default(20).describe("exponents that are tried"),
      clip: z.boolean().default(true).describe("search clipped ranges"),
      unclipped: z.array(z.string()).default([]).describe(
        "patterns of linears whose ranges stay whole",
      ),
    }),
  ),
  transform({ context, block }) {
    if (!context.options.scale) return [];
    return block.edges.flatMap((edge): TransformOp[] => {
      const found = searchScale(context, block, edge);
      return found && found.alpha > 0
        ? [{ op: "scale", edge: edge.id, factors: found.factors }]
        : [];
    });
  },
  clip({ context: { kernels, options }, linear, weight, codec, statistics }) {
    if (!options.clip || selects(options.unclipped, linear) || linear.block === undefined) return;
    if (codec.tiling(linear.rows, linear.columns).tileRows > 1) return;
    // A scale an element has no range to shrink, and a searched range is the best one already.
    if (codec.scheme.granularity.kind === "element" || codec.scheme.range) return;
    return searchClips(kernels, codec, weight, linear.rows, statistics, CLIPS);
  },
});

/** The best scale of an edge. */
export interface ScaleSearch {
  /** The exponent. */
  alpha: number;
  /** One factor for each channel. */
  factors: Float32Array;
  /** The error with it. */
  loss: number;
  /** The error of every exponent, from 0 on. */
  losses: number[];
}

/** Searches the exponent of an edge; undefined where no linear behind it is quantised. */
export function searchScale(
  context: PluginContext<AwqOptions>,
  block: BlockView,
  edge: Edge,
): ScaleSearch | undefined {
  const { kernels, codecs, options } = context;
  const linears = block.linears.filter(({ role }) => edge.to.includes(role)).flatMap((linear) => {
    const { weight: scheme } = block.schemes(linear.role);
    return scheme ? [{ linear, codec: codecs.get(scheme) }] : [];
  });
  if (linears.length === 0) return undefined;
  const { gram, absMean, tokens } = block.statistics(edge.to[0]);
  if (!gram || !absMean) {
    throw new LowbitError("CALIBRATION", "has no activation statistics", {
      field: `blocks.${block.index}.${edge.id}`,
      advice: "give calibration text with --calibration",
    });
  }
  using inputs = gramWeight(kernels, gram, tokens);
  const losses: number[] = [];
  let best: Omit<ScaleSearch, "losses"> | undefined;
  for (let i = 0; i < options.grid; i++) {
    const alpha = i / options.grid;
    const factors = channelFactors(context, { absMean }, alpha);
    if (edge.shared_heads) shareAmongHeads(factors, block.hyperparameters);
    let loss = 0;
    for (const { linear: { role, rows, columns }, codec } of linears) {
      const weight = block.weight(role);
      using scaled = kernels.upload(weight.map((value, k) => value * factors[k % columns]));
      codec.fake(scaled, rows, columns);
      const values = scaled.array;
      for (let k = 0; k < values.length; k++) {
        values[k] = values[k] / factors[k % columns] - weight[k];
      }
      loss += outputErrors(kernels, scaled, rows, inputs).reduce((a, b) => a + b, 0);
    }
    losses.push(loss);
    if (best === undefined || loss < best.loss) best = { alpha, factors, loss };
  }
  return { ...best!, losses };
}

/** `mean|X_j|^alpha`, divided by the geometric mean of its extremes; 1 for alpha 0. */
function channelFactors(
  { kernels }: PluginContext<AwqOptions>,
  { absMean }: Required<Pick<InputStatistics, "absMean">>,
  alpha: number,
): Float32Array {
  using means = kernels.upload(absMean.map((mean) => Math.max(SMALLEST, mean)));
  using y = kernels.alloc("f32", absMean.length);
  kernels.power({ x: means, exponent: alpha, y });
  const powers = y.array.slice();
  let [least, most] = [Infinity, 0];
  for (const power of powers) [least, most] = [Math.min(least, power), Math.max(most, power)];
  const middle = Math.sqrt(least * most);
  return powers.map((power) => Math.max(SMALLEST, power / middle));
}
