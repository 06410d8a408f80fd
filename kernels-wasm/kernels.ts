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
import * as lookupWeights from "./lookup_weights.ts";
import * as factors from "./ops_algebra.ts";
import * as cache from "./ops_cache.ts";
import * as codes from "./ops_codes.ts";
import * as dense from "./ops_dense.ts";
import * as algebra from "./ops_linear.ts";
import * as lookup from "./ops_lookup.ts";
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
  groupedLinear: Kernels["groupedLinear"] = (a) => integer.groupedLinear(this.#context, a);
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
  hadamard: Kernels["hadamard"] = (args) => dense.hadamard(this.#context, args);
  matmul: Kernels["matmul"] = (args) => dense.matmul(this.#context, args);
  layerNorm: Kernels["layerNorm"] = (args) => dense.layerNorm(this.#context, args);
  activate: Kernels["activate"] = (args) => dense.activate(this.#context, args);
  softmax: Kernels["softmax"] = (args) => dense.softmax(this.#context, args);
  absMax: Kernels["absMax"] = (args) => dense.absMax(this.#context, args);
  histogram: Kernels["histogram"] = (args) => dense.histogram(this.#context, args);
  percentile: Kernels["percentile"] = (args) => dense.percentile(this.#context, args);
  convert: Kernels["convert"] = (args) => dense.convert(this.#context, args);
  cholesky: Kernels["cholesky"] = (args) => factors.cholesky(this.#context, args);
  choleskySolve: Kernels["choleskySolve"] = (args) => factors.choleskySolve(this.#context, args);
  triangularInverse: Kernels["triangularInverse"] = (args) =>
    factors.triangularInverse(this.#context, args);
  symmetricEigen: Kernels["symmetricEigen"] = (args) => factors.symmetricEigen(this.#context, args);
  svd: Kernels["svd"] = (args) => factors.svd(this.#context, args);
  qr: Kernels["qr"] = (args) => factors.qr(this.#context, args);
  linearPlanes: Kernels["linearPlanes"] = (args) => lookup.linearPlanes(this.#context, args);
  linearPlanesInt: Kernels["linearPlanesInt"] = (args) =>
    lookup.linearPlanesInt(this.#context, args);
  linearBinary: Kernels["linearBinary"] = (args) => lookup.linearBinary(this.#context, args);
  linearFp6: Kernels["linearFp6"] = (args) => lookup.linearFp6(this.#context, args);
  linearCodebook: Kernels["linearCodebook"] = (args) => lookup.linearCodebook(this.#context, args);
  addSparse: Kernels["addSparse"] = (args) => lookup.addSparse(this.#context, args);
  addLowRank: Kernels["addLowRank"] = (args) => lookup.addLowRank(this.#context, args);
  quantizedCache: Kernels["quantizedCache"] = (args) => cache.quantizedCache(this.#context, args);
  cacheAppend: Kernels["cacheAppend"] = (args) => cache.cacheAppend(this.#context, args);
  cacheRead: Kernels["cacheRead"] = (args) => cache.cacheRead(this.#context, args);
  attentionCached: Kernels["attentionCached"] = (args) =>
    cache.attentionCached(this.#context, args);
  planeWeight: Kernels["planeWeight"] = (args) => lookupWeights.planeWeight(this.#context, args);
  codebookWeight: Kernels["codebookWeight"] = (args) =>
    lookupWeights.codebookWeight(this.#context, args);
  sparseWeight: Kernels["sparseWeight"] = (args) => lookupWeights.sparseWeight(this.#context, args);
  lowRankWeight: Kernels["lowRankWeight"] = (args) =>
    lookupWeights.lowRankWeight(this.#context, args);
}
