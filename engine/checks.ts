/**
 * What the engine holds plugins to: functions preserved, shapes right, nothing that is not a number.
 *
 * @module
 */

import { sideBytes } from "../formats/dialects/lowbit_side.ts";
import {
  allFinite,
  checkVector,
  type Codecs,
  type CodedTensor,
  isVector,
  type Kernels,
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

/** Elements that are decoded at once, which stay in the processor's cache. */
const PIECE = 2 ** 17;

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

/** Where sums of errors stand: four of each, which take turns so that none waits for another. */
const SIGNAL = 0, NOISE = 4, MAX = 8, SUMS = 9;

/** Adds the error of some decoded values; the largest is kept as its square. */
function addError(sums: Float64Array, weight: Readonly<Float32Array>, decoded: Float32Array): void {
  let s0 = sums[SIGNAL], s1 = sums[SIGNAL + 1], s2 = sums[SIGNAL + 2], s3 = sums[SIGNAL + 3];
  let n0 = sums[NOISE], n1 = sums[NOISE + 1], n2 = sums[NOISE + 2], n3 = sums[NOISE + 3];
  let max = sums[MAX];
  const whole = weight.length & ~3;
  for (let i = 0; i < whole; i += 4) {
    const a = weight[i], b = weight[i + 1], c = weight[i + 2], d = weight[i + 3];
    const e = a - decoded[i], f = b - decoded[i + 1];
    const g = c - decoded[i + 2], h = d - decoded[i + 3];
    const ee = e * e, ff = f * f, gg = g * g, hh = h * h;
    s0 += a * a;
    s1 += b * b;
    s2 += c * c;
    s3 += d * d;
    n0 += ee;
    n1 += ff;
    n2 += gg;
    n3 += hh;
    // Against the largest, which a processor guesses right nearly always; not among each other.
    if (ee > max) max = ee;
    if (ff > max) max = ff;
    if (gg > max) max = gg;
    if (hh > max) max = hh;
  }
  for (let i = whole; i < weight.length; i++) {
    const a = weight[i], e = a - decoded[i];
    s0 += a * a;
    n0 += e * e;
    if (e * e > max) max = e * e;
  }
  sums.set([s0, s1, s2, s3, n0, n1, n2, n3, max]);
}

/** What is reported of the sums over `count` values. */
function errorOf(sums: Float64Array, count: number): NonNullable<TensorReport["error"]> {
  const four = (at: number) => (sums[at] + sums[at + 1]) + (sums[at + 2] + sums[at + 3]);
  const [signal, noise] = [four(SIGNAL), four(NOISE)];
  if (!Number.isFinite(noise)) {
    throw new LowbitError("NUMERICS", "the quantised values are not all finite", {
      advice: "choose a scheme whose range holds the weight",
    });
  }
  // A perfect copy has no finite ratio; JSON has no infinity, so it is given the most f32 can tell.
  const sqnr = noise === 0 ? 150 : 10 * Math.log10(signal / noise);
  const round = (x: number) => Number(x.toPrecision(6));
  return { mse: round(noise / count), sqnr_db: round(sqnr), max: round(Math.sqrt(sums[MAX])) };
}

/** The error of a coded tensor against the weight that it stands for, some rows at a time. */
export function weightError(
  weight: Readonly<Float32Array>,
  coded: CodedTensor,
  { kernels, codecs }: { kernels: Kernels; codecs: Codecs },
): NonNullable<TensorReport["error"]> {
  const sums = new Float64Array(SUMS);
  if (isVector(coded) || coded.side?.length) {
    addError(sums, weight, codecs.decode(coded));
    return errorOf(sums, weight.length);
  }
  const codec = codecs.get(coded.scheme);
  const { rows, columns, tileRows, gridColumns } = codec.tiling(...coded.shape);
  const step = tileRows * Math.max(1, Math.floor(PIECE / (tileRows * columns)));
  const { scales, zeros } = coded.parameters;
  for (let start = 0; start < rows; start += step) {
    const end = Math.min(start + step, rows);
    const grid = [start / tileRows * gridColumns, Math.ceil(end / tileRows) * gridColumns] as const;
    const piece = {
      scales: scales.subarray(...grid),
      ...(zeros && { zeros: zeros.subarray(...grid) }),
    };
    using codes = kernels.upload(coded.codes.subarray(start * columns, end * columns));
    using values = codec.decode(codes, codec.tiling(end - start, columns), piece);
    addError(sums, weight.subarray(start * columns, end * columns), values.array);
  }
  return errorOf(sums, weight.length);
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
