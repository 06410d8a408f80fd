/**
 * The operations in plain TypeScript: what each of them means. An oracle for the tests, and a
 * fall-back where WebAssembly cannot run. f32 steps are rounded by `Math.fround`.
 *
 * @module
 */

import { LowbitError } from "../spec/errors.ts";
import type { QuantizedCache } from "../spec/kernels_cache.ts";
import type { LookupWeight } from "../spec/kernels_lookup.ts";
import type {
  Buffer,
  BufferArrays,
  BufferType,
  GroupedLinearArguments,
  IntegerLinearArguments,
  IntegerWeightArguments,
  Kernels,
  LinearArguments,
  LinearWeight,
  PackedWeightArguments,
} from "../spec/kernels.ts";
import * as check from "./checks.ts";
import {
  groupedLinear as checkGroupedLinear,
  integerLinear as checkIntegerLinear,
} from "./checks_integer.ts";
import * as algebra from "./reference_algebra.ts";
import * as codes from "./reference_codes.ts";
import * as cache from "./reference_cache.ts";
import * as dense from "./reference_dense.ts";
import * as factors from "./reference_factors.ts";
import * as lookup from "./reference_lookup.ts";
import { groupedLinear, integerLinear, PlainIntegers } from "./reference_integer.ts";
import * as model from "./reference_model.ts";

/**
 * The reference kernels. One thread; buffers are plain typed arrays.
 *
 * @example
 * ```ts
 * import { referenceKernels } from "./reference.ts";
 *
 * const kernels = referenceKernels();
 * using x = kernels.upload(new Float32Array([1, 2]));
 * using y = kernels.upload(new Float32Array([10, 20]));
 * kernels.add({ x, y });
 * y.array; // [11, 22]
 * ```
 */
export function referenceKernels(): Kernels {
  return new ReferenceKernels();
}

/** What the buffers of one set of kernels share. */
interface Ledger {
  bytes: number;
  peak: number;
}

function hold(ledger: Ledger, bytes: number): void {
  ledger.bytes += bytes;
  ledger.peak = Math.max(ledger.peak, ledger.bytes);
}

class PlainBuffer<T extends BufferType> implements Buffer<T> {
  readonly type: T;
  #array: BufferArrays[T];
  #state: { freed: boolean };
  #ledger?: Ledger;

  constructor(
    type: T,
    array: BufferArrays[T],
    state: { freed: boolean } = { freed: false },
    ledger?: Ledger,
  ) {
    this.type = type;
    this.#array = array;
    this.#state = state;
    this.#ledger = ledger;
    if (ledger) hold(ledger, array.byteLength);
  }

  get length(): number {
    return this.#array.length;
  }

