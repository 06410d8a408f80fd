/**
 * QuIP: weights are rotated until no entry stands out, then rounded with error feedback.
 *
 * @module
 */

import { z } from "zod";
import {
  type Codec,
  definePlugin,
  type GridParameters,
  type Kernels,
  LowbitError,
  type Plugin,
  PLUGIN_API_VERSION,
  rotate,
  type RotationPart,
  schema,
} from "../../../spec/mod.ts";
import { quantizeWithFeedback } from "../../_math/feedback.ts";
import { dampedInverseFactor, prepareHessian } from "../../_math/hessian.ts";
import { randomRotation, transpose } from "../../_math/rotation.ts";

/** Bits for which the paper chooses ranges by the root mean square. */
const FEW_BITS = 4;

/** Options of {@linkcode quip}. */
export interface QuipOptions {
  /** What the rotations are. */
  rotation: "kronecker" | "hadamard";
  /** Scale columns first, so that weights and inputs are equally large. */
  rescale: boolean;
  /**
   * Ranges: a multiple of the root mean square (of up to 4 bits; the whole for more), the whole, or
   * those of least error.
   */
  range: "rms" | "min_max" | "error";
  /** The multiple of the root mean square. */
  factor: number;
  /** Added to the Hessian's diagonal, as a share of its mean. */
  damping: number;
  /** How often damping is multiplied by 10 when the Hessian is not positive definite. */
  escalations: number;
}

/**
 * QuIP (Chee et al. 2023, arXiv 2307.13304, algorithms 1 to 3). Columns are scaled by
 * `d = (diag(H) / diag(W^T W))^(1/4)`; then `W' = U W diag(d) V^T` and
 * `H' = V diag(1/d) H diag(1/d) V^T` with random orthogonal U and V: Kronecker products of two small
 * matrices over a random order of the channels, or Hadamard matrices with random signs (QuIP#, arXiv
 * 2402.04396). W' is rounded by LDLQ, which is GPTQ without an order of its own, within 2.4 times its
 * root mean square. The rotations are kept beside the codes, and undone as the model runs.
 *
 * @example
 * ```ts
 * import { quip } from "./mod.ts";
 * quip.options.parse({}).factor; // 2.4
 * ```
 */
export const quip: Plugin<QuipOptions> = definePlugin({
  meta: {
    name: "quip",
    version: "1.0.0",
    apiVersion: PLUGIN_API_VERSION,
    summary: "random rotations of each weight, then rounding with error feedback (LDLQ)",
    paper: {
      title: "QuIP: 2-Bit Quantization of Large Language Models With Guarantees",
      id: "arXiv 2307.13304",
      equation: "algorithms 1 to 3",
    },
    needs: { statistics: ["gram"] },
    supports: {
      families: ["int", "codebook"],
      granularities: ["tensor", "channel", "group"],
      zeroPoints: ["int"],
    },
    after: ["smoothquant", "os-plus", "awq", "quarot"],
    determinism: "seeded",
  },
  options: schema(
    "options of quip",
    z.strictObject({
      rotation: z.enum(["kronecker", "hadamard"]).default("kronecker").describe(
        "products of two random orthogonal matrices, or Hadamard matrices with random signs",
      ),
      rescale: z.boolean().default(true).describe("scale columns before rotating"),
      range: z.enum(["rms", "min_max", "error"]).default("rms").describe(
        "a multiple of the root mean square (above 4 bits the whole), the whole, or least error",
      ),
      factor: z.number().min(0.5).max(20).default(2.4).describe("range over root mean square"),
      damping: z.number().min(0).max(10).default(0.01).describe("share of the mean diagonal"),
      escalations: z.int().min(0).max(8).default(4).describe("times damping may grow tenfold"),
    }),
  ),
  quantize({ context, linear, weight, codec, statistics }) {
    const { kernels, options, rng } = context;
    const { rows, columns } = linear;
    if (!statistics.gram) {
      throw new LowbitError("CALIBRATION", "has no Hessian", {
        field: linear.id,
        advice: "give calibration text with --calibration",
      });
    }
    const { hessian, dead } = prepareHessian(statistics.gram, columns, statistics.tokens);
    const part: RotationPart = {
      kind: "rotation",
      rows: randomRotation(kernels, rng(`${linear.id} rows`), rows, options.rotation),
      columns: randomRotation(kernels, rng(`${linear.id} columns`), columns, options.rotation),
    };
    const alive = weight.slice();
    for (const j of dead) for (let row = 0; row < rows; row++) alive[row * columns + j] = 0;
    if (options.rescale) part.factors = columnFactors(alive, hessian, columns);
    const work = incoherent(alive, columns, part);
    const turned = turnHessian(hessian, columns, part);
    using u = kernels.alloc("f32", columns * columns);
    const damping = dampedInverseFactor(kernels, turned, columns, options, u);
    if (damping === undefined) {
      context.warn(
        `${linear.id}: the Hessian is not positive definite at any damping; rounded to nearest`,
      );
      return { ...codec.quantize(work, rows, columns), side: [part] };
    }
    // What a range of the root mean square cuts off is less than a step of few bits only.
    const parameters = options.range === "rms" && takesNarrowRanges(codec)
      ? rmsParameters(kernels, codec, work, rows, columns, options.factor)
      : undefined;
    const tensor = quantizeWithFeedback({
      ...{ kernels, codec, rows, columns, work, u },
      ...(parameters && { parameters }),
      options: {
        act_order: false,
        static_groups: true,
        block: 128,
        range: options.range === "error" ? "error" : "min_max",
        norm: 2.4,
      },
    });
    return { ...tensor, side: [part] };
  },
});

