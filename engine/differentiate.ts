/**
 * Blocks as differentiable functions, and the library that takes their gradients.
 *
 * @module
 */

import {
  type Autodiff,
  type DiffReplacements,
  type DiffScope,
  type DiffTensor,
  type Hyperparameters,
  type Kernels,
  type LinearInfo,
  LowbitError,
  type Node,
} from "../spec/mod.ts";
import { runDifferentiable } from "../models/differentiable.ts";
import type { PipelineStep } from "./pipeline.ts";

/** Loads the autodiff library; a host that has none leaves it out. */
export type AutodiffLoader = () => Promise<Autodiff>;

/** Gives the steps that ask for gradients the library, which is loaded for them alone. */
export async function provideAutodiff(
  steps: readonly PipelineStep[],
  load: AutodiffLoader | undefined,
): Promise<void> {
  for (const step of steps) {
    const { name, needs } = step.plugin.meta;
    if (!needs.autodiff) continue;
    if (!load) {
      throw new LowbitError("UNSUPPORTED", "needs gradients, but this host has no autodiff", {
        file: name,
        advice: "give `autodiff` to the engine, as the workbench does",
      });
    }
    step.context = { ...step.context, autodiff: await load() };
  }
}

/** Operations with their parameters in full precision. */
export interface DifferentiablePart {
  /** The operations. */
  nodes: readonly Node[];
  /** Numbers of the model. */
  hyperparameters: Hyperparameters;
  /** The kernels. */
  kernels: Kernels;
  /** A linear, by role. */
  linear(role: string): LinearInfo;
  /** A parameter, by name. */
  weight(name: string): Readonly<Float32Array>;
}

/** What operations make of `x`; what is not replaced is a constant. */
export function differentiate(
  part: DifferentiablePart,
  scope: DiffScope,
  x: DiffTensor,
  replaced: DiffReplacements = {},
): DiffTensor {
  const { nodes, hyperparameters, kernels } = part;
  return runDifferentiable({
    nodes,
    hyperparameters,
    kernels,
    scope,
    x,
    parameter(name) {
      const weight = part.weight(name);
      return replaced.parameter?.(name) ?? scope.constant(weight, [weight.length]);
    },
    values: (name) => part.weight(name),
    linear(role, input) {
      const made = replaced.linear?.(role, input);
      if (made) return made;
      const { rows, columns } = part.linear(role);
      return input.matmul(scope.constant(part.weight(role), [rows, columns]).transpose());
    },
  });
}
