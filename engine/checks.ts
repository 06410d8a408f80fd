/**
 * What the engine holds plugins to: functions preserved, shapes right, nothing that is not a number.
 *
 * @module
 */

import { sideBytes } from "../formats/dialects/lowbit_side.ts";
import {
  allFinite,
  checkVector,
  type CodedTensor,
  type LinearInfo,
  LowbitError,
  type Plugin,
  type QuantizedTensor,
  type StoredTensor,
  type TensorReport,
  tiling,
  type VectorTensor,
} from "../spec/mod.ts";

/** How far a transform may move an output, relative to its largest magnitude. */
const EQUIVALENCE = 1e-4;

/** Throws `PLUGIN` if two outputs of a block or a model differ by more than rounding. */
export function proveEqual(
  before: Float32Array,
  after: Float32Array,
  plugin: string,
  place: string,
): void {
  let [largest, difference] = [0, 0];
  for (let i = 0; i < before.length; i++) {
    largest = Math.max(largest, Math.abs(before[i]));
    difference = Math.max(difference, Math.abs(before[i] - after[i]));
  }
  if (difference <= EQUIVALENCE * largest) return;
  throw new LowbitError(
    "PLUGIN",
    `transform changed the output by ${difference} (largest value ${largest})`,
    {
      file: plugin,
      field: place,
      advice: "a transform must leave the full-precision output as it is",
    },
  );
}

/** Throws `PLUGIN` if a quantised tensor does not fit its linear, or holds a NaN. */
export function checkTensor(tensor: QuantizedTensor, linear: LinearInfo, plugin: Plugin): void {
  const fail = (problem: string) =>
    new LowbitError("PLUGIN", problem, {
      file: plugin.meta.name,
      field: linear.id,
      advice: "report it to the author of the plugin",
    });
  const [rows, columns] = tensor.shape;
  if (rows !== linear.rows || columns !== linear.columns) {
    throw fail(`gave a tensor of ${rows} x ${columns} for ${linear.rows} x ${linear.columns}`);
  }
  if (tensor.codes.length !== rows * columns) throw fail("gave a wrong number of codes");
  const { gridRows, gridColumns } = tiling(tensor.scheme.granularity, rows, columns);
  const { scales, zeros } = tensor.parameters;
  if (scales.length !== gridRows * gridColumns) throw fail("gave a wrong number of scales");
  if ((tensor.scheme.zero_point !== undefined) !== (zeros !== undefined)) {
    throw fail("zero points and scheme do not agree");
  }
  if ((tensor.scheme.scale.second !== undefined) !== (tensor.parameters.second !== undefined)) {
    throw fail("the second level of scales and scheme do not agree");
  }
  if (!allFinite(scales)) throw fail("gave a scale that is not finite");
  if (zeros && !allFinite(zeros)) throw fail("gave a zero point that is not finite");
}

/** Throws `PLUGIN` if a tensor in a vector format does not fit its linear, or holds a NaN. */
export function checkVectorTensor(tensor: VectorTensor, linear: LinearInfo, plugin: Plugin): void {
  const fail = (problem: string) =>
    new LowbitError("PLUGIN", problem, {
      file: plugin.meta.name,
      field: linear.id,
      advice: "report it to the author of the plugin",
    });
  const [rows, columns] = tensor.shape;
  if (rows !== linear.rows || columns !== linear.columns) {
    throw fail(`gave a tensor of ${rows} x ${columns} for ${linear.rows} x ${linear.columns}`);
  }
  try {
    checkVector(tensor);
  } catch (error) {
    throw error instanceof LowbitError ? fail(`gave a tensor that ${error.problem}`) : error;
  }
}

/** The error of decoded values against the weight that they stand for. */
export function weightError(
  weight: Readonly<Float32Array>,
  decoded: Float32Array,
): NonNullable<TensorReport["error"]> {
  let [signal, noise, max] = [0, 0, 0];
  for (let i = 0; i < weight.length; i++) {
    const value = weight[i];
    const difference = value - decoded[i];
    signal += value * value;
    noise += difference * difference;
    const size = Math.abs(difference);
    if (size > max) max = size;
  }
  if (!Number.isFinite(noise)) {
    throw new LowbitError("NUMERICS", "the quantised values are not all finite", {
      advice: "choose a scheme whose range holds the weight",
    });
  }
  // A perfect copy has no finite ratio; JSON has no infinity, so it is given the most f32 can tell.
  const sqnr = noise === 0 ? 150 : 10 * Math.log10(signal / noise);
  const round = (x: number) => Number(x.toPrecision(6));
  return { mse: round(noise / weight.length), sqnr_db: round(sqnr), max: round(max) };
}

/** Bytes of the side tensors of a weight: f32 values and u32 indices. */
export function sideTotal({ side = [], shape }: CodedTensor): number {
  return side.reduce((sum, part) => sum + sideBytes(part, shape), 0);
}

/** Elements that a check reads at once. */
const CHECKED = 2 ** 20;

/** Reads a tensor piece by piece, which refuses NaN and infinities. */
export async function checkFinite(tensor: StoredTensor): Promise<void> {
  const [rows, ...rest] = tensor.shape;
  const step = Math.max(1, Math.floor(CHECKED / rest.reduce((a, b) => a * b, 1)));
  for (let start = 0; start < rows; start += step) {
    await tensor.read({ start, end: Math.min(start + step, rows) });
  }
}
