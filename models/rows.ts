/**
 * Rows of weights in other orders, with whatever belongs to them.
 *
 * @module
 */

import {
  LowbitError,
  type QuantizedTensor,
  type SideTensor,
  type StoredScales,
} from "../spec/mod.ts";

/**
 * Which row of a GGUF tensor is each row of the weight in the graph. GGUF interleaves the two
 * halves of every rotary head: graph row `j * size/2 + k` of a head is GGUF row `2k + j`.
 *
 * @example
 * ```ts
 * import { ropeRows } from "./rows.ts";
 * [...ropeRows(4, 1)]; // [0, 2, 1, 3]
 * ```
 */
export function ropeRows(rows: number, heads: number): Uint32Array {
  const size = rows / heads;
  if (!Number.isInteger(size) || size % 2 !== 0) {
    throw new LowbitError("SHAPE", `${rows} rows are not ${heads} heads of an even size`);
  }
  return Uint32Array.from({ length: rows }, (_, row) => {
    const inside = row % size, half = size / 2;
    return row - inside + (inside % half) * 2 + Math.floor(inside / half);
  });
}

/**
 * The order that undoes another one.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { inverseRows } from "./rows.ts";
 * assertEquals([...inverseRows(Uint32Array.of(2, 0, 1))], [1, 2, 0]);
 * ```
 */
export function inverseRows(order: Uint32Array): Uint32Array {
  const inverse = new Uint32Array(order.length);
  order.forEach((source, row) => inverse[source] = row);
  return inverse;
}

/**
 * Rows of a `[rows, columns]` array in another order: row r of the result is row `order[r]`.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { permuteRows } from "./rows.ts";
 * const rows = Float32Array.of(1, 2, 3, 4);
 * assertEquals([...permuteRows(rows, Uint32Array.of(1, 0))], [3, 4, 1, 2]);
 * ```
 */
export function permuteRows<T extends Float32Array | Uint8Array>(data: T, order: Uint32Array): T {
  const columns = data.length / order.length;
  const result = new (data.constructor as new (length: number) => T)(data.length);
  order.forEach((source, row) => {
    result.set(data.subarray(source * columns, (source + 1) * columns), row * columns);
  });
  return result;
}

/**
 * A quantised tensor with its rows in another order: codes, scales, zero points and side tensors.
 * `FORMAT` where a scale is shared by several rows, but not by all.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { createCodecs } from "../formats/codec.ts";
 * import { referenceKernels } from "../kernels-wasm/reference.ts";
 * import { permuteQuantized } from "./rows.ts";
 * const codecs = createCodecs(referenceKernels());
 * const codec = codecs.get(codecs.resolve("int8_channel_sym"));
 * const tensor = codec.quantize(Float32Array.of(127, 1, 254, 2), 2, 2);
 * const swapped = permuteQuantized(tensor, Uint32Array.of(1, 0));
 * assertEquals([...codec.dequantize(swapped)], [254, 2, 127, 1]);
 * ```
 */
export function permuteQuantized(tensor: QuantizedTensor, order: Uint32Array): QuantizedTensor {
  const { shape, parameters, codes, side } = tensor;
  const [rows] = shape;
  const { granularity } = tensor.scheme;
  if (granularity.kind === "block" && granularity.rows > 1 && granularity.rows < rows) {
    throw new LowbitError("FORMAT", "scales of blocks of rows cannot follow the order of heads", {
      advice: "use a granularity inside rows for the weights of query and key",
    });
  }
  const perRow = parameters.scales.length >= rows && parameters.scales.length % rows === 0 &&
    granularity.kind !== "tensor";
  const grid = (values: Float32Array | undefined) =>
    values === undefined ? undefined : perRow ? permuteRows(values, order) : values;
  const { scales, unrounded, zeros, second } = parameters;
  return {
    ...tensor,
    codes: permuteRows(codes, order),
    parameters: {
      scales: grid(scales)!,
      ...(unrounded && { unrounded: grid(unrounded) }),
      ...(zeros && { zeros: grid(zeros) }),
      ...(second && { second: permuteSecond(second, order) }),
    },
    ...(side === undefined ? {} : { side: side.map((part) => permuteSide(part, order)) }),
  };
}

/** Stored scales in another order of rows; each row must have its own, or all share them. */
function permuteSecond(second: StoredScales, order: Uint32Array): StoredScales {
  const moved = Object.entries(second).map(([name, values]: [string, Float32Array]) => {
    if (name === "offset" || values.length === 1) return [name, values];
    if (values.length % order.length === 0) return [name, permuteRows(values, order)];
    throw new LowbitError("FORMAT", "scales of scales cannot follow the order of heads", {
      advice: "use a scheme whose super-blocks lie inside rows for the weights of query and key",
    });
  });
  return Object.fromEntries(moved);
}

function permuteSide(part: SideTensor, order: Uint32Array): SideTensor {
  if (part.kind === "low_rank") return { ...part, left: permuteRows(part.left, order) };
  if (part.kind === "rotation") {
    if (!part.rows) return part;
    throw new LowbitError("FORMAT", "rotated rows cannot follow the order of heads", {
      advice: "write with --to lowbit",
    });
  }
  const target = inverseRows(order);
  const moved = Array.from(part.rows, (row, i) => ({ row: target[row], i }));
  moved.sort((a, b) => a.row - b.row || part.columns[a.i] - part.columns[b.i]);
  return {
    kind: "sparse",
    rows: Uint32Array.from(moved, ({ row }) => row),
    columns: Uint32Array.from(moved, ({ i }) => part.columns[i]),
    values: Float32Array.from(moved, ({ i }) => part.values[i]),
  };
}
