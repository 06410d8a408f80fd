/**
 * The types of the GGUF container: metadata values and ggml tensor types.
 *
 * @module
 */

import type { GgufValue, PlainType } from "../../spec/checkpoint.ts";

/** The types of metadata values, by their numbers in the file. */
export const VALUE_TYPES: readonly GgufValue["type"][] = [
  "uint8",
  "int8",
  "uint16",
  "int16",
  "uint32",
  "int32",
  "float32",
  "bool",
  "string",
  "array",
  "uint64",
  "int64",
  "float64",
];

/** Bytes of a value of a fixed size; 0 for strings and arrays. */
export const VALUE_BYTES: Readonly<Record<GgufValue["type"], number>> = {
  uint8: 1,
  int8: 1,
  uint16: 2,
  int16: 2,
  uint32: 4,
  int32: 4,
  float32: 4,
  bool: 1,
  string: 0,
  array: 0,
  uint64: 8,
  int64: 8,
  float64: 8,
};

/** A ggml tensor type: blocks of `block` elements in `bytes` bytes. */
export interface GgmlType {
  /** Its number in the file. */
  id: number;
  /** Its name in ggml. */
  name: string;
  /** Elements of a block. */
  block: number;
  /** Bytes of a block. */
  bytes: number;
}

const SIZES: readonly (readonly [id: number, name: string, block: number, bytes: number])[] = [
  [0, "F32", 1, 4],
  [1, "F16", 1, 2],
  [2, "Q4_0", 32, 18],
  [3, "Q4_1", 32, 20],
  [6, "Q5_0", 32, 22],
  [7, "Q5_1", 32, 24],
  [8, "Q8_0", 32, 34],
  [9, "Q8_1", 32, 36],
  [10, "Q2_K", 256, 84],
  [11, "Q3_K", 256, 110],
  [12, "Q4_K", 256, 144],
  [13, "Q5_K", 256, 176],
  [14, "Q6_K", 256, 210],
  [15, "Q8_K", 256, 292],
  [16, "IQ2_XXS", 256, 66],
  [17, "IQ2_XS", 256, 74],
  [18, "IQ3_XXS", 256, 98],
  [19, "IQ1_S", 256, 50],
  [20, "IQ4_NL", 32, 18],
  [21, "IQ3_S", 256, 110],
  [22, "IQ2_S", 256, 82],
  [23, "IQ4_XS", 256, 136],
  [24, "I8", 1, 1],
  [25, "I16", 1, 2],
  [26, "I32", 1, 4],
  [27, "I64", 1, 8],
  [28, "F64", 1, 8],
  [29, "IQ1_M", 256, 56],
  [30, "BF16", 1, 2],
  [34, "TQ1_0", 256, 54],
  [35, "TQ2_0", 256, 66],
  [39, "MXFP4", 32, 17],
  [40, "NVFP4", 64, 36],
  [41, "Q1_0", 128, 18],
];

/** The ggml types by number, as in gguf 0.19; Q8_1 (40 bytes there) as in ggml itself. */
export const GGML_TYPES: ReadonlyMap<number, GgmlType> = new Map(
  SIZES.map(([id, name, block, bytes]) => [id, { id, name, block, bytes }]),
);

/** The ggml types by name. */
export const GGML_TYPES_BY_NAME: ReadonlyMap<string, GgmlType> = new Map(
  [...GGML_TYPES.values()].map((type) => [type.name, type]),
);

/** The ggml types that are plain here. */
export const GGML_PLAIN: ReadonlyMap<string, PlainType> = new Map<string, PlainType>([
  ["F32", "float32"],
  ["F16", "float16"],
  ["BF16", "bfloat16"],
  ["F64", "float64"],
  ["I8", "int8"],
  ["I16", "int16"],
  ["I32", "int32"],
  ["I64", "int64"],
]);

/** What the header says of a tensor. */
export interface GgufTensor {
  /** Its name. */
  name: string;
  /** Its shape, row-major, slowest dimension first: the reverse of the order in the file. */
  shape: readonly number[];
  /** Its type. */
  type: GgmlType;
  /** Its first byte in the file. */
  offset: number;
  /** Its bytes. */
  bytes: number;
}

/** The alignment of tensor data where the metadata does not say. */
export const DEFAULT_ALIGNMENT = 32;
