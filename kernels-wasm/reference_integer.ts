/**
 * The meaning of products in integers.
 *
 * @module
 */

import type {
  ActivationQuantization,
  IntegerWeightArguments,
  LinearWeight,
} from "../spec/kernels.ts";
import * as check from "./checks.ts";
import { integerForm, toEven } from "./checks_integer.ts";
import { readBits } from "./reference_codes.ts";

const fround = Math.fround;

/** Magnitudes below this count as 0. */
const SMALLEST = 2 ** -100;

/** Integers `v` of a weight, one an element, and the scales of its tiles. */
export class PlainIntegers implements LinearWeight {
  readonly rows: number;
  readonly columns: number;
  readonly bytes: number;
  readonly tiling: IntegerWeightArguments["tiling"];
  readonly scales: Float32Array;
  /** The minimum of every tile. */
  readonly minimums?: Float32Array;
  /** The zero point of every tile. */
  readonly zeros: Int16Array;
  /** Whether integers are looked up. */
  readonly lookup: boolean;
  #values?: Int16Array;
  #hold: (bytes: number) => void;

  /** Finds the integers of packed codes; `hold` counts bytes. */
  constructor(a: IntegerWeightArguments, hold: (bytes: number) => void) {
    const { values, offset, zeros, scales, minimums, lookup } = integerForm(a);
    this.lookup = lookup;
    this.minimums = minimums?.slice();
    this.tiling = a.tiling;
    this.rows = a.tiling.rows;
    this.columns = a.tiling.columns;
    this.scales = scales.slice();
    this.zeros = zeros ?? new Int16Array(scales.length).fill(offset);
    const integers = new Int16Array(this.rows * this.columns);
    for (let r = 0; r < this.rows; r++) {
      const first = 8 * r * Math.ceil(this.columns * a.bits / 8);
      for (let c = 0; c < this.columns; c++) {
        const zero = this.zeros[this.tile(r, c)];
        const code = readBits(a.bytes, first + c * a.bits, a.bits);
        integers[r * this.columns + c] = values[code] - zero;
      }
    }
    this.#values = integers;
    this.bytes = integers.byteLength + scales.byteLength;
    this.#hold = hold;
    hold(this.bytes);
  }

  /** The tile of an element. */
  tile(row: number, column: number): number {
    const { tileRows, tileColumns, gridColumns } = this.tiling;
    return Math.floor(row / tileRows) * gridColumns + Math.floor(column / tileColumns);
  }

  /** The integers; refuses a freed weight. */
  get values(): Int16Array {
    return this.#values ?? check.refuse("weight", "is used after it was freed");
  }

  free(): void {
    if (this.#values) this.#hold(-this.bytes);
    this.#values = undefined;
  }

  [Symbol.dispose](): void {
    this.free();
  }
}

/** Quantised values and their scale. */
function quantize(x: Float32Array, largest: number, limit: number) {
  if (!Number.isFinite(largest)) return { q: new Int32Array(x.length), scale: NaN };
  if (largest < SMALLEST) return { q: new Int32Array(x.length), scale: 0 };
  const factor = fround(limit / largest);
  const q = Int32Array.from(x, (v) => toEven(fround(v * factor)));
  return { q, scale: fround(largest / limit) };
}

function largestOf(x: Float32Array): number {
  return x.reduce((most, v) => Math.max(most, Math.abs(v)), 0); // a NaN stays
}

/** `y = x W^T`; see {@linkcode IntegerKernels.integerLinear}. */
export function integerLinear(
  x: Float32Array,
  y: Float32Array,
  tokens: number,
  weight: PlainIntegers,
  { granularity, bits }: Required<ActivationQuantization>,
): void {
  const { rows, columns, values, tiling: { tileColumns } } = weight;
  const limit = 2 ** (bits - 1) - 1;
  const whole = granularity === "tensor" ? largestOf(x) : undefined;
  for (let t = 0; t < tokens; t++) {
    const row = x.subarray(t * columns, (t + 1) * columns);
    const token = quantize(row, whole ?? largestOf(row), limit);
    const totals = new Float32Array(rows);
    for (let first = 0; first < columns; first += tileColumns) {
      const count = Math.min(tileColumns, columns - first);
      const part = row.subarray(first, first + count);
      const group = granularity === "group" ? quantize(part, largestOf(part), limit) : undefined;
      const q = group?.q ?? token.q.subarray(first, first + count);
      for (let r = 0; r < rows; r++) {
        let sum = 0;
        for (let c = 0; c < count; c++) sum += values[r * columns + first + c] * q[c];
        const tile = weight.tile(r, first);
        let product = fround(fround(sum) * weight.scales[tile]);
        if (weight.minimums) {
          const inputs = q.reduce((total, v) => total + v, 0);
          product = fround(product + fround(weight.minimums[tile] * fround(inputs)));
        }
        totals[r] += group ? fround(product * group.scale) : product;
      }
    }
    for (let r = 0; r < rows; r++) {
      y[t * rows + r] = granularity === "group" ? totals[r] : totals[r] * token.scale;
    }
  }
}

/** The most columns that are scaled at once. */
const SEGMENT = 256;

/** `y = x W^T`; see {@linkcode IntegerKernels.groupedLinear}. */
export function groupedLinear(
  x: Float32Array,
  y: Float32Array,
  tokens: number,
  weight: PlainIntegers,
): void {
  const { rows, columns, values, zeros, scales, minimums, tiling: { tileColumns } } = weight;
  for (let t = 0; t < tokens; t++) {
    const row = x.slice(t * columns, (t + 1) * columns).map((v) => Math.abs(v) < SMALLEST ? 0 : v);
    for (let r = 0; r < rows; r++) {
      let total = 0;
      for (let first = 0; first < columns;) {
        const groupEnd = (Math.floor(first / tileColumns) + 1) * tileColumns;
        const end = Math.min(first + SEGMENT, groupEnd, columns);
        const tile = weight.tile(r, first);
        let sum = 0, inputs = 0;
        for (let c = first; c < end; c++) {
          const u = values[r * columns + c] + zeros[tile];
          sum = fround(sum + fround(u * row[c]));
          inputs = fround(inputs + row[c]);
        }
        // no zero points beside minimums: 0 times an infinite sum would be NaN
        const centred = minimums ? sum : fround(sum - fround(zeros[tile] * inputs));
        let part = fround(centred * scales[tile]);
        if (minimums) part = fround(part + fround(minimums[tile] * inputs));
        total = fround(total + part);
        first = end;
      }
      y[t * rows + r] = total;
    }
  }
}
