/**
 * The types of ONNX tensors, by their numbers in `onnx.proto`.
 *
 * @module
 */

import type { PlainType } from "../../spec/checkpoint.ts";

/** The numbers of the plain types. */
export const ONNX_TYPES: ReadonlyMap<number, PlainType> = new Map<number, PlainType>([
  [1, "float32"],
  [2, "uint8"],
  [3, "int8"],
  [4, "uint16"],
  [5, "int16"],
  [6, "int32"],
  [7, "int64"],
  [9, "bool"],
  [10, "float16"],
  [11, "float64"],
  [12, "uint32"],
  [13, "uint64"],
  [16, "bfloat16"],
  [17, "float8_e4m3fn"],
  [18, "float8_e4m3fnuz"],
  [19, "float8_e5m2"],
  [20, "float8_e5m2fnuz"],
  [23, "float4_e2m1fn"],
  [24, "float8_e8m0fnu"],
]);

/** The number of a plain type. */
export const ONNX_NUMBERS: ReadonlyMap<PlainType, number> = new Map(
  [...ONNX_TYPES].map(([number, type]) => [type, number]),
);

/** Types of two codes a byte that have no plain type, by name. */
export const ONNX_NIBBLES = { UINT4: 21, INT4: 22 } as const;
