/**
 * Training parameters of a block against its full-precision outputs.
 *
 * @module
 */

import {
  type Autodiff,
  type BlockLearner,
  type DeviceTensor,
  type DiffReplacements,
  type DiffScope,
  type DiffTensor,
  LowbitError,
  type PluginContext,
  type QuantizedTensor,
} from "../../spec/mod.ts";
import { fakeQuantize } from "./fake_quant.ts";
import type { Optimizer } from "./optimizer.ts";

/** Values that are learned. */
export interface Trainable {
  /** Where they start; replaced by the best ones. */
  values: Float32Array;
  /** Their shape. */
  shape: readonly number[];
  /** How they follow a gradient. */
  optimizer: Optimizer;
}

/** What {@linkcode trainBlock} needs. */
export interface TrainArguments {
  /** The library. */
  autodiff: Autodiff;
  /** The block. */
  block: BlockLearner;
  /** What is learned, by name. */
  parameters: Record<string, Trainable>;
  /** The block's output for `x`, with the parameters among the inputs of the scope. */
  forward(scope: DiffScope, x: DiffTensor): DiffTensor;
  /** Steps; each takes one batch. */
  steps: number;
  /** Windows of a batch. */
  batch: number;
  /** The share of the learning rate at a step; 1 if absent. */
  schedule?(step: number, steps: number): number;
  /** How often the loss over all windows is looked at, to keep the best. */
  checks: number;
}

/** What training gives. */
export interface Trained {
  /** The mean squared error over all windows, at the start and at each check. */
  losses: number[];
  /** The least of them. */
  best: number;
}

interface Batch {
  x: DeviceTensor;
  target: DeviceTensor;
  /** Elements of the target. */
  elements: number;
}

/**
 * Minimises the mean squared error of the block's outputs over all windows, batch by batch in order.
 * Of the start and all checks the parameters with the least error are left in `parameters`.
 */
export function trainBlock(args: TrainArguments): Trained {
  const { autodiff, block, parameters, forward, steps, schedule = () => 1 } = args;
  const names = Object.keys(parameters);
  const loss = (scope: DiffScope) => {
    const error = forward(scope, scope.inputs.x).sub(scope.inputs.target);
    return error.mul(error).mean();
  };
  const batches = makeBatches(autodiff, block, args.batch);
  // Without any gradient the library would fuse norms into products, which is slower than the gradient.
  using program = autodiff.compile(loss, names.length > 0 ? names : ["x"]);
  const inputs = ({ x, target }: Batch) => ({
    x,
    target,
    ...Object.fromEntries(names.map((name) => [name, parameters[name]])),
  });
  const total = () => {
    let [sum, elements] = [0, 0];
    for (const batch of batches) {
      sum += batch.elements * program.run(inputs(batch)).value[0];
      elements += batch.elements;
    }
    return checked(sum / elements, block);
  };
  try {
    const losses = [total()];
    let best = losses[0];
    let kept = names.map((name) => parameters[name].values.slice());
    for (let step = 0; step < steps; step++) {
      const { value: loss, gradients } = program.run(inputs(batches[step % batches.length]));
      checked(loss[0], block);
      const share = schedule(step, steps);
      for (const name of names) {
        const { values, optimizer } = parameters[name];
        optimizer(values, gradients[name], share);
      }
      const due = Math.floor((step + 1) * args.checks / steps) >
        Math.floor(step * args.checks / steps);
      if (!due) continue;
      const now = total();
      losses.push(now);
      if (now >= best) continue;
      best = now;
      kept = names.map((name) => parameters[name].values.slice());
    }
    names.forEach((name, i) => parameters[name].values.set(kept[i]));
    return { losses, best };
  } finally {
    for (const { x, target } of batches) {
      x.free();
      target.free();
    }
  }
}

function checked(loss: number, { index }: BlockLearner): number {
  if (Number.isFinite(loss)) return loss;
  throw new LowbitError("NUMERICS", "the loss is not a number", {
    field: `blocks.${index}`,
    advice: "use a smaller learning rate",
  });
}

/** Windows of one length together, at most `size`; the target is what the original block makes. */
function makeBatches(autodiff: Autodiff, block: BlockLearner, size: number): Batch[] {
  const { hidden } = block.hyperparameters;
  const windows = block.inputs.map((_, window) => window);
  const batches: Batch[] = [];
  for (const same of Map.groupBy(windows, (window) => block.inputs[window].length).values()) {
    for (let start = 0; start < same.length; start += size) {
      const some = same.slice(start, start + size);
      const length = block.inputs[some[0]].length;
      const x = new Float32Array(some.length * length), target = new Float32Array(x.length);
      some.forEach((window, i) => {
        x.set(block.inputs[window], i * length);
        target.set(block.forward(window, new Map()), i * length);
      });
      const shape = [some.length, length / hidden, hidden];
      batches.push({
        x: autodiff.upload(x, shape),
        target: autodiff.upload(target, shape),
        elements: x.length,
      });
    }
  }
  return batches;
}

/** What linears make of their inputs with other weights; inputs are quantised as the recipe says. */
export function withWeights(
  context: PluginContext,
  block: BlockLearner,
  scope: DiffScope,
  weightOf: (role: string) => DiffTensor | undefined,
): NonNullable<DiffReplacements["linear"]> {
  return (role, x) => {
    const { activation } = block.schemes(role);
    const { rows, columns } = block.linears.find((linear) => linear.role === role)!;
    const weight = weightOf(role) ?? scope.constant(block.weight(role), [rows, columns]);
    if (!activation) return x.matmul(weight.transpose());
    const codec = context.codecs.get(activation);
    return fakeQuantize(x, codec, codec.tiling(1, columns)).matmul(weight.transpose());
  };
}

/** The mean squared error of the block's outputs with quantised weights, and other norms if given. */
export function quantizedError(
  context: PluginContext,
  block: BlockLearner,
  tensors: ReadonlyMap<string, QuantizedTensor>,
  batch: number,
  norms: ReadonlyMap<string, Float32Array> = new Map(),
): number {
  const decoded = new Map(
    [...tensors].map(([role, t]) => [role, context.codecs.get(t.scheme).dequantize(t)] as const),
  );
  return trainBlock({
    autodiff: context.autodiff!,
    block,
    parameters: {},
    steps: 0,
    batch,
    checks: 0,
    forward: (scope, x) =>
      block.differentiate!(scope, x, {
        linear: withWeights(context, block, scope, (role) => {
          const weight = decoded.get(role);
          return weight && scope.constant(weight, tensors.get(role)!.shape);
        }),
        parameter(name) {
          const norm = norms.get(name);
          return norm && scope.constant(norm, [norm.length]);
        },
      }),
  }).best;
}
