/**
 * How much of the calibration data a linear has seen. Experts see the tokens that are routed to them;
 * those that see too few are rounded to nearest.
 *
 * @module
 */

import {
  type CalibrationSpec,
  type InputStatistics,
  type LinearInfo,
  LowbitError,
} from "../spec/mod.ts";

/** Rows below which second-order methods learn more of the sample than of the inputs. */
const LEAST_ROWS = 128;

/** Rows that each linear has seen, where that is only a part of the calibration data. */
export class Coverage {
  readonly #total: number;
  readonly #least: number;
  readonly #rows = new Map<string, number>();

  /** Nothing seen yet of `total` rows. */
  constructor(calibration: CalibrationSpec, total: number) {
    this.#total = total;
    this.#least = calibration.least_rows ?? LEAST_ROWS;
  }

  /** Notes what a linear has seen; the warning, if that is too little. */
  note({ id }: LinearInfo, { tokens }: InputStatistics): string | undefined {
    if (tokens >= this.#total) return undefined;
    this.#rows.set(id, tokens);
    if (tokens >= this.#least) return undefined;
    return `${id}: saw ${tokens} of ${this.#total} calibration rows, fewer than ${this.#least}; ` +
      "rounded to nearest";
  }

  /** The rows that a linear has seen; undefined for all of them. */
  rows(id: string): number | undefined {
    return this.#rows.get(id);
  }
}

/** Throws `NUMERICS` for a weight whose values are all the same: no weight was ever trained to that. */
export function refuseConstant(weight: Readonly<Float32Array>, { id }: LinearInfo): void {
  if (weight.length < 2 || weight.some((value) => value !== weight[0])) return;
  throw new LowbitError("NUMERICS", `all of its values are ${weight[0]}`, {
    field: id,
    advice: "check the checkpoint, or leave the tensor out of the recipe's select",
  });
}