/** `1 / d`: what columns are multiplied by when all is undone; 1 where nothing is known. */
function columnFactors(weight: Float32Array, hessian: Float64Array, columns: number): Float32Array {
  const squares = new Float64Array(columns);
  weight.forEach((value, i) => squares[i % columns] += value * value);
  return Float32Array.from(squares, (square, j) => {
    const factor = Math.fround(Math.sqrt(Math.sqrt(square / hessian[j * columns + j])));
    return factor > 0 && Number.isFinite(factor) ? factor : 1;
  });
}

/** `U W diag(d) V^T`. */
function incoherent(weight: Float32Array, columns: number, part: RotationPart): Float32Array {
  const values = Float64Array.from(
    weight,
    (value, i) => value / (part.factors?.[i % columns] ?? 1),
  );
  rotate(values, part.columns!);
  const turned = transpose(values, columns);
  rotate(turned, part.rows!);
  return Float32Array.from(transpose(turned, weight.length / columns));
}

/** `V diag(1/d) H diag(1/d) V^T`. */
function turnHessian(hessian: Float64Array, n: number, part: RotationPart): Float64Array {
  const f = part.factors;
  const values = hessian.map((value, i) => f ? value * f[Math.floor(i / n)] * f[i % n] : value);
  rotate(values, part.columns!);
  const turned = transpose(values, n);
  return rotate(turned, part.columns!);
}

/**
 * Whether ranges may be cut: of few bits, and without codes beyond the end of the range, which are
 * not to be written (the fourth code of ggml's ternary blocks).
 */
function takesNarrowRanges({ scheme, table }: Codec): boolean {
  const { divisor = Infinity } = scheme.scale;
  return scheme.element.bits <= FEW_BITS && Math.max(...table) <= Math.abs(divisor);
}

/** Scales of the range `factor` times the root mean square of each tile, to both sides. */
function rmsParameters(
  kernels: Kernels,
  codec: Codec,
  work: Float32Array,
  rows: number,
  columns: number,
  factor: number,
): GridParameters {
  const tiling = codec.tiling(rows, columns);
  const squares = new Float64Array(tiling.gridRows * tiling.gridColumns);
  const counts = new Float64Array(squares.length);
  for (let row = 0; row < rows; row++) {
    const first = Math.floor(row / tiling.tileRows) * tiling.gridColumns;
    for (let column = 0; column < columns; column++) {
      const tile = first + Math.floor(column / tiling.tileColumns);
      squares[tile] += work[row * columns + column] ** 2;
      counts[tile]++;
    }
  }
  using x = kernels.upload(work);
  const max = Float32Array.from(squares, (sum, i) => factor * Math.sqrt(sum / counts[i]));
  return codec.fit({ ...codec.ranges(x, tiling), min: max.map((value) => -value), max });
}
