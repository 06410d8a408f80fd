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
  rootPower,
  schema,
  type Tiling,
} from "../../../spec/mod.ts";

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
  /** Start from whole zero points, which make zero exact before the first round. */
  round_start: boolean;
}

/**
 * Half-quadratic quantisation (Badri and Shaji 2023, eq. 3 to 6): `min_z |W - Q^-1(Q(W))|_p^p`, p
 * below 1, the scale s of the whole range. The split `min |e|_p^p + beta/2 |W - Q^-1(Q(W)) - e|^2` is
 * solved by turns, beta growing:
 *
 * - `e = shrink(W - W_r)`, `shrink(x) = sign(x) max(0, |x| - |x|^(p-1) / beta)`
 * - `z = mean(q - (W - e) / s)` over the values that share it
 *
 * The rounds end when the mean magnitude of error of the matrix no longer falls. Integer zero points are rounded in every round.
 *
 * @example
 * ```ts
 * import { hqq } from "./mod.ts";
 * hqq.options.parse({}).norm; // 0.7
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
      round_start: z.boolean().default(false).describe("start from whole zero points"),
    }),
  ),
  quantize({ context: { kernels, options }, linear, weight, codec }) {
    const { rows, columns } = linear;
    using x = kernels.upload(weight);
    const tiling = codec.tiling(rows, columns);
    const fitted = codec.parameters(x, tiling);
    const first = options.round_start
      ? { ...fitted, zeros: fitted.zeros!.map(Math.round) }
      : fitted;
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

/**
 * Zero points round by round, of all tiles together, until the mean magnitude of error of the whole
 * matrix no longer falls; those of the least error.
 */
function bestZeros(
  weight: Readonly<Float32Array>,
  tiling: Tiling,
  { scales, zeros }: GridParameters,
  settings: Settings,
): Float32Array {
  const { rows, columns, tileRows, tileColumns, gridColumns } = tiling;
  const { rounds, norm, levels, rounded } = settings;
  const tileOf = Uint32Array.from(
    { length: columns },
    (_, column) => Math.floor(column / tileColumns),
  );
  let [best, least, zero] = [zeros!, Infinity, zeros!];
  for (const { beta, threshold } of rounds) {
    let error = 0;
    const sums = new Float64Array(zero.length), counts = new Uint32Array(zero.length);
    for (let row = 0, i = 0; row < rows; row++) {
      const first = Math.floor(row / tileRows) * gridColumns;
      for (let column = 0; column < columns; column++, i++) {
        const tile = first + tileOf[column];
        const [scale, z, value] = [scales[tile], zero[tile], weight[i]];
        const code = Math.min(levels, Math.max(0, Math.round(value / scale + z)));
        const residual = value - (code - z) * scale;
        const size = Math.abs(residual);
        error += size;
        const kept = size > threshold ? shrink(residual, size, norm, beta) : 0;
        sums[tile] += code - (value - kept) / scale;
        counts[tile]++;
      }
    }
    if (error >= least) break;
    [best, least] = [zero, error];
    zero = Float32Array.from(sums, (sum, tile) => {
      const mean = sum / counts[tile];
      return rounded ? Math.min(levels, Math.max(0, Math.round(mean))) : mean;
    });
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
