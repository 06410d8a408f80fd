/**
 * Plain tensors as bytes.
 *
 * @module
 */

import { type Kernels, LowbitError, type PlainType } from "../spec/mod.ts";

/** f32 values as little-endian bytes of a float type; nearest even where it is narrower. */
export function plainBytes(kernels: Kernels, values: Float32Array, type: PlainType): Uint8Array {
  switch (type) {
    case "float32":
      return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    case "float16":
    case "bfloat16": {
      using x = kernels.upload(values);
      using bytes = kernels.alloc("u8", 2 * values.length);
      kernels.narrow({ x, bytes, to: type });
      return bytes.array.slice();
    }
    default:
      throw new LowbitError("UNSUPPORTED", `weights are not written as ${type}`, {
        advice: "float32, float16 and bfloat16 are",
      });
  }
}