  get array(): BufferArrays[T] {
    if (this.#state.freed) throw new LowbitError("SHAPE", "a buffer is used after it was freed");
    return this.#array;
  }

  slice(start: number, length: number): Buffer<T> {
    check.whole("start", start);
    check.whole("length", length, 0, this.length - start);
    const window = this.array.subarray(start, start + length) as BufferArrays[T];
    return new PlainBuffer(this.type, window, this.#state);
  }

  free(): void {
    if (!this.#ledger || this.#state.freed) return;
    this.#state.freed = true;
    hold(this.#ledger, -this.#array.byteLength);
  }

  [Symbol.dispose](): void {
    this.free();
  }
}

/** A weight as f32 rows: packed codes are decoded at once. */
class PlainWeight implements LinearWeight {
  readonly rows: number;
  readonly columns: number;
  readonly bytes: number;
  #values?: Float32Array;
  #ledger: Ledger;

  constructor(values: Float32Array, rows: number, columns: number, ledger: Ledger) {
    this.rows = rows;
    this.columns = columns;
    this.bytes = values.byteLength;
    this.#values = values;
    this.#ledger = ledger;
    hold(ledger, this.bytes);
  }

  get values(): Float32Array {
    return this.#values ?? check.refuse("weight", "is used after it was freed");
  }

  free(): void {
    if (this.#values) hold(this.#ledger, -this.bytes);
    this.#values = undefined;
  }

  [Symbol.dispose](): void {
    this.free();
  }
}

function plainIntegers(weight: LinearWeight): PlainIntegers {
  if (weight instanceof PlainIntegers) return weight;
  check.refuse("weight", "was not made by integerWeight of these kernels");
}

class ReferenceKernels implements Kernels {
  readonly name = "reference";
  readonly threads = 1;
  #ledger: Ledger = { bytes: 0, peak: 0 };
  #hold = (bytes: number): void => hold(this.#ledger, bytes);

  memory(): { bytes: number; peak: number } {
    return { ...this.#ledger };
  }

  alloc<T extends BufferType>(type: T, length: number): Buffer<T> {
    check.whole("length", length);
    return new PlainBuffer(type, zeroed(type, length), undefined, this.#ledger);
  }

  upload(data: Uint8Array): Buffer<"u8">;
  upload(data: Float32Array): Buffer<"f32">;
  upload(data: Float64Array): Buffer<"f64">;
  upload(data: Uint32Array): Buffer<"u32">;
  upload(data: Int32Array): Buffer<"i32">;
  upload(data: Uint8Array | Float32Array | Float64Array | Uint32Array | Int32Array): Buffer {
    return new PlainBuffer(check.typeOf(data), data.slice(), undefined, this.#ledger);
  }

  denseWeight(data: Float32Array, rows: number, columns: number): LinearWeight {
    check.dense(data, rows, columns);
    return new PlainWeight(data.slice(), rows, columns, this.#ledger);
  }

  packedWeight(args: PackedWeightArguments): LinearWeight {
    check.packed(args);
    const { rows, columns } = args.tiling;
    return new PlainWeight(codes.decodePacked(args), rows, columns, this.#ledger);
  }

  planeWeight(args: Parameters<Kernels["planeWeight"]>[0]): LookupWeight {
    return lookup.planeWeight(args, this.#hold);
  }

  codebookWeight(args: Parameters<Kernels["codebookWeight"]>[0]): LookupWeight {
    return lookup.codebookWeight(args, this.#hold);
  }

  sparseWeight(args: Parameters<Kernels["sparseWeight"]>[0]): LookupWeight {
    return lookup.sparseWeight(args, this.#hold);
  }

  lowRankWeight(args: Parameters<Kernels["lowRankWeight"]>[0]): LookupWeight {
    return lookup.lowRankWeight(args, this.#hold);
  }

  quantizedCache(args: Parameters<Kernels["quantizedCache"]>[0]): QuantizedCache {
    return cache.quantizedCache(args, this.#hold);
  }

  linear(args: LinearArguments): void {
    const { weight, tokens } = args;
    if (!(weight instanceof PlainWeight)) check.refuse("weight", "was not made by these kernels");
    check.whole("tokens", tokens);
    check.buffer("x", args.x, "f32", tokens * weight.columns);
    check.buffer("y", args.y, "f32", tokens * weight.rows);
    algebra.linear(args.x.array, args.y.array, tokens, weight);
  }

  integerWeight(args: IntegerWeightArguments): LinearWeight {
    return new PlainIntegers(args, (bytes) => hold(this.#ledger, bytes));
  }

  integerLinear(args: IntegerLinearArguments): void {
    const { x, y, tokens } = args;
    const weight = plainIntegers(args.weight);
    const activations = checkIntegerLinear(args, weight);
    integerLinear(x.array, y.array, tokens, weight, activations);
  }

  groupedLinear(args: GroupedLinearArguments): void {
    const weight = plainIntegers(args.weight);
    checkGroupedLinear(args, weight);
    groupedLinear(args.x.array, args.y.array, args.tokens, weight);
  }

  encode: Kernels["encode"] = codes.encode;
  decode: Kernels["decode"] = codes.decode;
  pack: Kernels["pack"] = codes.pack;
  unpack: Kernels["unpack"] = codes.unpack;
  range: Kernels["range"] = codes.range;
  tileError: Kernels["tileError"] = codes.tileError;
  power: Kernels["power"] = codes.power;
  narrow: Kernels["narrow"] = codes.narrow;
  widen: Kernels["widen"] = codes.widen;
  trailingUpdate: Kernels["trailingUpdate"] = algebra.trailingUpdate;
  gram: Kernels["gram"] = algebra.gram;
  columnStats: Kernels["columnStats"] = algebra.columnStats;
  inverseCholesky: Kernels["inverseCholesky"] = algebra.inverseCholesky;
  encodeFeedback: Kernels["encodeFeedback"] = algebra.encodeFeedback;
  rmsNorm: Kernels["rmsNorm"] = model.rmsNorm;
  rope: Kernels["rope"] = model.rope;
  attention: Kernels["attention"] = model.attention;
  siluGate: Kernels["siluGate"] = model.siluGate;
  add: Kernels["add"] = model.add;
  scaleColumns: Kernels["scaleColumns"] = model.scaleColumns;
  logSoftmax: Kernels["logSoftmax"] = model.logSoftmax;
  divergence: Kernels["divergence"] = model.divergence;
  hadamard: Kernels["hadamard"] = dense.hadamard;
  matmul: Kernels["matmul"] = dense.matmul;
  layerNorm: Kernels["layerNorm"] = dense.layerNorm;
  activate: Kernels["activate"] = dense.activate;
  softmax: Kernels["softmax"] = dense.softmax;
  absMax: Kernels["absMax"] = dense.absMax;
  histogram: Kernels["histogram"] = dense.histogram;
  percentile: Kernels["percentile"] = dense.percentile;
  convert: Kernels["convert"] = dense.convert;
  cholesky: Kernels["cholesky"] = factors.cholesky;
  choleskySolve: Kernels["choleskySolve"] = factors.choleskySolve;
  triangularInverse: Kernels["triangularInverse"] = factors.triangularInverse;
  symmetricEigen: Kernels["symmetricEigen"] = factors.symmetricEigen;
  svd: Kernels["svd"] = factors.svd;
  qr: Kernels["qr"] = factors.qr;
  linearPlanes: Kernels["linearPlanes"] = lookup.linearPlanes;
  linearPlanesInt: Kernels["linearPlanesInt"] = lookup.linearPlanesInt;
  linearBinary: Kernels["linearBinary"] = lookup.linearBinary;
  linearFp6: Kernels["linearFp6"] = lookup.linearFp6;
  linearCodebook: Kernels["linearCodebook"] = lookup.linearCodebook;
  addSparse: Kernels["addSparse"] = lookup.addSparse;
  addLowRank: Kernels["addLowRank"] = lookup.addLowRank;
  cacheAppend: Kernels["cacheAppend"] = cache.cacheAppend;
  cacheRead: Kernels["cacheRead"] = cache.cacheRead;
  attentionCached: Kernels["attentionCached"] = cache.attentionCached;

  close(): void {}
}

function zeroed<T extends BufferType>(type: T, length: number): BufferArrays[T] {
  const make: Record<BufferType, () => BufferArrays[BufferType]> = {
    u8: () => new Uint8Array(length),
    u32: () => new Uint32Array(length),
    i32: () => new Int32Array(length),
    f32: () => new Float32Array(length),
    f64: () => new Float64Array(length),
  };
  if (!(type in make)) check.refuse("type", `is not a buffer type: ${type}`);
  return make[type]() as BufferArrays[T];
}
