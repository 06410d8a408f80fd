/**
 * Binary coding: weighted sums of sign planes.
 *
 * @module
 */

import type { BinaryCodingFormat, VectorEncodeOptions, VectorShape } from "../../spec/mod.ts";
import { forEachElement } from "../reference.ts";
import type { Encoded, VectorCoder } from "./coder.ts";
import { roundEntries } from "./entries.ts";
import { solveSymmetric } from "./solve.ts";

/** The coder of binary coding. */
export class BinaryCoder implements VectorCoder {
  readonly #format: BinaryCodingFormat;

  /** Of a format. */
  constructor(format: BinaryCodingFormat) {
    this.#format = format;
  }

  /**
   * Greedy (Guo et al. 2017, arXiv 1706.04400, eq. 4; Xu et al. 2018, arXiv 1802.00150, eq. 3): each
   * plane is the signs of what is left, its alpha the mean magnitude, rounded as it is stored. Then,
   * `alternations` times, alphas by least squares `(B^T B)^-1 B^T w` (eq. 5) and the nearest sums
   * (eq. 6) in turn; the best of them is kept. Alphas that are given are only looked up.
   */
  encode(x: Float32Array, shape: VectorShape, options: VectorEncodeOptions): Encoded {
    const { planes } = this.#format;
    const tiles = members(shape);
    const codes = new Uint32Array(x.length);
    const tables = new Float32Array(tiles.length * planes);
    tiles.forEach((indices, tile) => {
      const values = Float64Array.from(indices, (i) => x[i]);
      const given = options.tables?.slice(tile * planes, (tile + 1) * planes);
      let best = given ? nearestPlanes(values, given) : this.#greedy(values);
      let current = best;
      for (let round = 0; !given && round < this.#format.alternations; round++) {
        current = this.#refit(values, current);
        if (current.error < best.error) best = current;
      }
      tables.set(best.alphas, tile * planes);
      indices.forEach((i, n) => codes[i] = best.codes[n]);
    });
    return { codes, tables };
  }

  /** The sums, in f32 in the order of the planes. */
  decode({ codes, tables }: Encoded, shape: VectorShape): Float32Array {
    const { planes } = this.#format;
    const out = new Float32Array(codes.length);
    forEachElement(shape.tables!, (i, tile) => {
      out[i] = signedSum(tables!.subarray(tile * planes, (tile + 1) * planes), codes[i]);
    });
    return out;
  }

  #greedy(values: Float64Array): Planes {
    const { planes, entries } = this.#format;
    const alphas = new Float32Array(planes);
    const codes = new Uint32Array(values.length);
    const rest = values.slice();
    for (let plane = 0; plane < planes; plane++) {
      const mean = rest.reduce((sum, value) => sum + Math.abs(value), 0) / Math.max(1, rest.length);
      alphas[plane] = roundEntries(entries, Float64Array.of(mean))[0];
      rest.forEach((value, i) => {
        if (value >= 0) codes[i] |= 1 << plane;
        rest[i] = value - (value >= 0 ? alphas[plane] : -alphas[plane]);
      });
    }
    return { alphas, codes, error: errorOf(values, alphas, codes) };
  }

  /** Alphas for the codes, and then codes for the alphas. */
  #refit(values: Float64Array, { codes, alphas: before }: Planes): Planes {
    const { planes, entries } = this.#format;
    const gram = new Float64Array(planes * planes);
    const right = new Float64Array(planes);
    const sign = (code: number, plane: number) => (code >> plane) & 1 ? 1 : -1;
    codes.forEach((code, i) => {
      for (let a = 0; a < planes; a++) {
        right[a] += sign(code, a) * values[i];
        for (let b = 0; b < planes; b++) gram[a * planes + b] += sign(code, a) * sign(code, b);
      }
    });
    const solved = solveSymmetric(gram, right);
    return nearestPlanes(values, solved ? roundEntries(entries, solved) : before);
  }
}

/** The nearest sums of alphas. */
function nearestPlanes(values: Float64Array, alphas: Float32Array): Planes {
  const sums = Float64Array.from(
    { length: 2 ** alphas.length },
    (_, code) => signedSum(alphas, code),
  );
  const codes = Uint32Array.from(values, (value) => nearestSum(sums, value));
  return { alphas, codes, error: errorOf(values, alphas, codes) };
}

interface Planes {
  alphas: Float32Array;
  codes: Uint32Array;
  error: number;
}

/** `sum_i +-alpha_i` in f32. */
function signedSum(alphas: Float32Array, code: number): number {
  let sum = 0;
  for (let plane = 0; plane < alphas.length; plane++) {
    sum = Math.fround(sum + ((code >> plane) & 1 ? alphas[plane] : -alphas[plane]));
  }
  return sum;
}

function nearestSum(sums: Float64Array, value: number): number {
  let best = 0;
  for (let code = 1; code < sums.length; code++) {
    if (Math.abs(sums[code] - value) < Math.abs(sums[best] - value)) best = code;
  }
  return best;
}

function errorOf(values: Float64Array, alphas: Float32Array, codes: Uint32Array): number {
  return values.reduce((sum, value, i) => sum + (value - signedSum(alphas, codes[i])) ** 2, 0);
}

/** The elements of each tile. */
function members({ tables }: VectorShape): number[][] {
  const tiles: number[][] = Array.from(
    { length: tables!.gridRows * tables!.gridColumns },
    () => [],
  );
  forEachElement(tables!, (i, tile) => tiles[tile].push(i));
  return tiles;
}
