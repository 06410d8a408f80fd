/**
 * The kernels as one object.
 *
 * @module
 */

import type {
  Buffer,
  BufferType,
  Kernels,
  LinearWeight,
  PackedWeightArguments,
} from "../spec/kernels.ts";
import * as check from "./checks.ts";
import type { Context } from "./context.ts";
import { WasmBuffer } from "./memory.ts";
import * as integer from "./integer.ts";
import * as codes from "./ops_codes.ts";
import * as algebra from "./ops_linear.ts";
import * as model from "./ops_model.ts";
import { denseWeight, packedWeight } from "./weights.ts";

/** The operations, each checked and handed to the pool. */
export class WasmKernels implements Kernels {
  readonly name = "wasm-simd128";
  readonly #context: Context;

  /** Kernels on an instance, its memory and its threads. */
  constructor(context: Context) {
    this.#context = context;
  }

  get threads(): number {
    return this.#context.pool.threads;
  }

  memory(): { bytes: number; peak: number } {
    return this.#context.heap.memory;
  }

  alloc<T extends BufferType>(type: T, length: number): Buffer<T> {
    return WasmBuffer.alloc(this.#context.heap, type, length);
  }

  upload(data: Uint8Array): Buffer<"u8">;
  upload(data: Float32Array): Buffer<"f32">;
  upload(data: Float64Array): Buffer<"f64">;
  upload(data: Uint32Array): Buffer<"u32">;
  upload(data: Int32Array): Buffer<"i32">;
  upload(data: Uint8Array | Float32Array | Float64Array | Uint32Array | Int32Array): Buffer {
    const buffer = this.alloc(check.typeOf(data), data.length);
    buffer.array.set(data);
    return buffer;
  }

  denseWeight(data: Float32Array, rows: number, columns: number): LinearWeight {
    check.dense(data, rows, columns);
    return denseWeight(this.#context.heap, this.#context.exports, data, rows, columns);
  }

  packedWeight(args: PackedWeightArguments): LinearWeight {
    check.packed(args);
    return packedWeight(this.#context.heap, this.#context.exports, args);
  }

  close(): void {
    this.#context.pool.close();
  }

  encode: Kernels["encode"] = (args) => codes.encode(this.#context, args);
  decode: Kernels["decode"] = (args) => codes.decode(this.#context, args);
  pack: Kernels["pack"] = (args) => codes.packing(this.#context, "pack", args);
  unpack: Kernels["unpack"] = (args) => codes.packing(this.#context, "unpack", args);
  range: Kernels["range"] = (args) => codes.range(this.#context, args);
  tileError: Kernels["tileError"] = (args) => codes.tileError(this.#context, args);
  power: Kernels["power"] = (args) => codes.power(this.#context, args);
  narrow: Kernels["narrow"] = (args) => codes.narrow(this.#context, args);
  widen: Kernels["widen"] = (args) => codes.widen(this.#context, args);
  integerWeight: Kernels["integerWeight"] = (a) => integer.integerWeight(this.#context, a);
  integerLinear: Kernels["integerLinear"] = (a) => integer.integerLinear(this.#context, a);
  linear: Kernels["linear"] = (args) => algebra.linear(this.#context, args);
  trailingUpdate: Kernels["trailingUpdate"] = (a) => algebra.trailingUpdate(this.#context, a);
  gram: Kernels["gram"] = (args) => algebra.gram(this.#context, args);
  columnStats: Kernels["columnStats"] = (args) => algebra.columnStats(this.#context, args);
  inverseCholesky: Kernels["inverseCholesky"] = (a) => algebra.inverseCholesky(this.#context, a);
  encodeFeedback: Kernels["encodeFeedback"] = (a) => algebra.encodeFeedback(this.#context, a);
  rmsNorm: Kernels["rmsNorm"] = (args) => model.rmsNorm(this.#context, args);
  rope: Kernels["rope"] = (args) => model.rope(this.#context, args);
  attention: Kernels["attention"] = (args) => model.attention(this.#context, args);
  siluGate: Kernels["siluGate"] = (args) => model.siluGate(this.#context, args);
  add: Kernels["add"] = (args) => model.add(this.#context, args);
  scaleColumns: Kernels["scaleColumns"] = (args) => model.scaleColumns(this.#context, args);
  logSoftmax: Kernels["logSoftmax"] = (args) => model.logSoftmax(this.#context, args);
  divergence: Kernels["divergence"] = (args) => model.divergence(this.#context, args);
}
