/**
 * Sums over the codes of a tile: with the codes q held fixed, `sum w (x - s q - m)^2` is a quadratic
 * form of the scale s and the minimum m, and these sums are its coefficients.
 *
 * @module
 */

import type { NumberFormat } from "../spec/mod.ts";
import { decodeTable } from "./reference.ts";

/** The sums of a tile: of w, wx, wxx, wq, wqq and wxq, in this order. */
export type Sums = Float64Array;

/** How many sums there are. */
export const SUMS = 6;

/** `sum w (x - s q - m)^2`. */
export function errorOf(sums: Sums, s: number, m: number): number {
  return sums[2] - 2 * (s * sums[5] + m * sums[1]) + s * s * sums[4] + 2 * s * m * sums[3] +
    m * m * sums[0];
}

/** The best scale for a minimum. */
export function scaleFor(sums: Sums, m: number): number {
  return sums[4] > 0 ? (sums[5] - m * sums[3]) / sums[4] : 0;
}

/** The best minimum for a scale. */
export function minimumFor(sums: Sums, s: number): number {
  return sums[0] > 0 ? (sums[1] - s * sums[3]) / sums[0] : 0;
}

/** The best minimum, with the best scale for each; what is above `largest` becomes `largest`. */
export function bestMinimum(sums: Sums, largest: number): number {
  const determinant = sums[0] * sums[4] - sums[3] * sums[3];
  const m = determinant > 0
    ? (sums[4] * sums[1] - sums[3] * sums[5]) / determinant
    : minimumFor(sums, 0);
  return m > largest ? largest : m;
}

/** The values that codes can have, and the nearest of them to a number. */
export class Levels {
  /** The smallest value. */
  readonly low: number;
  /** The largest value. */
  readonly high: number;
  /** The distance of the two outermost values at either end. */
  readonly step: [low: number, high: number];
  readonly #values: Float64Array;
  readonly #integers: boolean;
  /** Bounds between neighbouring values, and for each bin of a regular grid the lowest of its values. */
  readonly #bounds: Float64Array;
  readonly #bins: Uint8Array;
  readonly #perUnit: number;

  constructor(format: NumberFormat) {
    const values = Float64Array.from(new Set(decodeTable(format).filter(Number.isFinite))).sort();
    const last = values.length - 1;
    this.#values = values;
    [this.low, this.high] = [values[0], values[last]];
    this.step = [values[1] - values[0], values[last] - values[last - 1]];
    this.#integers = values.every((v, i) => v === values[0] + i);
    this.#bounds = Float64Array.from(
      values,
      (v, i) => i < last ? (v + values[i + 1]) / 2 : Infinity,
    );
    this.#perUnit = 255 / (this.high - this.low);
    this.#bins = Uint8Array.from({ length: 256 }, (_, bin) => {
      const from = this.low + bin / this.#perUnit;
      return this.#bounds.findIndex((bound) => bound >= from);
    });
  }

  /** Adds up the parts of the sums that are without codes. */
  begin(x: Float64Array, w: Float64Array, from: number, to: number, sums: Sums): void {
    let [sw, swx, swxx] = [0, 0, 0];
    for (let i = from; i < to; i++) {
      const wx = w[i] * x[i];
      sw += w[i];
      swx += wx;
      swxx += wx * x[i];
    }
    sums[0] = sw;
    sums[1] = swx;
    sums[2] = swxx;
  }

  /** Adds up the parts with codes: those of the values nearest to `(x - m) / s`. */
  add(
    x: Float64Array,
    w: Float64Array,
    from: number,
    to: number,
    s: number,
    m: number,
    sums: Sums,
  ): void {
    const inverse = s === 0 ? 0 : 1 / s;
    if (this.#integers) this.#addIntegers(x, w, from, to, inverse, m, sums);
    else this.#addTable(x, w, from, to, inverse, m, sums);
  }

  #addIntegers(
    x: Float64Array,
    w: Float64Array,
    from: number,
    to: number,
    inverse: number,
    m: number,
    sums: Sums,
  ): void {
    const { low, high } = this;
    let [swq, swqq, swxq] = [0, 0, 0];
    for (let i = from; i < to; i++) {
      const v = x[i];
      let q = Math.floor((v - m) * inverse + 0.5);
      q = q < low ? low : q > high ? high : q;
      const wq = w[i] * q;
      swq += wq;
      swqq += wq * q;
      swxq += wq * v;
    }
    sums[3] = swq;
    sums[4] = swqq;
    sums[5] = swxq;
  }

  #addTable(
    x: Float64Array,
    w: Float64Array,
    from: number,
    to: number,
    inverse: number,
    m: number,
    sums: Sums,
  ): void {
    const { low, high } = this;
    const [values, bounds, bins, perUnit] = [this.#values, this.#bounds, this.#bins, this.#perUnit];
    let [swq, swqq, swxq] = [0, 0, 0];
    for (let i = from; i < to; i++) {
      const v = x[i];
      const y = (v - m) * inverse;
      const inside = y < low ? low : y > high ? high : y;
      let k = bins[((inside - low) * perUnit) | 0];
      if (inside > bounds[k]) {
        k++;
        while (inside > bounds[k]) k++;
      }
      const q = values[k];
      const wq = w[i] * q;
      swq += wq;
      swqq += wq * q;
      swxq += wq * v;
    }
    sums[3] = swq;
    sums[4] = swqq;
    sums[5] = swxq;
  }
}
