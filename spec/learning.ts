/**
 * What plugins that learn from a whole model, or plan for it, are given.
 *
 * @module
 */

import type { DiffInputs, DiffReplacements, DiffScope, DiffTensor } from "./autodiff.ts";
import type { Hyperparameters, LinearInfo } from "./graph.ts";
import type { ResolvedScheme, SideTensor } from "./tensor.ts";

/** A whole model in memory, with calibration windows to learn from. */
export interface ModelLearner {
  /** Numbers of the model. */
  hyperparameters: Hyperparameters;
  /** The linears of its blocks. */
  linears: readonly LinearInfo[];
  /** Calibration windows of token ids. */
  windows: readonly Readonly<Int32Array>[];
  /** The weight of a linear, by id; decoded, where it is quantised by now. */
  weight(id: string): Readonly<Float32Array>;
  /** What {@linkcode ModelLearner.loss} reads about some windows of one length, by their numbers. */
  batch(windows: readonly number[]): DiffInputs;
  /**
   * The mean negative log-likelihood of the next tokens of a batch, inside a differentiated function
   * that has the batch among its inputs. Linears are replaced by id.
   */
  loss(scope: DiffScope, replaced?: DiffReplacements): DiffTensor;
}

/** A low-rank adapter of a linear: `W + scale * up @ down` (LoRA). */
export interface Adapter {
  /** The rank r. */
  rank: number;
  /** `[r, columns]`: A. */
  down: Float32Array;
  /** `[rows, r]`: B. */
  up: Float32Array;
  /** What their product is multiplied by: alpha / r. */
  scale: number;
}

/** What a learner makes of a whole model. */
export interface ModelLearned {
  /** Adapters by the linear's id. They are written beside the quantised weights. */
  adapters: ReadonlyMap<string, Adapter>;
  /** The loss over the steps, first to last. */
  losses: readonly number[];
}

/** A whole model before schemes are chosen. */
export interface ModelPlanner extends ModelLearner {
  /** The schemes to choose from, the same for each linear. */
  candidates: readonly ResolvedScheme[];
  /** The linears that a scheme is chosen for. */
  planned: readonly LinearInfo[];
  /** The weight of a linear, quantised by a scheme to nearest and decoded. */
  rounded(id: string, scheme: ResolvedScheme): Float32Array;
  /** Mean `KL(P_full || P)` on the windows, in nats, with weights replaced by id. */
  divergence(weights: ReadonlyMap<string, Float32Array>): number;
  /** Mean squared error of a block's output on the windows, with one weight replaced, by id. */
  blockError(id: string, weight: Float32Array): number;
}

/**
 * An adapter as a side tensor of a quantised weight.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { adapterPart } from "./learning.ts";
 * const adapter = { rank: 1, down: Float32Array.of(1, 2), up: Float32Array.of(3), scale: 0.5 };
 * const { left, right } = adapterPart(adapter);
 * assertEquals([[...left], [...right]], [[1.5], [1, 2]]);
 * ```
 */
export function adapterPart(adapter: Adapter): SideTensor & { kind: "low_rank" } {
  const { rank, up, down, scale } = adapter;
  return { kind: "low_rank", rank, left: up.map((value) => value * scale), right: down };
}
