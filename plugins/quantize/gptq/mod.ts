/**
 * GPTQ: columns are quantised one after the other, and each column's error is made up for by the
 * columns that are still to come, weighted by the inverse Hessian of the layer's output error.
 *
 * @module
 */

import { z } from "zod";
import {
  type Buffer,
  type Codec,
  definePlugin,
  type GridParameters,
  type Kernels,
  LowbitError,
  type Plugin,
  PLUGIN_API_VERSION,
  type QuantizedTensor,
  schema,
  type Tiling,
} from "../../../spec/mod.ts";
import { dampedInverseFactor, prepareHessian } from "../../_math/hessian.ts";
import { inversePermutation, permuteColumns, permuteSymmetric } from "../../_math/permutation.ts";

/** Options of {@linkcode gptq}. */
export interface GptqOptions {
  /** Quantise the columns with the largest Hessian diagonal first. Implies static groups. */
  act_order: boolean;
  /** Fix all scales from the original weights, instead of when their group is reached. */
  static_groups: boolean;
  /** Added to the Hessian's diagonal, as a share of its mean. */
  damping: number;
  /** How often damping is multiplied by 10 when the Hessian is not positive definite. */
  escalations: number;
  /** Columns whose errors are spread among themselves before the rest is updated. */
  block: number;
  /** `min_max` takes the whole range of a group; `error` searches it. */
  range: "min_max" | "error";
  /** The exponent of the error that the search minimises. */
  norm: number;
}

/**
 * GPTQ (Frantar et al. 2022, arXiv 2210.17323, algorithm 1). With `H = X^T X + damping`, and U
 * upper triangular with `H^-1 = U^T U`: for every column j, `e = (w_j - Q(w_j)) / U_jj`, then
 * `w_k -= e U_jk` for all k > j. Columns of zero Hessian diagonal (dead inputs) become zero. If H
 * stays indefinite after all escalations of damping, the weight falls back to round to nearest and
 * a warning says so.
 *
 * @example
 * ```ts
 * import { gptq } from "./mod.ts";
 * gptq.options.parse({ act_order: true }).damping; // 0.01
 * ```
 */
export const gptq: Plugin<GptqOptions> = definePlugin({
  meta: {
    name: "gptq",
    version: "1.0.0",
    apiVersion: PLUGIN_API_VERSION,
    summary: "second-order error feedback, column by column",
    paper: {
      title: "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers",
      id: "arXiv 2210.17323",
      equation: "algorithm 1",
    },
    needs: { statistics: ["gram"] },
    supports: { granularities: ["tensor", "channel", "group"], zeroPoints: ["int"] },
    after: ["smoothquant", "os-plus", "awq", "quarot"],
    determinism: "exact",
  },
  options: schema(
    "options of gptq",
    z.strictObject({
      act_order: z.boolean().default(true).describe("largest Hessian diagonal first"),
      static_groups: z.boolean().default(false).describe("scales from the original weights"),
      damping: z.number().min(0).max(10).default(0.01).describe("share of the mean diagonal"),
      escalations: z.int().min(0).max(8).default(4).describe("times damping may grow tenfold"),
      block: z.int().min(1).max(4096).default(128).describe("columns of a lazy update"),
      range: z.enum(["min_max", "error"]).default("min_max").describe("how ranges are chosen"),
      norm: z.number().min(1).max(8).default(2.4).describe("exponent of the error of a search"),
    }),
  ),
  quantize({ context, linear, weight, codec, statistics }) {
    const { kernels, options } = context;
    const { rows, columns } = linear;
    if (!statistics.gram) {
      throw new LowbitError("CALIBRATION", "has no Hessian", {
        field: linear.id,
        advice: "give calibration text with --calibration",
      });
    }
    if (statistics.tokens === 0) {
      context.warn(`${linear.id}: no calibration token reached it; rounded to nearest`);
      return codec.quantize(weight, rows, columns);
    }
    const { hessian, dead } = prepareHessian(statistics.gram, columns, statistics.tokens);
    const order = options.act_order ? descendingDiagonal(hessian, columns) : undefined;
    const ordered = order ? permuteSymmetric(hessian, columns, order) : hessian;
    using u = kernels.alloc("f32", columns * columns);
    const damping = dampedInverseFactor(kernels, ordered, columns, options, u);
    if (damping === undefined) {
      context.warn(
        `${linear.id}: the Hessian is not positive definite at any damping; rounded to nearest`,
      );
      return codec.quantize(weight, rows, columns);
    }
    if (damping > options.damping) {
      context.warn(`${linear.id}: damping was raised from ${options.damping} to ${damping}`);
    }
    const work = weight.slice();
    for (const column of dead) {
      for (let row = 0; row < rows; row++) work[row * columns + column] = 0;
    }
    if (dead.length > 0) context.warn(`${linear.id}: ${dead.length} dead input channels`);
    return feedback({ kernels, codec, options, rows, columns, work, order, u });
  },
});

