/**
 * OmniQuant: clipped ranges and scales of channels, learned by gradients of the block's output error.
 *
 * @module
 */

import { z } from "zod";
import {
  type BlockLearned,
  type BlockLearner,
  definePlugin,
  type DiffTensor,
  type Edge,
  LowbitError,
  type Plugin,
  PLUGIN_API_VERSION,
  type PluginContext,
  type QuantizedTensor,
  schema,
  type TransformOp,
} from "../../../spec/mod.ts";
import {
  quantizedError,
  type Trainable,
  trainBlock,
  withWeights,
} from "../../_math/block_training.ts";
import { fakeQuantize, isUniform, quantizeLearned, UNIFORM } from "../../_math/fake_quant.ts";
import { adam } from "../../_math/optimizer.ts";
import { edgeFactor, initialFactors, repeatHeads, scaleBlock } from "./scales.ts";

/** Options of {@linkcode omniquant}. */
export interface OmniquantOptions {
  /** Learn clipped ranges (LWC). */
  clip: boolean;
  /** Learn scales of channels (LET). */
  scale: boolean;
  /** The exponent of the activations in the scales at the start; 0 starts without any. */
  alpha: number;
  /** Passes over the windows for each block. */
  epochs: number;
  /** Windows of a step. */
  batch: number;
  /** The learning rate of clipped ranges. */
  clip_rate: number;
  /** The learning rate of the logarithms of scales. */
  scale_rate: number;
}

/** Where the logits of clipped ranges start: sigmoid(4) = 0.982. */
const LOGIT = 4;

/**
 * OmniQuant (Shao et al. 2023, arXiv 2308.13137, eq. 1 to 4). Learnable weight clipping: the range of
 * each group is `[sigmoid(b) min W, sigmoid(g) max W]`, the logits start at 4. Learnable equivalent
 * transformation: along an edge, channel j of the inputs is divided by `s_j` and the weights that
 * read it multiplied by it; here `s = s0 exp(t)`, with `s0 = max|X|^alpha / max|W|^(1 - alpha)` as in
 * SmoothQuant and t = 0 at the start, which keeps scales positive. Both are learned together by Adam
 * for the mean squared error of the block's outputs, whose inputs are quantised as the recipe says.
 * The scales become transforms of the block, which the engine proves to leave its function alone.
 * The parameters with the least error over all windows are kept, and a block that does not get better
 * than it was before stays as it was. The paper's shifts and its scales of queries and keys are not
 * learned here.
 *
 * Codes are decided by f32 sums of the autodiff library, which runs on one thread without fused
 * operations: the same bytes on every run, for any number of threads.
 *
 * @example
 * ```ts
 * import { omniquant } from "./mod.ts";
 * omniquant.options.parse({}).clip_rate; // 0.01
 * ```
 */
export const omniquant: Plugin<OmniquantOptions> = definePlugin({
  meta: {
    name: "omniquant",
    version: "1.0.0",
    apiVersion: PLUGIN_API_VERSION,
    summary: "learns clipped ranges and scales of channels by gradients, block by block",
    paper: {
      title: "OmniQuant: Omnidirectionally Calibrated Quantization for Large Language Models",
      id: "arXiv 2308.13137",
      equation: "1 to 4",
    },
    needs: { statistics: ["abs_max"], autodiff: true },
    supports: UNIFORM,
    after: ["rtn", "gptq"],
    transforms: true,
    determinism: "exact",
  },
  options: schema(
    "options of omniquant",
    z.strictObject({
      clip: z.boolean().default(true).describe("learn clipped ranges"),
      scale: z.boolean().default(false).describe("learn scales of channels"),
      alpha: z.number().min(0).max(1).default(0.5).describe(
        "exponent of activations in the scales at the start; 0 starts without any",
      ),
      epochs: z.int().min(0).max(10000).default(20).describe("passes over the windows"),
      batch: z.int().min(1).max(1024).default(1).describe("windows of a step"),
      clip_rate: z.number().min(0).max(10).default(0.01).describe("learning rate of ranges"),
      scale_rate: z.number().min(0).max(10).default(0.005).describe("learning rate of scales"),
    }),
  ),
  learn({ context, block }): BlockLearned {
    const { options } = context;
    const nothing: BlockLearned = { quantized: new Map() };
    const linears = quantizedLinears(context, block);
    const edges = options.scale ? scalableEdges(block) : [];
    if (options.epochs === 0 || linears.length === 0 || (!options.clip && edges.length === 0)) {
      return nothing;
    }
    const { parameters, starts } = startingPoint(context, block, linears, edges);
    const batches = Math.ceil(block.inputs.length / options.batch);
    const roles = new Map(linears.map((linear) => [linear.role, linear]));
    trainBlock({
      autodiff: context.autodiff!,
      block,
      parameters,
      steps: options.epochs * batches,
      batch: options.batch,
      checks: Math.min(4, options.epochs),
      forward(scope, x) {
        const { inputs } = scope;
        const factor = new Map(
          edges.map((edge) => [
            edge.id,
            edgeFactor(scope, inputs[`${edge.id}/scale`], starts.get(edge.id)!),
          ]),
        );
        const scaled = (role: string): DiffTensor => {
          const { rows, columns } = block.linears.find((linear) => linear.role === role)!;
          let weight = scope.constant(block.weight(role), [rows, columns]);
          for (const edge of edges) {
            const f = factor.get(edge.id)!;
            if (edge.to.includes(role)) weight = weight.mul(repeatHeads(f, edge, block));
            if (edge.from === role) weight = weight.div(f.reshape([rows, 1]));
          }
          return weight;
        };
        const linear = withWeights(context, block, scope, (role) => {
          const found = roles.get(role);
          if (!found) return edges.length > 0 ? scaled(role) : undefined;
          const low = inputs[`${role}/low`]?.sigmoid(), high = inputs[`${role}/high`]?.sigmoid();
          return fakeQuantize(scaled(role), found.codec, found.tiling, { low, high });
        });
        const parameter = (name: string) => {
          const edge = edges.find(({ from }) => from === name);
          if (!edge) return undefined;
          const weight = block.weight(name);
          return scope.constant(weight, [weight.length]).div(factor.get(edge.id)!);
        };
        return block.differentiate!(scope, x, { linear, parameter });
      },
    });
    const { transforms, ends } = readParameters(context, block, edges, parameters, starts);
    const { weights, norms } = scaleBlock(block, transforms);
    const learned = new Map<string, QuantizedTensor>(
      linears.map(({ role, rows, codec }) => {
        const weight = weights.get(role) ?? block.weight(role);
        const grid = { low: ends.get(`${role}/low`), high: ends.get(`${role}/high`) };
        return [role, quantizeLearned(context.kernels, codec, weight, rows, grid)];
      }),
    );
    const before = quantizedError(context, block, block.quantized, options.batch);
    const all = new Map([...block.quantized, ...learned]);
    const after = quantizedError(context, block, all, options.batch, norms);
    if (after < before) return { quantized: learned, transforms };
    context.warn(`blocks.${block.index}: nothing learned was better than the weights before`);
    return nothing;
  },
});

