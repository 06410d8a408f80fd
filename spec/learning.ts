/**
 * What plugins that learn from a whole model, or plan for it, are given.
 *
 * @module
 */

import type { DiffInputs, DiffReplacements, DiffScope, DiffTensor } from "./autodiff.ts";
import type { Hyperparameters, LinearInfo } from "./graph.ts";
import type { LowRankPart, ResolvedScheme } from "./tensor.ts";

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

/** What a learner makes of a whole quantised model. */
export interface ModelLearned {
  /** What is added to quantised weights, by the ids of their linears. */
  side: ReadonlyMap<string, LowRankPart>;
  /** Other values of parameters that are stored plainly (norms, biases), by id. */
  parameters?: ReadonlyMap<string, Float32Array>;
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