interface FeedbackRun {
  kernels: Kernels;
  codec: Codec;
  options: GptqOptions;
  rows: number;
  columns: number;
  /** Weights `[rows, columns]` in their own order, dead columns zero. */
  work: Float32Array;
  /** `order[j]`: the column that is quantised in place j. */
  order?: Uint32Array;
  /** The factor U in the order of quantisation. */
  u: Buffer<"f32">;
}

/** Quantises all columns in order, with scales fixed before or fitted as their group is reached. */
function feedback(run: FeedbackRun): QuantizedTensor {
  const { kernels, codec, options, rows, columns, order } = run;
  const tiling = codec.tiling(rows, columns);
  const groups = tiling.gridColumns;
  const fixed = options.act_order || options.static_groups || tiling.tileRows !== 1 ||
    codec.scheme.scale.second !== undefined;
  const parameters = fixed
    ? fitAll(kernels, codec, run.work, tiling, options)
    : emptyParameters(codec, rows * groups);
  const groupOf = Uint32Array.from(
    { length: columns },
    (_, j) => Math.floor((order ? order[j] : j) / tiling.tileColumns),
  );
  using w = kernels.upload(order ? permuteColumns(run.work, rows, columns, order) : run.work);
  using codes = kernels.alloc("u8", rows * columns);
  using table = kernels.upload(codec.table);
  using groupBuffer = kernels.upload(groupOf);
  // Without fixed scales no block may reach over the start of a group, whose scale is fitted there.
  const largest = fixed ? options.block : Math.min(options.block, tiling.tileColumns);
  // Error feedback divides: a scheme that multiplies by a factor gets its scales as they read back.
  const given = codec.scheme.scale.apply;
  const apply = given === "multiply" ? "divide" : given;
  const used = given === "multiply" ? { ...parameters, unrounded: undefined } : parameters;
  let grid = fixed ? uploadGrid(kernels, expandRows(used, tiling)) : undefined;
  for (let start = 0; start < columns;) {
    const groupStart = start % tiling.tileColumns === 0;
    if (!fixed && groupStart) {
      fitGroup({ kernels, codec, options, tiling }, w.array, start, parameters);
      grid?.free();
      grid = uploadGrid(kernels, parameters);
    }
    const groupEnd = fixed ? columns : Math.min(columns, (groupOf[start] + 1) * tiling.tileColumns);
    const count = Math.min(largest, groupEnd - start);
    using errors = kernels.alloc("f32", rows * count);
    kernels.encodeFeedback({
      w,
      rows,
      columns,
      start,
      count,
      u: run.u,
      groupOf: groupBuffer,
      groups,
      scales: grid!.scales,
      stored: grid!.stored,
      zeros: grid!.zeros,
      apply,
      encoder: codec.encoder,
      table,
      codes,
      errors,
    });
    kernels.trailingUpdate({ w, rows, columns, start, count, errors, u: run.u });
    start += count;
  }
  grid?.free();
  const inOrder = codes.array.slice();
  return {
    shape: [rows, columns],
    scheme: codec.scheme,
    codes: order ? permuteColumns(inOrder, rows, columns, inversePermutation(order)) : inOrder,
    parameters,
  };
}

