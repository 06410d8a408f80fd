/**
 * Weights of INT4 and UINT4 initializers behind DequantizeLinear.
 *
 * @module
 */

import { type Granularity, LowbitError } from "../../spec/mod.ts";
import type { Nibbles, OnnxNode } from "../containers/onnx.ts";
import { decodeScales } from "../containers/scales.ts";
import { layout as layoutOf } from "../lookup.ts";
import type { Tools } from "./coded.ts";
import type { DirectoryTensors, TensorPart } from "./directory.ts";
import { type FoundTensors, integerScheme, type Values } from "./packed.ts";

/** How a matrix of codes and its parameters are meant. */
interface Meaning {
  /** Whether the matrix is inputs x outputs, as MatMul takes it. */
  turned: boolean;
  granularity: Granularity;
  /** The shape of the parameters, as stored. */
  grid: [rows: number, columns: number];
}

/**
 * What a node says of a matrix `[a, b]`. Scales along the first axis of blocks, or one a column, are
 * those of a matrix of inputs x outputs; all others leave it as it is.
 */
function meaning([a, b]: readonly number[], scales: readonly number[], node: OnnxNode) {
  const block = node.ints.get("block_size") ?? 0;
  const axis = (node.ints.get("axis") ?? 1) & 1; // -1 is the last of two
  const count = scales.reduce((product, size) => product * size, 1);
  const found: Meaning | undefined = block > 0
    ? axis === 0
      ? { turned: true, granularity: { kind: "group", size: block }, grid: [a / block, b] }
      : { turned: false, granularity: { kind: "group", size: block }, grid: [a, b / block] }
    : count === 1
    ? { turned: false, granularity: { kind: "tensor" }, grid: [1, 1] }
    : axis === 0
    ? { turned: false, granularity: { kind: "channel" }, grid: [a, 1] }
    : { turned: true, granularity: { kind: "channel" }, grid: [1, b] };
  const [rows, columns] = found.grid;
  return Number.isInteger(rows) && Number.isInteger(columns) && count === rows * columns
    ? found
    : undefined;
}

/** Takes the weight of a DequantizeLinear node; false if it means something else. */
export function addNibbles(
  found: FoundTensors,
  directory: DirectoryTensors,
  node: OnnxNode,
  nibbles: ReadonlyMap<string, Nibbles>,
  tools: Tools,
): boolean {
  const [codesName, scalesName = "", zerosName = ""] = node.inputs;
  const { shape, signed } = nibbles.get(codesName)!;
  const place = directory.place(scalesName);
  if (shape.length !== 2 || shape.some((size) => size < 1) || !place) return false;
  const [a, b] = shape;
  const meant = meaning(shape, place.shape, node);
  const zerosOf = nibbles.get(zerosName);
  if (!meant || signed === (zerosName !== "")) return false;
  if (zerosName && (zerosOf?.signed !== false || `${zerosOf.shape}` !== `${place.shape}`)) {
    return false;
  }
  const { turned, granularity, grid: [gridRows, gridColumns] } = meant;
  // Rows that begin inside a byte.
  if (!turned && b % 2 !== 0) return false;
  const scales = directory.part(scalesName, ["float32", "float16", "bfloat16"]);
  const zeros = zerosName ? directory.part(zerosName, ["uint8"]) : undefined;
  const [rows, columns] = turned ? [b, a] : [a, b];
  const width = turned ? gridRows : gridColumns;
  /** Some rows of the grid as the weight has it, from all stored values. */
  const cut = (all: Float32Array, first: number, last: number) =>
    Float32Array.from({ length: (last - first) * width }, (_, i) => {
      const [row, column] = [first + Math.floor(i / width), i % width];
      return all[turned ? column * gridColumns + row : row * gridColumns + column];
    });
  const read =
    (part: TensorPart, decode: (bytes: Uint8Array) => Float32Array): Values =>
    async (first, last) => cut(decode(await part.read()), first, last);
  const unpack = (bytes: Uint8Array) =>
    Float32Array.from(
      { length: gridRows * gridColumns },
      (_, i) => (bytes[i >> 1] >> (4 * (i & 1))) & 15,
    );
  found.add({
    name: codesName.replace(/_(quantized|DQ_Q4|Q4)$/, ""),
    shape: [rows, columns],
    scheme: integerScheme({
      dialect: "onnx",
      bits: 4,
      symmetric: signed,
      granularity,
      format: scales.place.type,
      source: "ONNX, Operators.md, DequantizeLinear",
    }),
    layout: layoutOf(turned ? "onnx_qdq_int4" : "lowbit_dense"),
    codes: directory.part(codesName, ["uint8"]),
    others: zeros ? [scales, zeros] : [scales],
    values: {
      scales: read(scales, (bytes) => decodeScales(scales.place.type, bytes.slice())),
      ...(zeros && { zeros: read(zeros, unpack) }),
    },
  }, tools);
  return true;
}

/** Refuses tensors of 4 bits that are no weights. */
export function refuseNibbles(name: string, file: string): never {
  throw new LowbitError("UNSUPPORTED", "is a tensor of 4 bits whose meaning is not known", {
    file,
    field: name,
    advice: "only weights of DequantizeLinear are read: a matrix with a scale for each block, " +
      "channel, or all, INT4 without zero points or UINT4 with them",
  });
}
