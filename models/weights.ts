/**
 * Reading parameters: tensors of a checkpoint as the graph has them, whatever order of rows and
 * whatever storage the container uses, and never with a NaN in them.
 *
 * @module
 */

import {
  LowbitError,
  type QuantizedTensor,
  type SideTensor,
  type StoredScales,
  type StoredTensor,
} from "../spec/mod.ts";
import { type ModelGraph, type ParameterInfo, parameterOf } from "./architecture.ts";

/**
 * Which row of a GGUF tensor is each row of the weight in the graph. GGUF interleaves the two
 * halves of every rotary head: graph row `j * size/2 + k` of a head is GGUF row `2k + j`.
 *
 * @example
 * ```ts
 * import { ropeRows } from "./weights.ts";
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
 * import { inverseRows } from "./weights.ts";
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
 * import { permuteRows } from "./weights.ts";
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
 * import { permuteQuantized } from "./weights.ts";
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

/**
 * Throws `NON_FINITE` where there is a NaN or an infinity. `what` says what the values are.
 *
 * @example
 * ```ts
 * import { assertThrows } from "@std/assert";
 * import { LowbitError } from "../spec/mod.ts";
 * import { checkFinite } from "./weights.ts";
 * const check = () => checkFinite(Float32Array.of(1, NaN), "model.safetensors", "norm.weight");
 * assertThrows(check, LowbitError, "norm.weight: a weight is NaN (element 1)");
 * ```
 */
export function checkFinite(
  values: Float32Array,
  file: string,
  tensor: string,
  what = "a weight",
): void {
  let zero = 0; // stays 0 for finite values, becomes NaN otherwise
  for (let i = 0; i < values.length; i++) zero += values[i] * 0;
  if (zero === 0) return;
  const index = values.findIndex((value) => !Number.isFinite(value));
  throw new LowbitError("NON_FINITE", `${what} is ${values[index]} (element ${index})`, {
    file,
    field: tensor,
    advice: "the checkpoint is damaged or did not survive its training",
  });
}

/**
 * The tensor of a parameter, with its rows in the order of the graph; a tied parameter has that of
 * the one that it is tied to. `read` and `quantized` refuse weights and scales that are not finite
 * (`NON_FINITE`); `raw` gives the bytes in the order of the file.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { embeddedPath } from "../embedded/mod.ts";
 * import { openCheckpoint } from "../formats/open.ts";
 * import { openModel } from "./architecture.ts";
 * import { parameterTensor } from "./weights.ts";
 * const checkpoint = await openCheckpoint(embeddedPath("model"));
 * const tensor = parameterTensor(openModel(checkpoint), "blocks.0.attention.key");
 * assertEquals(tensor.shape, [128, 256]);
 * assertEquals((await tensor.read({ start: 0, end: 1 })).length, 256);
 * checkpoint.close();
 * ```
 */
export function parameterTensor(model: ModelGraph, id: string): StoredTensor {
  const { checkpoint } = model;
  const parameter = parameterOf(model, id);
  const name = parameter.names[checkpoint.naming];
  const tensor = checkpoint.tensors.get(name);
  if (tensor === undefined) {
    throw new LowbitError("NOT_FOUND", "is missing", { file: checkpoint.name, field: name });
  }
  const order = checkpoint.naming === "gguf" ? graphOrder(parameter) : undefined;
  const finite = (values: Float32Array | undefined, what?: string) => {
    if (values !== undefined) checkFinite(values, checkpoint.name, name, what);
  };
  return {
    name,
    shape: tensor.shape,
    storage: tensor.storage,
    bytes: tensor.bytes,
    raw: () => tensor.raw(),
    async read(rows) {
      const values = order === undefined
        ? await tensor.read(rows)
        : await readOrdered(tensor, order, parameter, rows);
      finite(values);
      return values;
    },
    async quantized() {
      const quantized = await tensor.quantized();
      finite(quantized.parameters.scales, "a scale");
      finite(quantized.parameters.zeros, "a zero point");
      return order === undefined ? quantized : permuteQuantized(quantized, order);
    },
    ...(tensor.vector && { vector: () => tensor.vector!() }),
  };
}