/** The quantised linears whose grids can be learned. */
function quantizedLinears({ codecs }: PluginContext, block: BlockLearner) {
  return block.linears.flatMap(({ role, rows, columns }) => {
    const tensor = block.quantized.get(role);
    if (!tensor || !isUniform(tensor.scheme)) return [];
    const codec = codecs.get(tensor.scheme);
    return [{ role, rows, columns, codec, tiling: codec.tiling(rows, columns) }];
  });
}

/** Edges all of whose linears are quantised by now, or never: their weights can still change. */
function scalableEdges(block: BlockLearner): Edge[] {
  const fixed = (role: string) => {
    const tensor = block.quantized.get(role);
    return tensor !== undefined && !isUniform(tensor.scheme);
  };
  return block.edges.filter((edge) => ![edge.from, ...edge.to].some(fixed));
}

/** What is learned, where it starts, and the scales at the start. */
function startingPoint(
  context: PluginContext<OmniquantOptions>,
  block: BlockLearner,
  linears: ReturnType<typeof quantizedLinears>,
  edges: readonly Edge[],
) {
  const { options } = context;
  const parameters: Record<string, Trainable> = {};
  for (const { role, rows, tiling } of options.clip ? linears : []) {
    for (const end of ["low", "high"]) {
      parameters[`${role}/${end}`] = {
        values: new Float32Array(rows * tiling.gridColumns).fill(LOGIT),
        shape: [rows, tiling.gridColumns, 1],
        optimizer: adam(options.clip_rate),
      };
    }
  }
  const starts = new Map<string, Float32Array>();
  for (const edge of edges) {
    const { absMax } = block.statistics(edge.to[0]);
    if (!absMax) {
      throw new LowbitError("CALIBRATION", "has no activation statistics", {
        field: `blocks.${block.index}.${edge.id}`,
        advice: "give calibration text with --calibration",
      });
    }
    const start = initialFactors(context.kernels, block, edge, absMax, options.alpha);
    starts.set(edge.id, start);
    parameters[`${edge.id}/scale`] = {
      values: new Float32Array(start.length),
      shape: [start.length],
      optimizer: adam(options.scale_rate),
    };
  }
  return { parameters, starts };
}

/** The learned scales as transforms, and the learned shares of ranges. */
function readParameters(
  { autodiff }: PluginContext,
  block: BlockLearner,
  edges: readonly Edge[],
  parameters: Record<string, Trainable>,
  starts: ReadonlyMap<string, Float32Array>,
) {
  const transforms = edges.map((edge): TransformOp => {
    const start = starts.get(edge.id)!;
    using program = autodiff!.compile((scope) =>
      repeatHeads(edgeFactor(scope, scope.inputs.t, start), edge, block)
    );
    return {
      op: "scale",
      edge: edge.id,
      factors: program.run({ t: parameters[`${edge.id}/scale`] }).value,
    };
  });
  const ends = new Map<string, Float32Array>();
  using sigmoid = autodiff!.compile(({ inputs }) => inputs.t.sigmoid());
  for (const [name, parameter] of Object.entries(parameters)) {
    if (/\/(low|high)$/.test(name)) ends.set(name, sigmoid.run({ t: parameter }).value);
  }
  return { transforms, ends };
}
