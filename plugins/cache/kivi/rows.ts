/**
 * Rows of keys or values as packed codes.
 *
 * @module
 */

import { LowbitError } from "../../../spec/mod.ts";

/** How rows are grouped and coded. */
export interface RowGroups {
  /** Bits of a code: 2, 4 or 8. */
  bits: number;
  /** Rows of a group; rows are appended in multiples of it. */
  tokens: number;
  /** Columns of a group; the last one of a head may be shorter. */
  channels: number;
  /** Columns of a head, in which groups begin anew. */
  headSize: number;
}

/** The largest float16. */
const LARGEST = 65504;

/**
 * Rows `[length, width]` as codes of a few bits with a scale and a minimum for each group, both
 * float16.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { QuantizedRows } from "./rows.ts";
 * const rows = new QuantizedRows(4, { bits: 2, tokens: 1, channels: 4, headSize: 4 });
 * rows.append(Float32Array.of(0, 1, 2, 3), 1);
 * assertEquals([...rows.read()], [0, 1, 2, 3]);
 * assertEquals(rows.bytes, 1 + 2 + 2); // four codes of 2 bits, scale, minimum
 * ```
 */
export class QuantizedRows {
  readonly #width: number;
  readonly #groups: RowGroups;
  /** Codes, scales and minima of each run of `tokens` rows. */
  readonly #runs: { codes: Uint8Array; scales: Float16Array; minima: Float16Array }[] = [];

  /** An empty set of rows of `width` columns. */
  constructor(width: number, groups: RowGroups) {
    this.#width = width;
    this.#groups = groups;
  }

  /** Rows. */
  get length(): number {
    return this.#runs.length * this.#groups.tokens;
  }

  /** Bytes of codes, scales and minima. */
  get bytes(): number {
    return this.#runs.reduce(
      (sum, { codes, scales, minima }) =>
        sum + codes.byteLength + scales.byteLength + minima.byteLength,
      0,
    );
  }

  /** Appends rows, a multiple of those of a group. */
  append(x: Float32Array, rows: number): void {
    const { tokens } = this.#groups;
    for (let start = 0; start < rows; start += tokens) {
      this.#runs.push(
        this.#encode(x.subarray(start * this.#width, (start + tokens) * this.#width)),
      );
    }
  }

  /** All rows. */
  read(): Float32Array<ArrayBuffer> {
    const size = this.#groups.tokens * this.#width;
    const x = new Float32Array(this.#runs.length * size);
    this.#runs.forEach((_, i) => this.#decode(i, x.subarray(i * size, (i + 1) * size)));
    return x;
  }

  /** Forgets rows from `length` on; those before it in a group that is cut are given back. */
  truncate(length: number): Float32Array {
    const { tokens } = this.#groups;
    if (length >= this.length) return new Float32Array(0);
    const whole = Math.floor(length / tokens);
    const cut = new Float32Array(tokens * this.#width);
    this.#decode(whole, cut);
    this.#runs.length = whole;
    return cut.slice(0, (length - whole * tokens) * this.#width);
  }

  /** The columns of each group, `[first, end]`. */
  *#columns(): Generator<[number, number]> {
    const { channels, headSize } = this.#groups;
    for (let head = 0; head < this.#width; head += headSize) {
      for (let first = head; first < head + headSize; first += channels) {
        yield [first, Math.min(first + channels, head + headSize)];
      }
    }
  }

  #encode(x: Float32Array) {
    const { bits, tokens } = this.#groups;
    const width = this.#width;
    const levels = 2 ** bits - 1;
    const groups = [...this.#columns()];
    const scales = new Float16Array(groups.length), minima = new Float16Array(groups.length);
    const codes = new Uint8Array(Math.ceil(tokens * width * bits / 8));
    for (const [g, [first, end]] of groups.entries()) {
      let [min, max] = [Infinity, -Infinity];
      for (let t = 0; t < tokens; t++) {
        for (let c = first; c < end; c++) {
          min = Math.min(min, x[t * width + c]);
          max = Math.max(max, x[t * width + c]);
        }
      }
      const scale = Math.fround(Math.fround(max - min) / levels);
      if (!(Math.abs(min) <= LARGEST && scale <= LARGEST)) {
        throw new LowbitError("NUMERICS", `keys or values from ${min} to ${max} fit no float16`, {
          field: "kivi",
        });
      }
      scales[g] = scale;
      minima[g] = min;
      const [s, z] = [scales[g], minima[g]];
      for (let t = 0; t < tokens; t++) {
        for (let c = first; c < end; c++) {
          const i = t * width + c;
          const value = s === 0 ? 0 : Math.fround(Math.fround(x[i] - z) / s);
          const code = Math.min(levels, Math.max(0, roundHalfEven(value)));
          codes[i * bits >> 3] |= code << (i * bits & 7);
        }
      }
    }
    return { codes, scales, minima };
  }

  #decode(run: number, y: Float32Array): void {
    const { bits, tokens } = this.#groups;
    const { codes, scales, minima } = this.#runs[run];
    const width = this.#width;
    const mask = 2 ** bits - 1;
    let g = 0;
    for (const [first, end] of this.#columns()) {
      const [s, z] = [scales[g], minima[g++]];
      for (let t = 0; t < tokens; t++) {
        for (let c = first; c < end; c++) {
          const i = t * width + c;
          const code = codes[i * bits >> 3] >> (i * bits & 7) & mask;
          y[i] = z + Math.fround(code * s);
        }
      }
    }
  }
}

function roundHalfEven(x: number): number {
  const floor = Math.floor(x);
  if (x - floor !== 0.5) return Math.round(x);
  return floor % 2 === 0 ? floor : floor + 1;
}
