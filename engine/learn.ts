/**
 * Learners: plugins that replace quantised weights by better ones, with the block to try them on.
 *
 * @module
 */

import {
  type Buffer,
  type CodedTensor,
  isVector,
  type Kernels,
  type QuantizedTensor,
} from "../spec/mod.ts";
import { type LinearExecutor, weightExecutor } from "../models/linear.ts";
import type { LoadedBlock } from "./block.ts";
import { checkTensor } from "./checks.ts";
import type { PipelineStep } from "./pipeline.ts";

/** Lets every learner of the pipeline improve the weights of a block, in order. */
export function learnBlock(args: {
  block: LoadedBlock;
  steps: readonly PipelineStep[];
  /** The quantised weights by role; replaced by what is learned. */
  quantized: Map<string, CodedTensor>;
  /** Calibration inputs of the block. */
  states: readonly Buffer<"f32">[];
  calibration?: readonly Int32Array[];
  kernels: Kernels;
}): void {
  const { block, quantized, states, calibration = [], kernels } = args;
  for (const { plugin, context } of args.steps) {
    if (!plugin.learn) continue;
    const learned = plugin.learn({
      context,
      block: {
        index: block.index,
        linears: block.linears,
        edges: block.edges,
        hyperparameters: block.hyperparameters,
        weight: (name) => block.weight(name),
        statistics: (role) => block.statistics(role),
        schemes: (role) => block.schemes(role),
        quantized: withScheme(quantized),
        inputs: states.map((state) => state.array.slice()),
        forward: (window, weights) =>
          runWith(block, kernels, states[window], calibration[window].length, weights),
      },
    });
    for (const [role, tensor] of learned) {
      checkTensor(tensor, block.linear(role), plugin);
      quantized.set(role, tensor);
    }
  }
}

/** The quantised weights that have a scheme; learners do not see vector formats. */
function withScheme(tensors: ReadonlyMap<string, CodedTensor>): Map<string, QuantizedTensor> {
  const found = new Map<string, QuantizedTensor>();
  for (const [role, tensor] of tensors) if (!isVector(tensor)) found.set(role, tensor);
  return found;
}

/** A block's output with some weights replaced. */
function runWith(
  block: LoadedBlock,
  kernels: Kernels,
  state: Buffer<"f32">,
  tokens: number,
  weights: ReadonlyMap<string, Float32Array>,
): Float32Array {
  const executors = new Map<string, LinearExecutor>();
  try {
    for (const [role, values] of weights) {
      const { rows, columns } = block.linear(role);
      executors.set(role, weightExecutor(kernels, kernels.denseWeight(values, rows, columns)));
    }
    using output = block.run(state, tokens, { executors });
    return output.array.slice();
  } finally {
    for (const executor of executors.values()) executor.free();
  }
}
