/**
 * Parameters as containers store them and as graphs have them: rows in another order, transposed,
 * with an offset, or as slices of one tensor.
 *
 * @module
 */

import {
  type Hyperparameters,
  LowbitError,
  type Size,
  type Stored,
  type StoredTensor,
} from "../spec/mod.ts";
import { evaluateSize } from "./hyperparameters.ts";
import { inverseRows, permuteQuantized, permuteRows, ropeRows } from "./rows.ts";

/** How one container stores one parameter, in numbers. */
export interface View {
  /** For each row of the parameter its row in the file. */
  order?: () => Uint32Array;
  /** Plain values are stored `[in, out]`. */
  transposed?: boolean;
  /** What is added to stored values. */
  offset?: number;
  /** The shape in the file where it is just another one of the same elements. */
  shape?: number[];
  /** The parameter is slice `index` of `count`, and of its rows part `part` of `parts`. */
  slice?: { index: number; count: number; part: number; parts: number };
}

/**
 * The view of a parameter; undefined where a container stores it as graphs have it.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { viewOf } from "./views.ts";
 * const grouped = { groups: "2", runs: ["1", "1"], size: "1" };
 * assertEquals([...viewOf({ grouped }, [4, 8], {})!.order!()], [0, 2, 1, 3]);
 * ```
 */
export function viewOf(
  stored: Stored | undefined,
  shape: readonly number[],
  hyperparameters: Hyperparameters,
  expert = 0,
): View | undefined {
  if (stored === undefined) return undefined;
  const value = (size: Size) => evaluateSize(size, hyperparameters);
  const { rope_heads, grouped, transposed, offset, stacked, part } = stored;
  const ordered = rope_heads !== undefined || grouped !== undefined;
  const view: View = {
    ...(ordered && { order: () => rowOrder(stored, shape[0], value) }),
    ...(transposed && { transposed }),
    ...(offset !== undefined && { offset }),
    ...(stored.shape && { shape: stored.shape.map(value) }),
    ...((stacked !== undefined || part) && {
      slice: {
        index: expert,
        count: stacked === undefined ? 1 : value(stacked),
        part: part?.index ?? 0,
        parts: part?.of ?? 1,
      },
    }),
  };
  return Object.keys(view).length > 0 ? view : undefined;
}

/** For each row of a parameter its row in the file. */
function rowOrder(
  { rope_heads, grouped }: Stored,
  rows: number,
  value: (size: Size) => number,
): Uint32Array {
  if (rope_heads !== undefined) return ropeRows(rows, value(rope_heads));
  const { groups, runs, size } = grouped!;
  const order = groupedRows(value(groups), runs.map(value), value(size));
  if (order.length === rows) return order;
  throw new LowbitError("SHAPE", `${order.length} rows of groups, but ${rows} of the weight`);
}

/** Rows of groups of runs, as {@linkcode Stored} `grouped` says. */
function groupedRows(groups: number, runs: readonly number[], size: number): Uint32Array {
  const whole = runs.reduce((a, b) => a + b, 0) * size;
  const order: number[] = [];
  let start = 0;
  for (const run of runs) {
    for (let group = 0; group < groups; group++) {
      for (let row = 0; row < run * size; row++) order.push(group * whole + start + row);
    }
    start += run * size;
  }
  return Uint32Array.from(order);
}

/**
 * The shape of a parameter in a file.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { fileShape } from "./views.ts";
 * assertEquals(fileShape([3, 2], { transposed: true }, true), [2, 3]);
 * assertEquals(fileShape([3, 2], { transposed: true }, false), [3, 2]); // codes
 * ```
 */
export function fileShape(
  shape: readonly number[],
  view: View | undefined,
  plain: boolean,
): number[] {
  if (view?.shape) return view.shape;
  if (view?.slice) {
    const { count, parts } = view.slice;
    const [rows, ...rest] = shape;
    return count > 1 ? [count, rows * parts, ...rest] : [rows * parts, ...rest];
  }
  return view?.transposed && plain ? shape.toReversed() : [...shape];
}

/**
 * The shape in which a parameter is written, and which part of a tensor it is where a container
 * stacks several.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { writtenShape } from "./views.ts";
 * const slice = { index: 1, count: 4, part: 0, parts: 1 };
 * assertEquals(writtenShape([3, 2], { slice }, true), {
 *   shape: [3, 2],
 *   part: { index: 1, count: 4 },
 * });
 * assertEquals(writtenShape([3, 2], undefined, true), { shape: [3, 2] });
 * ```
 */
export function writtenShape(
  shape: readonly number[],
  view: View | undefined,
  plain: boolean,
): { shape: number[]; part?: { index: number; count: number } } {
  if (!view?.slice) return { shape: fileShape(shape, view, plain) };
  const { index, count } = view.slice;
  return { shape: [...shape], part: { index, count } };
}

/**
 * Values of a parameter as a file stores them, where it is stored on its own.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { fileValues } from "./views.ts";
 * assertEquals([...fileValues(Float32Array.of(1, 2), [2], { offset: 1 })], [0, 1]);
 * ```
 */
