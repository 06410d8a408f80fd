/**
 * Tensors that are changed as they are read: channels scaled, rotated, or made up.
 *
 * @module
 */

import { LowbitError, rotate, type Rotation, type StoredTensor } from "../spec/mod.ts";

/** One change of a matrix `[rows, columns]`; a vector counts as one row. */
export type Fold =
  | { kind: "scale_columns"; factors: () => Promise<Float32Array> }
  | { kind: "rotate_columns"; rotation: Rotation }
  | { kind: "rotate_rows"; rotation: Rotation };

/** Rows that are changed at a time where rows do not depend on each other. */
const CHUNK = 1024;

/**
 * A tensor with changes, which are made in f64 and rounded to f32 once. Where rows depend on each
 * other it is read as a whole.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { filledTensor, foldedTensor } from "./folded.ts";
 * const ones = filledTensor("x", [2, 4], 1);
 * const rotation = { kind: "hadamard" as const, size: 4 };
 * const folded = foldedTensor("y", ones, [{ kind: "rotate_columns", rotation }]);
 * assertEquals([...await folded.read({ start: 1, end: 2 })], [2, 0, 0, 0]);
 * ```
 */
export function foldedTensor(
  name: string,
  base: StoredTensor,
  folds: readonly Fold[],
): StoredTensor {
  const { shape } = base;
  const [rows, columns] = shape.length === 1 ? [1, shape[0]] : [shape[0], shape[1]];
  const whole = folds.some(({ kind }) => kind === "rotate_rows");
  const change = async (values: Float32Array): Promise<Float32Array> => {
    let exact = Float64Array.from(values);
    for (const fold of folds) exact = await applyFold(fold, exact, columns);
    return Float32Array.from(exact);
  };
  return plain(name, shape, async (range = { start: 0, end: rows }) => {
    const { start, end } = range;
    if (shape.length === 1) return await change(await base.read());
    if (whole) {
      const all = await change(await base.read());
      return start === 0 && end === rows ? all : all.slice(start * columns, end * columns);
    }
    const result = new Float32Array((end - start) * columns);
    for (let first = start; first < end; first += CHUNK) {
      const part = await base.read({ start: first, end: Math.min(end, first + CHUNK) });
      result.set(await change(part), (first - start) * columns);
    }
    return result;
  });
}

/**
 * A tensor that is one value everywhere.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { filledTensor } from "./folded.ts";
 * assertEquals([...await filledTensor("x", [2], 1).read()], [1, 1]);
 * ```
 */
export function filledTensor(name: string, shape: readonly number[], value: number): StoredTensor {
  const [first, ...rest] = shape;
  const width = rest.reduce((a, b) => a * b, 1);
  return plain(
    name,
    shape,
    ({ start, end } = { start: 0, end: first }) =>
      Promise.resolve(new Float32Array((end - start) * width).fill(value)),
  );
}

/**
 * A tensor of given values.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { valuesTensor } from "./folded.ts";
 * assertEquals([...await valuesTensor("x", Float32Array.of(1, 2)).read()], [1, 2]);
 * ```
 */
export function valuesTensor(
  name: string,
  values: Float32Array,
  shape: readonly number[] = [values.length],
): StoredTensor {
  const width = shape.slice(1).reduce((a, b) => a * b, 1);
  return plain(
    name,
    shape,
    ({ start, end } = { start: 0, end: shape[0] }) =>
      Promise.resolve(values.slice(start * width, end * width)),
  );
}

function plain(
  name: string,
  shape: readonly number[],
  read: StoredTensor["read"],
): StoredTensor {
  return {
    name,
    shape,
    storage: { kind: "plain", type: "float32" },
    bytes: 4 * shape.reduce((a, b) => a * b, 1),
    read,
    raw: async () => new Uint8Array((await read()).buffer),
    quantized: () =>
      Promise.reject(new LowbitError("FORMAT", "is not stored as codes", { field: name })),
  };
}

async function applyFold(
  fold: Fold,
  values: Float64Array<ArrayBuffer>,
  columns: number,
): Promise<Float64Array<ArrayBuffer>> {
  if (fold.kind === "scale_columns") {
    const factors = await fold.factors();
    for (let i = 0; i < values.length; i++) values[i] *= factors[i % columns];
    return values;
  }
  if (fold.kind === "rotate_columns") {
    rotate(values, fold.rotation);
    return values;
  }
  const turned = transpose(values, columns);
  rotate(turned, fold.rotation);
  return transpose(turned, values.length / columns);
}

function transpose(values: Float64Array, columns: number): Float64Array<ArrayBuffer> {
  const rows = values.length / columns;
  const result = new Float64Array(values.length);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++) result[c * rows + r] = values[r * columns + c];
  }
  return result;
}
