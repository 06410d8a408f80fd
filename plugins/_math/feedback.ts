/**
 * Error feedback, column by column: the inner loop of OBQ, GPTQ and LDLQ, with scales around it.
 *
 * @module
 */

import type {
  Buffer,
  Codec,
  GridParameters,
  Kernels,
  QuantizedTensor,
  Tiling,
} from "../../spec/mod.ts";
import { refuseNonFinite } from "./finite.ts";
import { inversePermutation, permuteColumns } from "./permutation.ts";

/** How columns are quantised. */
export interface FeedbackOptions {
  /** Whether columns are taken in an order of their own, for which scales are fixed before. */
  act_order: boolean;
  /** Fix all scales from the original weights, instead of when their group is reached. */
  static_groups: boolean;
  /** Columns whose errors are spread among themselves before the rest is updated. */
  block: number;
  /** `min_max` takes the whole range of a group; `error` searches it. */
  range: "min_max" | "error";
  /** The exponent of the error that the search minimises. */
  norm: number;
}

/** What {@linkcode quantizeWithFeedback} works on. */
export interface FeedbackRun {
  kernels: Kernels;
  codec: Codec;
  options: FeedbackOptions;
  rows: number;
  columns: number;
  /** Weights `[rows, columns]` in their own order, dead columns zero. */
  work: Float32Array;
  /** `order[j]`: the column that is quantised in place j. */
  order?: Uint32Array;
  /** The factor U in the order of quantisation. */
  u: Buffer<"f32">;
  /** Scales that are fixed already. */
  parameters?: GridParameters;
}

/** Quantises all columns in order, with scales fixed before or fitted as their group is reached. */
export function quantizeWithFeedback(run: FeedbackRun): QuantizedTensor {
  const { kernels, codec, options, rows, columns, order } = run;
  refuseNonFinite(run.work, codec.scheme.id);
  const tiling = codec.tiling(rows, columns);
  const groups = tiling.gridColumns;
  const fixed = run.parameters !== undefined || options.act_order || options.static_groups ||
    tiling.tileRows !== 1 ||
    codec.scheme.scale.second !== undefined;
  const parameters = run.parameters ??
    (fixed
      ? fitAll(kernels, codec, run.work, tiling, options)
      : emptyParameters(codec, rows * groups));
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
  options: FeedbackOptions,
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
  run: { kernels: Kernels; codec: Codec; options: FeedbackOptions; tiling: Tiling },
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
export function expandRows(parameters: GridParameters, tiling: Tiling): GridParameters {
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

/** Scales and zero points as kernels take them, until `free`. */
export function uploadGrid(kernels: Kernels, parameters: GridParameters) {
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
export function descendingDiagonal(hessian: Float64Array, n: number): Uint32Array {
  const diagonal = Float64Array.from({ length: n }, (_, j) => hessian[j * n + j]);
  return Uint32Array.from(
    Array.from({ length: n }, (_, j) => j).sort((a, b) => diagonal[b] - diagonal[a] || a - b),
  );
}
