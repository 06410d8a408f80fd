/**
 * Random numbers and the parts of test cases; see `_cases.ts`.
 *
 * @module
 */

import { type Granularity, type Tiling, tiling } from "../spec/granularity.ts";
import type { BufferArrays, ElementEncoder, Kernels } from "../spec/kernels.ts";

/** An output. */
export type Output = BufferArrays[keyof BufferArrays];

/** Random numbers from a seed (xorshift), the same everywhere. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = (seed * 2654435761 + 1) >>> 0 || 1;
    for (let i = 0; i < 8; i++) this.bits();
  }

  /** 32 random bits. */
  bits(): number {
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    return this.#state >>> 0;
  }

  /** A number in `[low, high]`. */
  int(low: number, high: number): number {
    return low + this.bits() % (high - low + 1);
  }

  /** One of the values. */
  of<T>(values: readonly T[]): T {
    return values[this.int(0, values.length - 1)];
  }

  /** About normal. */
  normal(): number {
    return (this.bits() + this.bits() + this.bits() - this.bits() - this.bits() - this.bits()) /
      2 ** 32;
  }

  /** f32, now and then a zero. */
  floats(length: number, scale = 1): Float32Array {
    return Float32Array.from(
      { length },
      () => this.int(0, 20) ? this.normal() * scale : this.of([0, -0]),
    );
  }

  /** f32 with all that there is: infinities, subnormals, NaN if wanted. */
  wild(length: number, nan: boolean): Float32Array {
    const special = [Infinity, -Infinity, 0, -0, 1e-42, -1e-45, 3e38, 65519, 65520, 2 ** -25];
    return Float32Array.from({ length }, () => {
      if (nan && this.int(0, 60) === 0) return NaN;
      if (this.int(0, 4) === 0) return this.of(special);
      return this.normal() * 2 ** this.int(-30, 20);
    });
  }

  /** Positive f32. */
  scales(length: number): Float32Array {
    return Float32Array.from({ length }, () => Math.abs(this.normal()) / 8 + 0.01);
  }

  /** Codes below `limit`. */
  codes(length: number, limit: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.int(0, limit - 1));
  }

  /** A tiling of about the given size. */
  tiling(rows: number, columns: number): Tiling {
    const granularity: Granularity = this.of<Granularity>([
      { kind: "tensor" },
      { kind: "channel" },
      { kind: "group", size: this.of([1, 3, 8, 16, 32, 40, 64]) },
      { kind: "block", rows: this.int(1, 5), columns: this.of([1, 7, 16, 32]) },
    ]);
    return tiling(granularity, rows, columns);
  }

  /** An encoder and the width of its codes. */
  encoder(bits: number): ElementEncoder {
    if (this.int(0, 1)) {
      const signed = this.int(0, 1);
      const min = signed ? -(1 << (bits - 1)) : 0;
      const range = { min, max: min + (1 << bits) - 1, mask: (1 << bits) - 1 };
      const floor = { rounding: "floor" as const, bias: this.of([0.5, 8.5]), shift: 1 << bits };
      const rounding = this.of([{}, { rounding: "half_away" as const }, floor]);
      return { kind: "int", ...range, ...rounding };
    }
    const count = this.of([0, 1, (1 << bits) - 1, (1 << bits) + 1]);
    const near = this.floats(count);
    const bitsOf = new Uint32Array(near.buffer);
    const thresholds = Uint32Array.from(
      bitsOf,
      (b) => this.int(0, 9) ? (b >>> 31 ? ~b : b ^ 0x80000000) : this.bits(),
    ).sort();
    return { kind: "steps", thresholds, codes: this.codes(count + 1, 1 << bits) };
  }
}

/** What a case is made of. */
export interface Case {
  /** The kernels to run on. */
  k: Kernels;
  /** Where inputs come from. */
  random: Random;
  /** Sizes; an operation uses them as it likes. */
  rows: number;
  columns: number;
}

/** Runs an operation and returns its outputs. */
export type Run = (c: Case) => Output[];
