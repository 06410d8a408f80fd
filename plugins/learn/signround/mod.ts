/**
 * SignRound: whether each weight is rounded up or down, and how far ranges are clipped, learned by
 * the signs of gradients of the block's output error.
 *
 * @module
 */

import { z } from "zod";
import {
  definePlugin,
  type DiffTensor,
  type Plugin,
  PLUGIN_API_VERSION,
  type QuantizedTensor,
  schema,
} from "../../../spec/mod.ts";
import {
  quantizedError,
  type Trainable,
  trainBlock,
  withWeights,
} from "../../_math/block_training.ts";
import { fakeQuantize, isUniform, quantizeLearned, UNIFORM } from "../../_math/fake_quant.ts";
import { signDescent } from "../../_math/optimizer.ts";

/** Options of {@linkcode signround}. */
export interface SignroundOptions {
  /** Steps for each block; 0 rounds to nearest. */
  steps: number;
  /** Windows of a step. */
  batch: number;
  /** The learning rate at the start, which falls to 0; 0 stands for 1 / steps. */
  rate: number;
  /** Learn clipped ranges as well. */
  clip: boolean;
}

/**
 * SignRound (Cheng et al. 2023, arXiv 2309.05516, eq. 3 and algorithm 1; AutoRound). With
 * `W~ = s (clamp(round(W / s + z + V)) - z)`, `s = (a max W - b min W) / (2^bits - 1)`, V in
 * [-1/2, 1/2] and a, b in [0, 1], the mean squared error of the block's output is made smaller by
 * `V -= rate sign(dL/dV)`, likewise a and b; the rate falls linearly. Rounding passes gradients
 * straight through. The parameters with the least error over all windows are kept, and a block that
 * does not get better than its weights were before stays as it was.
 *
 * Codes are decided by f32 sums of the autodiff library, which runs on one thread without fused
 * operations: the same bytes on every run, for any number of threads.
 *
 * @example
 * ```ts
 * import { signround } from "./mod.ts";
 * signround.options.parse({}).steps; // 200
 * ```
 */
export const signround: Plugin<SignroundOptions> = definePlugin({
  meta: {
    name: "signround",
    version: "1.0.0",
    apiVersion: PLUGIN_API_VERSION,
    summary: "learns rounding and clipping by the signs of gradients, block by block",
    paper: {
      title: "Optimize Weight Rounding via Signed Gradient Descent for the Quantization of LLMs",
      id: "arXiv 2309.05516",
      equation: "3, algorithm 1",
    },
    needs: { statistics: [], autodiff: true },
    supports: UNIFORM,
    after: ["rtn", "gptq"],
    determinism: "exact",
  },
  options: schema(
    "options of signround",
    z.strictObject({
      steps: z.int().min(0).max(100000).default(200).describe("steps for each block"),
      batch: z.int().min(1).max(1024).default(8).describe("windows of a step"),
      rate: z.number().min(0).max(1).default(0).describe(
        "learning rate at the start; 0 stands for 1 / steps",
      ),
      clip: z.boolean().default(true).describe("learn clipped ranges as well"),
    }),
  ),
  learn({ context, block }) {
    const { autodiff, kernels, codecs, options: { steps, batch, clip } } = context;
    const rate = context.options.rate || 1 / Math.max(1, steps);
    const parameters: Record<string, Trainable> = {};
    const linears = block.linears.flatMap(({ role, rows, columns }) => {
      const tensor = block.quantized.get(role);
      if (!tensor || !isUniform(tensor.scheme)) return [];
      const codec = codecs.get(tensor.scheme);
      const tiling = codec.tiling(rows, columns);
      const { gridColumns, tileColumns } = tiling;
      using x = kernels.upload(block.weight(role) as Float32Array);
      const ranges = codec.ranges(x, tiling);
      const shape = [rows, gridColumns, tileColumns], tiles = [rows, gridColumns, 1];
      const count = rows * gridColumns;
      const trainable = (values: Float32Array, shape: number[], range: [number, number]) => ({
        values,
        shape,
        optimizer: signDescent(rate, range),
      });
      const offsets = new Float32Array(count * tileColumns);
      parameters[`${role}/offset`] = trainable(offsets, shape, [-0.5, 0.5]);
      if (clip) {
        for (const end of ["low", "high"]) {
          const ones = new Float32Array(count).fill(1);
          parameters[`${role}/${end}`] = trainable(ones, tiles, [0, 1]);
        }
      }
      return [{ role, rows, columns, codec, tiling, tiles, ranges }];
    });
    if (linears.length === 0 || steps === 0) return new Map();
    const learnedOf = <T>(role: string, from: Record<string, T>) => ({
      offset: from[`${role}/offset`],
      low: from[`${role}/low`] as T | undefined,
      high: from[`${role}/high`] as T | undefined,
    });
    trainBlock({
      autodiff: autodiff!,
      block,
      parameters,
      steps,
      batch,
      checks: 4,
      schedule: (step) => 1 - step / steps,
      forward(scope, x) {
        const { inputs } = scope;
        const weights = new Map<string, DiffTensor>();
        for (const { role, rows, columns, codec, tiling, tiles, ranges } of linears) {
          const weight = scope.constant(block.weight(role), [rows, columns]);
          const extremes = {
            min: scope.constant(ranges.min, tiles),
            max: scope.constant(ranges.max, tiles),
          };
          const grid = { ...learnedOf(role, inputs), extremes };
          weights.set(role, fakeQuantize(weight, codec, tiling, grid));
        }
        const linear = withWeights(context, block, scope, (role) => weights.get(role));
        return block.differentiate!(scope, x, { linear });
      },
    });
    const values = Object.fromEntries(
      Object.entries(parameters).map(([name, { values }]) => [name, values]),
    );
    const learned = new Map<string, QuantizedTensor>(
      linears.map(({ role, rows, codec }) => [
        role,
        quantizeLearned(kernels, codec, block.weight(role), rows, learnedOf(role, values)),
      ]),
    );
    const before = quantizedError(context, block, block.quantized, batch);
    const after = quantizedError(context, block, new Map([...block.quantized, ...learned]), batch);
    if (after < before) return learned;
    context.warn(`blocks.${block.index}: nothing learned was better than the weights before`);
    return new Map();
  },
});
