/**
 * Learners: plugins that replace quantised weights by better ones, with the block to try them on.
 *
 * @module
 */

import {
  type BlockLearned,
  type CodedTensor,
  isVector,
  type Kernels,
  type LinearInfo,
  LowbitError,
  type Plugin,
  type QuantizedTensor,
} from "../spec/mod.ts";
import { type LinearExecutor, weightExecutor } from "../models/linear.ts";
import type { Activations, Borrowed } from "./activations.ts";
import type { LoadedBlock } from "./block.ts";
import { checkTensor, proveEqual } from "./checks.ts";
import { differentiate } from "./differentiate.ts";
import type { PipelineStep } from "./pipeline.ts";

/** What {@linkcode learnBlock} needs. */
export interface LearnArguments {
  /** The block. */
  block: LoadedBlock;
  /** The steps of the pipeline. */
  steps: readonly PipelineStep[];
  /** The quantised weights by role; replaced by what is learned. */
  quantized: Map<string, CodedTensor>;
  /** Calibration inputs of the block. */
  states: Activations;
  /** The windows. */
  calibration?: readonly Int32Array[];
  /** The kernels. */
  kernels: Kernels;
  /** Quantises a weight that a transform has changed. */
  requantize(linear: LinearInfo): CodedTensor | undefined;
}

/** Lets every learner of the pipeline improve the weights of a block, in order. */
export function learnBlock(args: LearnArguments): void {
  const { block, quantized, states, calibration = [], kernels } = args;
  for (const { plugin, context, selects } of args.steps) {
    if (!plugin.learn) continue;
    const chosen = block.linears.filter((linear) => selects(linear));
    const roles = new Set(chosen.map(({ role }) => role));
    const part = {
      nodes: block.graph,
      hyperparameters: block.hyperparameters,
      kernels,
      weight: (name: string) => block.weight(name),
      linear: (role: string) => block.linear(role),
    };
    const result = plugin.learn({
      context,
      block: {
        index: block.index,
        linears: block.linears,
        edges: block.edges,
        hyperparameters: block.hyperparameters,
        weight: part.weight,
        statistics: (role) => block.statistics(role),
        schemes: (role) => block.schemes(role),
        quantized: withScheme(quantized, roles),
        inputs: Array.from({ length: states.count }, (_, i) => {
          using state = states.borrow(i);
          return state.buffer.array.slice();
        }),
        forward: (window, weights) => {
          using state = states.borrow(window);
          return runWith(block, kernels, state.buffer, calibration[window].length, weights);
        },
        differentiate: (scope, x, replaced) => differentiate(part, scope, x, replaced),
      },
    });
    const learned = result instanceof Map ? { quantized: result } : result;
    const changed = applyTransforms(args, plugin, learned);
    for (const [role, tensor] of learned.quantized) {
      checkTensor(tensor, block.linear(role), plugin);
      quantized.set(role, tensor);
    }
    for (const role of changed.filter((role) => !learned.quantized.has(role))) {
      const tensor = args.requantize(block.linear(role));
      if (tensor) quantized.set(role, tensor);
    }
  }
}

/** The quantised weights of some roles that have a scheme; learners do not see vector formats. */
function withScheme(
  tensors: ReadonlyMap<string, CodedTensor>,
  roles: ReadonlySet<string>,
): Map<string, QuantizedTensor> {
  const found = new Map<string, QuantizedTensor>();
  for (const [role, tensor] of tensors) {
    if (roles.has(role) && !isVector(tensor)) found.set(role, tensor);
  }
  return found;
}

/** Applies and proves the transforms of a learner; the roles of the linears that they change. */
function applyTransforms(
  { block, states, calibration = [] }: LearnArguments,
  plugin: Plugin,
  { transforms = [] }: BlockLearned,
): string[] {
  if (transforms.length === 0) return [];
  const { name } = plugin.meta;
  if (!plugin.meta.transforms) {
    throw new LowbitError("PLUGIN", "returns transforms, which its manifest does not say", {
      file: name,
      advice: "set `transforms` in the manifest",
    });
  }
  const run = () => {
    using state = states.borrow(0);
    using output = block.run(state.buffer, calibration[0].length);
    return output.array.slice();
  };
  const before = run();
  block.transform(transforms, name);
  proveEqual(before, run(), name, `blocks.${block.index}`);
  return transforms.flatMap(({ edge: id }) => {
    const edge = block.edges.find((edge) => edge.id === id)!;
    return [edge.from, ...edge.to].filter((role) => block.linear(role));
  });
}

/** A block's output with some weights replaced. */
function runWith(
  block: LoadedBlock,
  kernels: Kernels,
  state: Borrowed["buffer"],
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