export function fileValues(
  values: Float32Array,
  shape: readonly number[],
  view: View | undefined,
): Float32Array {
  if (!view) return values;
  let result = view.order ? permuteRows(values, inverseRows(view.order())) : values;
  if (view.transposed) result = transpose(result, shape[1]);
  const { offset } = view;
  return offset === undefined ? result : result.map((value) => value - offset);
}

function transpose(values: Float32Array, columns: number): Float32Array {
  const rows = values.length / columns;
  const result = new Float32Array(values.length);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++) result[c * rows + r] = values[r * columns + c];
  }
  return result;
}

/**
 * A tensor of a file as the parameter of a graph. Codes of a slice of several cannot be given.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { filledTensor } from "./folded.ts";
 * import { graphTensor } from "./views.ts";
 * const tensor = graphTensor(filledTensor("norm", [2], 0), [2], { offset: 1 });
 * assertEquals([...await tensor.read()], [1, 1]);
 * ```
 */
export function graphTensor(
  tensor: StoredTensor,
  shape: readonly number[],
  view: View | undefined,
): StoredTensor {
  if (!view) return tensor;
  const { offset, slice } = view;
  const transposed = view.transposed && tensor.storage.kind === "plain";
  const [rows] = shape, width = shape.slice(1).reduce((a, b) => a * b, 1);
  const whole = async () => {
    if (transposed) return transpose(await tensor.read(), rows);
    return await tensor.read();
  };
  const ranged = async (range: { start: number; end: number }) => {
    if (slice) return await readSlice(tensor, rows, width, slice, range);
    if (view.shape || transposed || tensor.shape.length !== shape.length) {
      return (await whole()).slice(range.start * width, range.end * width);
    }
    return await tensor.read(range);
  };
  return {
    name: tensor.name,
    shape,
    storage: tensor.storage,
    bytes: slice ? tensor.bytes / (slice.count * slice.parts) : tensor.bytes,
    async raw() {
      if (!slice) return await tensor.raw();
      const { index, count, part, parts } = slice;
      const length = tensor.bytes / (count * parts), start = (index * parts + part) * length;
      if (tensor.bytesAt) return await tensor.bytesAt(start, length);
      return (await tensor.raw()).slice(start, start + length);
    },
    async read(range) {
      let values: Float32Array;
      if (view.order) {
        values = await orderedRows(view.order(), range, width, (part) => ranged(part));
      } else {values = range || slice
          ? await ranged(range ?? { start: 0, end: rows })
          : await whole();}
      return offset === undefined ? values : values.map((value) => value + offset);
    },
    async quantized() {
      const first = slice ? (slice.index * slice.parts + slice.part) * rows : 0;
      const quantized = await tensor.quantized(
        slice && { start: first, end: first + rows },
      );
      return view.order ? permuteQuantized(quantized, view.order()) : quantized;
    },
    ...(tensor.vector && !slice && { vector: () => tensor.vector!() }),
  };
}

/** Some rows of one slice. */
async function readSlice(
  tensor: StoredTensor,
  rows: number,
  width: number,
  { index, count, part, parts }: NonNullable<View["slice"]>,
  { start, end }: { start: number; end: number },
): Promise<Float32Array> {
  const first = part * rows;
  if (count === 1 && tensor.shape.length === 2) {
    return await tensor.read({ start: first + start, end: first + end });
  }
  const all = await tensor.read({ start: index, end: index + 1 });
  if (all.length !== rows * parts * width) {
    throw new LowbitError("SHAPE", `slice ${index} has ${all.length} elements`, {
      field: tensor.name,
    });
  }
  return all.slice((first + start) * width, (first + end) * width);
}

/** Rows in the order of the graph; what lies between the first and the last of them is read. */
async function orderedRows(
  order: Uint32Array,
  range: { start: number; end: number } | undefined,
  width: number,
  read: (range: { start: number; end: number }) => Promise<Float32Array>,
): Promise<Float32Array> {
  const wanted = range ? order.subarray(range.start, range.end) : order;
  if (wanted.length === 0) return new Float32Array(0);
  let [start, end] = [Infinity, 0];
  for (const row of wanted) [start, end] = [Math.min(start, row), Math.max(end, row + 1)];
  const values = await read({ start, end });
  const result = new Float32Array(wanted.length * width);
  wanted.forEach((row, i) =>
    result.set(values.subarray((row - start) * width, (row - start + 1) * width), i * width)
  );
  return result;
}

/**
 * A tensor of a graph as a file stores it: the inverse of {@linkcode graphTensor} for parameters that
 * are stored on their own.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { filledTensor } from "./folded.ts";
 * import { storedTensor } from "./views.ts";
 * const tensor = storedTensor(filledTensor("norm", [2], 1), { offset: 1 });
 * assertEquals([...await tensor.read()], [0, 0]);
 * ```
 */
export function storedTensor(tensor: StoredTensor, view: View | undefined): StoredTensor {
  if (!view) return tensor;
  const shape = fileShape(tensor.shape, view, true);
  const width = shape.slice(1).reduce((a, b) => a * b, 1);
  const read: StoredTensor["read"] = async (rows) => {
    const values = fileValues(await tensor.read(), tensor.shape, view);
    return rows ? values.slice(rows.start * width, rows.end * width) : values;
  };
  return { ...tensor, shape, read, raw: async () => new Uint8Array((await read()).buffer) };
}
