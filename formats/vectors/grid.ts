/**
 * Grids: fixed sets of vectors, and the exact search for the nearest one.
 *
 * @module
 */

import {
  type GridFormat,
  LowbitError,
  type NumberFormat,
  type VectorEncodeOptions,
  type VectorShape,
} from "../../spec/mod.ts";
import { decodeTable } from "../reference.ts";
import type { Encoded, VectorCoder } from "./coder.ts";

/** A set of vectors: every pattern with every choice of signs, plus every shift. */
export interface PointSet {
  /** Elements of a vector. */
  dimension: number;
  /** The patterns, one after the other; magnitudes where there are signs. */
  patterns: Float64Array;
  /** For `parity`: whether the number of minus signs is odd, one a pattern. */
  odd: Uint8Array;
  /** Which signs a code stores: none, all but the last one, all. */
  signs: "none" | "parity" | "free";
  /** What is added to every element, by the lowest bits of a code. */
  shifts: readonly number[];
}

const sets = new WeakMap<GridFormat, PointSet>();

/**
 * The vectors of a grid format; made once.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { vectorFormat } from "../lookup.ts";
 * import { pointSet } from "./grid.ts";
 * const format = vectorFormat("e8p");
 * assertEquals(format.family === "grid" && pointSet(format).patterns.length, 256 * 8);
 * ```
 */
export function pointSet(format: GridFormat): PointSet {
  let set = sets.get(format);
  if (!set) sets.set(format, set = makeSet(format));
  return set;
}

function makeSet(format: GridFormat): PointSet {
  const { points, dimension, bits } = format;
  const plain = (patterns: number[][], signs: PointSet["signs"] = "none"): PointSet => ({
    dimension,
    patterns: Float64Array.from(patterns.flat(), Math.fround),
    odd: new Uint8Array(patterns.length),
    signs,
    shifts: [0],
  });
  switch (points.kind) {
    case "vectors":
      return plain(points.values, points.signs);
    case "e8p":
      return e8p();
    case "d4":
      return plain(shortest(integerVectors(dimension), 2 ** bits));
    case "product":
      return plain(productVectors(format, points.element as NumberFormat));
  }
}

/** Squared length, and then element by element. */
function byLength(a: number[], b: number[]): number {
  const length = (v: number[]) => v.reduce((sum, x) => sum + x * x, 0);
  const first = a.findIndex((x, i) => x !== b[i]);
  return length(a) - length(b) || (first < 0 ? 0 : a[first] - b[first]);
}

function shortest(vectors: number[][], count: number): number[][] {
  return vectors.sort(byLength).slice(0, count);
}

/** All vectors of `dimension` of these values. */
function combinations(values: readonly number[], dimension: number): number[][] {
  let all: number[][] = [[]];
  for (let i = 0; i < dimension; i++) all = all.flatMap((v) => values.map((x) => [...v, x]));
  return all;
}

/** Integer vectors of even sum: the lattice D4, far enough for 4096 of them. */
function integerVectors(dimension: number): number[][] {
  const values = Array.from({ length: 15 }, (_, i) => i - 7);
  return combinations(values, dimension)
    .filter((v) => v.reduce((a, b) => a + b, 0) % 2 === 0);
}

function productVectors({ id, dimension, bits }: GridFormat, element: NumberFormat): number[][] {
  if (element.bits * dimension !== bits) {
    throw new LowbitError("FORMAT", `is ${bits}, but ${dimension} x ${element.bits} are needed`, {
      file: id,
      field: "bits",
    });
  }
  const values = decodeTable(element);
  if (!values.every(Number.isFinite)) {
    throw new LowbitError("FORMAT", `${element.id} has codes that are no number`, {
      file: id,
      field: "points.element",
    });
  }
  return combinations([...values], dimension);
}

/**
 * E8P12 (QuIP#, arXiv 2402.04396, section 4.2): the magnitudes of D8^, the half-integer vectors of
 * even sum, of squared length up to 10 (there are 227), filled up to 256 by 29 of squared length
 * 12; all sign changes that keep the sum even; plus or minus 1/4 on every element, which gives
 * points of E8 + 1/4. The paper leaves the order and the choice of the 29 to the implementation:
 * here patterns are in the order of length and then of their elements, and the 29 are the first of
 * those with five elements 3/2.
 */
function e8p(): PointSet {
  const all = combinations([0.5, 1.5, 2.5], 8).filter((v) =>
    v.reduce((a, x) => a + x * x, 0) <= 12
  );
  const length = (v: number[]) => v.reduce((sum, x) => sum + x * x, 0);
  const inner = all.filter((v) => length(v) <= 10);
  const rim = all.filter((v) => length(v) === 12 && v.every((x) => x < 2));
  const patterns = [...shortest(inner, inner.length), ...shortest(rim, 256 - inner.length)];
  return {
    dimension: 8,
    patterns: Float64Array.from(patterns.flat()),
    // A changed sign changes the sum by an odd number.
    odd: Uint8Array.from(patterns, (v) => v.reduce((a, b) => a + b, 0) % 2),
    signs: "parity",
    shifts: [0.25, -0.25],
  };
}

