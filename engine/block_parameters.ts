/**
 * What operations on a block change.
 *
 * @module
 */

import type { Hyperparameters, LinearInfo, Node } from "../spec/mod.ts";

/** The parameters of a block, to be changed in place. */
export interface BlockParameters {
  /** The operations of the block. */
  readonly graph: readonly Node[];
  /** Numbers of the model. */
  readonly hyperparameters: Hyperparameters;
  /** A linear, by role. */
  linear(role: string): LinearInfo;
  /** Whether there is a parameter. */
  has(name: string): boolean;
  /** A parameter, by name. */
  weight(name: string): Float32Array;
}
