/**
 * Products in integers: weights of integer codes, activations quantised on the fly.
 *
 * @module
 */

import type { Buffer } from "./kernel_buffers.ts";
import type { LinearWeight, PackedWeightArguments } from "./kernel_weights.ts";

/** How activations become integers: `q = rint(x * (limit / m))`, ties to even, `x ~ q * (m / limit)`. */
export interface ActivationQuantization {
  /**
   * What `m`, the largest magnitude, is taken over: a token (the default), the columns of a token
   * that share a scale of the weight, or the whole input.
   */
  granularity?: "token" | "group" | "tensor";
  /** Bits of an activation, 2 to 8 (the default); `limit` is `2^(bits - 1) - 1`. */
  bits?: number;
}

/** What `integerWeight` needs. */
export interface IntegerWeightArguments extends PackedWeightArguments {
  /**
   * Keeps codes of 1 to 4 bits as they are and looks their integers up, so that a table need not be
   * of integers. E2M1 (times 2) and the table of IQ4_NL lie on a grid of 256 points, and their
   * products stay exact. Any other table is rounded: to `rint(63 t / m)` times `m / 63`, ties to
   * even, m its largest magnitude. That is an error of at most `m / 126` a weight: for NF4 0.0079 of
   * the largest weight of a group, 0.0041 in root mean square over the table, where rounding to NF4
   * itself errs by up to 0.152. The scale times `m / 63` is rounded once to f32. `groupedLinear`
   * refuses such a weight.
   */
  lookup?: boolean;
}

/** What `integerLinear` needs. */
export interface IntegerLinearArguments {
  /** Input, `[tokens, columns]`. */
  x: Buffer<"f32">;
  /** Output, `[tokens, rows]`. */
  y: Buffer<"f32">;
  /** Rows of x and y. */
  tokens: number;
  /** The weight, of `integerWeight`. */
  weight: LinearWeight;
  /** How x is quantised; 8 bits a token if absent. */
  activations?: ActivationQuantization;
}

/** What `groupedLinear` needs. */
export type GroupedLinearArguments = Omit<IntegerLinearArguments, "activations">;

/** The operations. */
export interface IntegerKernels {
  /**
   * Prepares packed codes for `integerLinear` and `groupedLinear`. Their values must lie on an
   * evenly spaced grid of at most 256 points, and zero points on it: integers of 1 to 8 bits with or
   * without zero points, ternary, E2M1, but not NF4 (see `lookup`); minimums go with entries that
   * are not negative. At most 65536 columns may share a scale. A weight that is not so is refused
   * (`SHAPE`, field `table`, `zeros` or `tiling`).
   */
  integerWeight(args: IntegerWeightArguments): LinearWeight;
  /**
   * `y = x W^T` with x quantised. With `v = u - z` the integers of the weight (`u`, `z` from 0 to
   * 255, times the step of the grid), and q those of the activations, the sum of `v q` over the
   * columns that share a scale of the weight is exact: it is below `255 * 127 * 65536 < 2^31`. What
   * follows is f32, in this order, without fused multiply-add: that sum times the scale of the weight
   * (which holds the step), plus the minimum times the sum of `q` where there are minimums, for
   * activations by group times their scale; added to a total that starts at 0, groups ascending; at
   * the end, for activations by token or tensor, times their scale. So every implementation and any number of threads give the same bits.
   *
   * Where m is below 2^-100, codes and scale are 0. Where m is not finite, the outputs that depend
   * on it are NaN.
   */
  integerLinear(args: IntegerLinearArguments): void;
  /**
   * `y = x W^T` with a weight of `integerWeight` and f32 activations, scaled once a group: faster
   * than `linear`, which gives the bits of the decoded weight. Columns that share a scale are cut
   * into segments of 256, the last of which may have fewer. With `u` the integers of the weight and
   * `z` their zero point, in f32 and without fused multiply-add: `u x` is added, columns ascending,
   * to a sum that starts at 0, x to another; what a segment adds to the total, which starts at 0,
   * is `(sum of u x - z * sum of x) * scale`, or with minimums `(sum of u x) * scale + minimum * sum
   * of x`, segments ascending. Magnitudes of x below 2^-100 count as 0. So every implementation and any number of threads give the same bits.
   */
  groupedLinear(args: GroupedLinearArguments): void;
}