function fitAll(
  kernels: Kernels,
  codec: Codec,
  weight: Float32Array,
  tiling: Tiling,
  options: GptqOptions,
): GridParameters {
  using x = kernels.upload(weight);
  return options.range === "error"
    ? codec.parameters(x, tiling, { ...SEARCH, norm: options.norm })
    : codec.parameters(x, tiling);
}

/** The factors that a search tries. */
const SEARCH = { rule: "error" as const, candidates: 20, smallest: 0.6 };

/** Fits the scales of the group that starts at column `start`, from the weights as they are now. */
function fitGroup(
  run: { kernels: Kernels; codec: Codec; options: GptqOptions; tiling: Tiling },
  w: Float32Array,
  start: number,
  parameters: GridParameters,
): void {
  const { rows, columns, tileColumns, gridColumns } = run.tiling;
  const width = Math.min(tileColumns, columns - start);
  const part = new Float32Array(rows * width);
  for (let row = 0; row < rows; row++) {
    const from = row * columns + start;
    part.set(w.subarray(from, from + width), row * width);
  }
  const tiling: Tiling = {
    ...run.tiling,
    columns: width,
    tileColumns: width,
    gridColumns: 1,
  };
  const fitted = fitAll(run.kernels, run.codec, part, tiling, run.options);
  const group = start / tileColumns;
  for (let row = 0; row < rows; row++) {
    const at = row * gridColumns + group;
    parameters.scales[at] = fitted.scales[row];
    if (parameters.unrounded) parameters.unrounded[at] = fitted.unrounded![row];
    if (parameters.zeros) parameters.zeros[at] = fitted.zeros![row];
  }
}

function emptyParameters(codec: Codec, count: number): GridParameters {
  return {
    scales: new Float32Array(count).fill(1),
    ...(codec.scheme.scale.codes_from === "unrounded" &&
      { unrounded: new Float32Array(count).fill(1) }),
    ...(codec.scheme.zero_point && { zeros: new Float32Array(count) }),
  };
}

/** One row of parameters for every row of the weight, also where rows share them. */
function expandRows(parameters: GridParameters, tiling: Tiling): GridParameters {
  if (tiling.tileRows === 1) return parameters;
  const expand = (values?: Float32Array) => {
    if (!values) return undefined;
    const all = new Float32Array(tiling.rows * tiling.gridColumns);
    for (let row = 0; row < tiling.rows; row++) {
      const from = Math.floor(row / tiling.tileRows) * tiling.gridColumns;
      all.set(values.subarray(from, from + tiling.gridColumns), row * tiling.gridColumns);
    }
    return all;
  };
  return {
    scales: expand(parameters.scales)!,
    unrounded: expand(parameters.unrounded),
    zeros: expand(parameters.zeros),
  };
}

function uploadGrid(kernels: Kernels, parameters: GridParameters) {
  const stored = kernels.upload(parameters.scales);
  const scales = parameters.unrounded ? kernels.upload(parameters.unrounded) : stored;
  const zeros = parameters.zeros ? kernels.upload(parameters.zeros) : undefined;
  return {
    scales,
    stored,
    zeros,
    free() {
      if (scales !== stored) scales.free();
      stored.free();
      zeros?.free();
    },
  };
}

/** Column numbers by descending diagonal; ties keep their order. */
function descendingDiagonal(hessian: Float64Array, n: number): Uint32Array {
  const diagonal = Float64Array.from({ length: n }, (_, j) => hessian[j * n + j]);
  return Uint32Array.from(
    Array.from({ length: n }, (_, j) => j).sort((a, b) => diagonal[b] - diagonal[a] || a - b),
  );
}