const signBits = ({ signs, dimension }: PointSet): number =>
  signs === "none" ? 0 : signs === "free" ? dimension : dimension - 1;

/**
 * Writes the vector of a code to `out` at `offset`.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { vectorFormat } from "../lookup.ts";
 * import { decodePoint, pointSet } from "./grid.ts";
 * const format = vectorFormat("e8p");
 * if (format.family !== "grid") throw new Error();
 * const out = new Float32Array(8);
 * decodePoint(pointSet(format), 0, out, 0);
 * assertEquals([...out], Array(8).fill(0.75)); // 1/2 + 1/4, no minus signs
 * ```
 */
export function decodePoint(set: PointSet, code: number, out: Float32Array, offset: number): void {
  const { dimension, patterns, shifts } = set;
  const shift = shifts[code % shifts.length];
  const above = Math.floor(code / shifts.length);
  const bits = signBits(set);
  const index = Math.floor(above / 2 ** bits);
  let minus = set.odd[index];
  for (let j = 0; j < dimension; j++) {
    const last = set.signs === "parity" && j === dimension - 1;
    const bit = last ? minus & 1 : j < bits ? Math.floor(above / 2 ** j) & 1 : 0;
    if (!last) minus += bit;
    const value = patterns[index * dimension + j];
    out[offset + j] = (bit ? -value : value) + shift;
  }
}

/**
 * The code of the nearest vector to `x` at `offset`. For a pattern the best signs are those of x,
 * and if their number must be even and is odd (or the other way round), the sign is changed that
 * costs least: exact, without trying all of them.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { vectorFormat } from "../lookup.ts";
 * import { nearestPoint, pointSet } from "./grid.ts";
 * const format = vectorFormat("e8p");
 * if (format.family !== "grid") throw new Error();
 * assertEquals(nearestPoint(pointSet(format), new Float32Array(8).fill(0.7), 0), 0);
 * ```
 */
export function nearestPoint(set: PointSet, x: Float32Array, offset: number): number {
  const { dimension, patterns, odd, signs, shifts } = set;
  const count = odd.length;
  const target = new Float64Array(dimension);
  let [bestIndex, bestShift, best] = [0, 0, -Infinity];
  for (let s = 0; s < shifts.length; s++) {
    let [minus, middle] = [0, 0];
    for (let j = 0; j < dimension; j++) {
      const value = x[offset + j] - shifts[s];
      if (signs !== "none" && value < 0) minus++;
      target[j] = signs === "none" ? value : Math.abs(value);
      middle -= value * value / 2;
    }
    for (let index = 0, p = 0; index < count; index++, p += dimension) {
      // Minus half the squared distance.
      let score = middle;
      for (let j = 0; j < dimension; j++) {
        const value = patterns[p + j];
        score += value * (target[j] - value / 2);
      }
      if (score <= best) continue;
      if (signs === "parity" && ((minus ^ odd[index]) & 1) === 1) {
        let cost = Infinity;
        for (let j = 0; j < dimension; j++) cost = Math.min(cost, target[j] * patterns[p + j]);
        score -= 2 * cost;
        if (score <= best) continue;
      }
      [bestIndex, bestShift, best] = [index, s, score];
    }
  }
  return codeOf(set, x, offset, bestIndex, bestShift);
}

/** The code of a pattern and a shift with the best signs. */
function codeOf(set: PointSet, x: Float32Array, offset: number, index: number, s: number): number {
  const { dimension, patterns, odd, signs, shifts } = set;
  const minus = new Uint8Array(dimension);
  if (signs !== "none") {
    for (let j = 0; j < dimension; j++) minus[j] = Number(x[offset + j] - shifts[s] < 0);
  }
  const sum = minus.reduce((a, b) => a + b, 0);
  if (signs === "parity" && ((sum ^ odd[index]) & 1) === 1) {
    let [cheapest, cost] = [0, Infinity];
    for (let j = 0; j < dimension; j++) {
      const c = Math.abs(x[offset + j] - shifts[s]) * patterns[index * dimension + j];
      if (c < cost) [cheapest, cost] = [j, c];
    }
    minus[cheapest] ^= 1;
  }
  const bits = signBits(set);
  let code = index;
  for (let j = bits - 1; j >= 0; j--) code = code * 2 + minus[j];
  return code * shifts.length + s;
}

/** The coder of a grid format. */
export class GridCoder implements VectorCoder {
  readonly #set: PointSet;

  /** Of a format whose number formats are looked up. */
  constructor(format: GridFormat) {
    this.#set = pointSet(format);
  }

  /** The nearest vectors. */
  encode(x: Float32Array, _shape: VectorShape, _options: VectorEncodeOptions): Encoded {
    const { dimension } = this.#set;
    const codes = new Uint32Array(x.length / dimension);
    for (let i = 0; i < codes.length; i++) codes[i] = nearestPoint(this.#set, x, i * dimension);
    return { codes };
  }

  /** The vectors of codes. */
  decode({ codes }: Encoded, _shape: VectorShape): Float32Array {
    const { dimension } = this.#set;
    const out = new Float32Array(codes.length * dimension);
    codes.forEach((code, i) => decodePoint(this.#set, code, out, i * dimension));
    return out;
  }
}