/**
 * For each row of the parameter, its row in a GGUF file; undefined where they are the same.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { graphOrder } from "./weights.ts";
 * const names = { huggingface: "q", gguf: "q" };
 * const query = { id: "q", name: "q", shape: [6, 8], names, ropeHeads: 1 };
 * assertEquals([...graphOrder(query)!], [0, 2, 4, 1, 3, 5]);
 * assertEquals(graphOrder({ ...query, ropeHeads: undefined }), undefined);
 * ```
 */
export function graphOrder(parameter: ParameterInfo): Uint32Array | undefined {
  const { ropeHeads, shape } = parameter;
  return ropeHeads === undefined ? undefined : ropeRows(shape[0], ropeHeads);
}

/**
 * For each row of a GGUF file, its row in the parameter: the order for writing.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { fileOrder } from "./weights.ts";
 * const names = { huggingface: "q", gguf: "q" };
 * const query = { id: "q", name: "q", shape: [6, 8], names, ropeHeads: 1 };
 * assertEquals([...fileOrder(query)!], [0, 3, 1, 4, 2, 5]);
 * ```
 */
export function fileOrder(parameter: ParameterInfo): Uint32Array | undefined {
  const order = graphOrder(parameter);
  return order && inverseRows(order);
}

/** Rows in the order of the graph; whole heads are read, rows of them returned. */
async function readOrdered(
  tensor: StoredTensor,
  order: Uint32Array,
  parameter: ParameterInfo,
  rows: { start: number; end: number } = { start: 0, end: order.length },
): Promise<Float32Array> {
  const size = order.length / parameter.ropeHeads!;
  const start = Math.floor(rows.start / size) * size;
  const end = Math.ceil(rows.end / size) * size;
  const values = await tensor.read({ start, end });
  const ordered = permuteRows(values, order.subarray(start, end).map((row) => row - start));
  const columns = values.length / (end - start);
  return start === rows.start && end === rows.end
    ? ordered
    : ordered.slice((rows.start - start) * columns, (rows.end - start) * columns);
}

/** The most rows that {@linkcode readRows} reads at a time, and the largest gap it reads across. */
const RUN = 4096, GAP = 16;

/**
 * Some rows of a matrix, as `[rows.length, columns]` in the order asked for. Rows that lie close to
 * each other are read together, at most 4096 at a time, so that an embedding never has to be in
 * memory as a whole.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { memorySource } from "../formats/containers/source.ts";
 * import { plainTensor } from "../formats/containers/stored.ts";
 * import { readRows } from "./weights.ts";
 * const source = memorySource("m.bin", new Uint8Array(Float32Array.of(1, 2, 3, 4).buffer));
 * const tensor = plainTensor({ name: "x", type: "float32", shape: [2, 2], source, offset: 0 });
 * assertEquals([...await readRows(tensor, [1, 0, 1])], [3, 4, 1, 2, 3, 4]);
 * ```
 */
export async function readRows(
  tensor: StoredTensor,
  rows: ArrayLike<number>,
): Promise<Float32Array> {
  const columns = tensor.shape[1];
  const result = new Float32Array(rows.length * columns);
  const places = Array.from(rows, (row, place) => ({ row, place })).sort((a, b) => a.row - b.row);
  for (let first = 0; first < places.length;) {
    const start = places[first].row;
    let last = first;
    while (
      last + 1 < places.length && places[last + 1].row - places[last].row <= GAP &&
      places[last + 1].row - start < RUN
    ) last++;
    const values = await tensor.read({ start, end: places[last].row + 1 });
    for (; first <= last; first++) {
      const { row, place } = places[first];
      const from = (row - start) * columns;
      result.set(values.subarray(from, from + columns), place * columns);
    }
  }
  return result;
}
