/**
 * HQQ: zero points that make weight errors sparse, without any data.
 *
 * @module
 */

import { z } from "zod";
import {
  definePlugin,
  type GridParameters,
  type Plugin,
  PLUGIN_API_VERSION,
  schema,
  type Tiling,
} from "../../../spec/mod.ts";
import { rootPower } from "../../_math/power.ts";

/** Options of {@linkcode hqq}. */
export interface HqqOptions {
  /** The exponent p of the error. */
  norm: number;
  /** The weight of the half-quadratic term in the first round. */
  beta: number;
  /** What beta is multiplied by after each round. */
  growth: number;
  /** The most rounds. */
  iterations: number;
}

/**
 * Half-quadratic quantisation (Badri and Shaji 2023, eq. 3 to 6): `min_z |W - Q^-1(Q(W))|_p^p`, p
 * below 1, the scale s of the whole range. The split `min |e|_p^p + beta/2 |W - Q^-1(Q(W)) - e|^2` is
 * solved by turns, beta growing:
 *
 * - `e = shrink(W - W_r)`, `shrink(x) = sign(x) max(0, |x| - |x|^(p-1) / beta)`
 * - `z = mean(q - (W - e) / s)` over the values that share it
 *
 * Each tile stops when its mean magnitude of error no longer falls, and keeps the best zero point.
 * Integer zero points are rounded in every round.
 *
 * @example
 * ```ts
 * import { hqq } from "./mod.ts";
 * hqq.options.parse({}); // { norm: 0.7, beta: 10, growth: 1.01, iterations: 20 }
 * ```
 */
export const hqq: Plugin<HqqOptions> = definePlugin({
  meta: {
    name: "hqq",
    version: "1.0.0",
    apiVersion: PLUGIN_API_VERSION,
    summary: "zero points of least sparse error, without data",
    paper: {
      title: "Half-Quadratic Quantization of Large Machine Learning Models",
      id: "mobiusml.github.io/hqq_blog",
      equation: "3 to 6",
    },
    needs: { statistics: [] },
    supports: { families: ["int"], zeroPoints: ["int", "float"], symmetric: false },
    after: ["smoothquant", "os-plus", "awq", "quarot"],
    determinism: "exact",
  },
  options: schema(
    "options of hqq",
    z.strictObject({
      norm: z.number().min(0.1).max(1).default(0.7).describe("exponent of the error"),
      beta: z.number().positive().max(1e6).default(10).describe("first weight of the split"),
      growth: z.number().min(1).max(10).default(1.01).describe("factor of beta after a round"),
      iterations: z.int().min(0).max(1000).default(20).describe("the most rounds"),
    }),
  ),
  quantize({ context: { kernels, options }, linear, weight, codec }) {
    const { rows, columns } = linear;
    using x = kernels.upload(weight);
    const tiling = codec.tiling(rows, columns);
    const first = codec.parameters(x, tiling);
    const rounded = codec.scheme.zero_point!.kind === "int";
    const levels = 2 ** codec.scheme.element.bits - 1;
    const settings = { norm: options.norm, levels, rounded, rounds: roundsOf(options) };
    const parameters = { ...first, zeros: bestZeros(weight, tiling, first, settings) };
    using codes = codec.encode(x, tiling, parameters);
    return { shape: [rows, columns], scheme: codec.scheme, codes: codes.array.slice(), parameters };
  },
});

interface Settings {
  /** The exponent p. */
  norm: number;
  /** The largest code. */
  levels: number;
  /** Whether zero points are integers. */
  rounded: boolean;
  /** Beta of each round, and the magnitude of errors that it shrinks to zero. */
  rounds: { beta: number; threshold: number }[];
}

/** The best zero point of every tile. */
function bestZeros(
  weight: Readonly<Float32Array>,
  tiling: Tiling,
  { scales, zeros }: GridParameters,
  settings: Settings,
): Float32Array {
  const { rows, columns, tileRows, tileColumns, gridColumns } = tiling;
  const values = new Float64Array(Math.min(rows, tileRows) * Math.min(columns, tileColumns));
  return zeros!.map((zero, tile) => {
    const row = Math.floor(tile / gridColumns) * tileRows;
    const column = (tile % gridColumns) * tileColumns;
    let count = 0;
    for (let r = row; r < Math.min(rows, row + tileRows); r++) {
      for (let c = column; c < Math.min(columns, column + tileColumns); c++) {
        values[count++] = weight[r * columns + c];
      }
    }
    return bestZero(values.subarray(0, count), scales[tile], zero, settings);
  });
}

function bestZero(values: Float64Array, scale: number, first: number, settings: Settings): number {
  const { rounds, norm, levels, rounded } = settings;
  let [best, least, zero] = [first, Infinity, first];
  for (const { beta, threshold } of rounds) {
    let [error, sum] = [0, 0];
    for (const value of values) {
      const code = Math.min(levels, Math.max(0, Math.round(value / scale + zero)));
      const residual = value - (code - zero) * scale;
      const size = Math.abs(residual);
      error += size;
      const kept = size > threshold ? shrink(residual, size, norm, beta) : 0;
      sum += code - (value - kept) / scale;
    }
    if (error >= least) break;
    [best, least] = [zero, error];
    zero = sum / values.length;
    zero = rounded ? Math.min(levels, Math.max(0, Math.round(zero))) : Math.fround(zero);
  }
  return best;
}

/** `sign(x) max(0, |x| - |x|^(p-1) / beta)`. */
function shrink(x: number, size: number, norm: number, beta: number): number {
  return Math.sign(x) * Math.max(0, size - 1 / (rootPower(size, 1 - norm) * beta));
}

/** Beta round by round; one more than the options say, whose zero point is only measured. */
function roundsOf({ beta, growth, iterations, norm }: HqqOptions): Settings["rounds"] {
  return Array.from({ length: iterations + 1 }, (_, round) => {
    let grown = beta;
    for (let i = 0; i < round; i++) grown *= growth;
    return { beta: grown, threshold: zeroBelow(norm, grown) };
  });
}

/** The magnitude that shrinks to zero: `x^(2 - p) = 1 / beta`. */
function zeroBelow(norm: number, beta: number): number {
  const power = 1 / (2 - norm);
  return beta >= 1 ? rootPower(1 / beta, power) : 1 / rootPower(beta, power);
}
