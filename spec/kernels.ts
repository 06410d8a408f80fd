/**
 * Kernels: the operations that do the heavy arithmetic, as one list that the implementations, the
 * tests, the benchmarks and the documentation walk.
 *
 * Data lives in {@linkcode Buffer}s of the implementation (WASM memory, or plain arrays); an
 * operation takes buffers and sizes, checks them, and writes its outputs into buffers that the
 * caller made. Operations are synchronous; an implementation may split their rows among threads,
 * which never changes a bit of the result.
 *
 * @module
 */

import type { Tiling } from "./granularity.ts";
import type { Buffer, BufferType } from "./kernel_buffers.ts";
import type { AlgebraKernels } from "./kernels_algebra.ts";
import type { CacheKernels } from "./kernels_cache.ts";
import type { ConvertKernels } from "./kernels_convert.ts";
import type { DenseKernels } from "./kernels_dense.ts";
import type { LookupKernels } from "./kernels_lookup.ts";
import type { LinearWeight, PackedWeightArguments } from "./kernel_weights.ts";
import type { IntegerKernels } from "./kernels_integer.ts";

export type { Buffer, BufferArrays, BufferType } from "./kernel_buffers.ts";
export type { LinearWeight, PackedWeightArguments } from "./kernel_weights.ts";
export type {
  ActivationQuantization,
  GroupedLinearArguments,
  IntegerKernels,
  IntegerLinearArguments,
  IntegerWeightArguments,
} from "./kernels_integer.ts";

/**
 * How real numbers become codes, compiled from a number format:
 *
 * - `int`: `q = clamp(round(v) + z, min, max)`, stored as `(q - shift) & mask`; a NaN gets `min`.
 *   Rounding is to nearest, ties to even or away from zero, or the floor of `v + bias` in f32.
 * - `steps`: a step function over the total order of f32. With `key(v)` the order-preserving
 *   unsigned key of v's bits (`bits ^ 0x80000000` for a clear sign, `~bits` for a set one), the
 *   code is `codes[i]`, i the number of `thresholds` that are `< key(v)`. `codes` has one entry
 *   more than `thresholds`, which ascend. NaNs and infinities have their own steps.
 */
export type ElementEncoder =
  | {
    kind: "int";
    min: number;
    max: number;
    mask: number;
    rounding?: "nearest_even" | "half_away" | "floor";
    bias?: number;
    shift?: number;
  }
  | { kind: "steps"; thresholds: Uint32Array; codes: Uint8Array };

/** What `encode` needs. Buffers of scales and zeros have one entry for each tile. */
export interface EncodeArguments {
  /** Input, `[rows, columns]`. */
  x: Buffer<"f32">;
  /** Output: one code an element. */
  codes: Buffer<"u8">;
  /** Which elements share a scale. */
  tiling: Tiling;
  /** Scales; absent for none. */
  scales?: Buffer<"f32">;
  /** Zero points; only with an `int` encoder. */
  zeros?: Buffer<"f32">;
  /** `v = x / s`, or `v = x * (1 / s)`; each step rounded to f32. */
  apply: "divide" | "reciprocal";
  /** How `v` becomes a code. */
  encoder: ElementEncoder;
}

/** What `decode` needs. */
export interface DecodeArguments {
  /** Input: one code an element, `[rows, columns]`. */
  codes: Buffer<"u8">;
  /** Output: `(table[code] - zero) * scale`, each step in f32. */
  y: Buffer<"f32">;
  /** Which elements share a scale. */
  tiling: Tiling;
  /** The value of each code; `2^bits` entries. */
  table: Buffer<"f32">;
  /** Scales; absent for none. */
  scales?: Buffer<"f32">;
  /** Zero points. */
  zeros?: Buffer<"f32">;
}

/** How `pack` and `unpack` lay codes in bytes; see `spec/layout.ts`. */
export interface PackArguments {
  /** One code an element; `units * unitLength` of them. */
  codes: Buffer<"u8">;
  /** The bytes; `units * stride` of them. Bytes outside the streams are left as they are. */
  bytes: Buffer<"u8">;
  /** Bits of a code, 1 to 8. */
  bits: number;
  /** How many streams: rows, or blocks. */
  units: number;
  /** Codes of one stream. */
  unitLength: number;
  /** Bytes from the start of one unit to the start of the next. */
  stride: number;
  /** Bytes from the start of a unit to its stream. */
  start: number;
  /** Which code comes next; `halves` needs an even unit length and 4 bits. */
  order: "neighbours" | "halves";
  /** Added to a code (modulo `2^bits`) before packing, subtracted after unpacking. */
  offset: number;
}

/** The extremes of every tile. Absent outputs are not computed. */
export interface RangeArguments {
  /** Input, `[rows, columns]`. */
  x: Buffer<"f32">;
  /** Which elements belong together. */
  tiling: Tiling;
  /** Smallest value of each tile. */
  min?: Buffer<"f32">;
  /** Largest value of each tile. */
  max?: Buffer<"f32">;
  /** The first value of largest magnitude, in row-major order, with its sign. */
  extreme?: Buffer<"f32">;
}

/** What `linear` needs: `y = x W^T`. */
export interface LinearArguments {
  /** Input, `[tokens, columns]`. */
  x: Buffer<"f32">;
  /** Output, `[tokens, rows]`. */
  y: Buffer<"f32">;
  /** Rows of x and y. */
  tokens: number;
  /** The weight. */
  weight: LinearWeight;
}

/** One block of columns encoded with error feedback; see {@linkcode Kernels.encodeFeedback}. */
export interface FeedbackArguments {
  /** Weights `[rows, columns]`, changed in place. */
  w: Buffer<"f32">;
  /** Rows of w. */
  rows: number;
  /** Columns of w. */
  columns: number;
  /** First column of the block. */
  start: number;
  /** Columns of the block. */
  count: number;
  /** Upper triangular factor `[columns, columns]`. */
  u: Buffer<"f32">;
  /** For each column of w, the column of the grid of scales. */
  groupOf: Buffer<"u32">;
  /** Scales `[rows, groups]` that codes are computed with. */
  scales: Buffer<"f32">;
  /** Scales `[rows, groups]` that codes are read back with; `scales` if absent. */
  stored?: Buffer<"f32">;
  /** Zero points `[rows, groups]`. */
  zeros?: Buffer<"f32">;
  /** Groups a row. */
  groups: number;
  /** `v = x / s`, or `v = x * (1 / s)`. */
  apply: "divide" | "reciprocal";
  /** How `v` becomes a code. */
  encoder: ElementEncoder;
  /** The value of each code. */
  table: Buffer<"f32">;
  /** Output: codes `[rows, columns]`; the columns of the block are written. */
  codes: Buffer<"u8">;
  /** Output: `(w - decoded) / u[j, j]`, `[rows, count]`. */
  errors: Buffer<"f32">;
}

/** Causal self-attention of one sequence; see {@linkcode Kernels.attention}. */
export interface AttentionArguments {
  /** Queries `[tokens, heads * headSize]`. */
  q: Buffer<"f32">;
  /** Keys `[past + tokens, kvHeads * headSize]`. */
  k: Buffer<"f32">;
  /** Values `[past + tokens, kvHeads * headSize]`. */
  v: Buffer<"f32">;
  /** Output `[tokens, heads * headSize]`. */
  y: Buffer<"f32">;
  /** Query rows. */
  tokens: number;
  /** Key rows before the first query. */
  past: number;
  /** Query heads. */
  heads: number;
  /** Key/value heads; divides `heads`. */
  kvHeads: number;
  /** Size of a head. */
  headSize: number;
  /** Multiplies the scores; usually `1 / sqrt(headSize)`. */
  scale: number;
}

/**
 * The operations. Every implementation has them all; see `KERNEL_OPS` for what each
 * promises about its bits.
 */
export interface Kernels
  extends
    AlgebraKernels,
    CacheKernels,
    ConvertKernels,
    DenseKernels,
    IntegerKernels,
    LookupKernels {
  /** The name of the implementation: `wasm-simd128`, `reference`. */
  readonly name: string;
  /** Threads that an operation is split among. */
  readonly threads: number;
  /** Bytes of memory held now, and the most that were. */
  memory(): { bytes: number; peak: number };
  /** A zeroed buffer. */
  alloc<T extends BufferType>(type: T, length: number): Buffer<T>;
  /** A buffer with a copy of `data`. */
  upload(data: Uint8Array): Buffer<"u8">;
  /** A buffer with a copy of `data`. */
  upload(data: Float32Array): Buffer<"f32">;
  /** A buffer with a copy of `data`. */
  upload(data: Float64Array): Buffer<"f64">;
  /** A buffer with a copy of `data`. */
  upload(data: Uint32Array): Buffer<"u32">;
  /** A buffer with a copy of `data`. */
  upload(data: Int32Array): Buffer<"i32">;

  /** Real numbers to codes. */
  encode(args: EncodeArguments): void;
  /** Codes to real numbers. Bits of a code beyond the table's width are ignored. */
  decode(args: DecodeArguments): void;
  /** Codes to bytes. */
  pack(args: PackArguments): void;
  /** Bytes to codes. */
  unpack(args: PackArguments): void;
  /** Extremes of every tile. A NaN makes all extremes of its tile NaN; -0 is below +0. */
  range(args: RangeArguments): void;
  /**
   * `error[tile] = sum |x - y|^exponent` over every tile, in f64 from f32 differences (a product
   * where the exponent is 2, otherwise as {@linkcode Kernels.power}).
   */
  tileError(args: {
    x: Buffer<"f32">;
    y: Buffer<"f32">;
    tiling: Tiling;
    exponent: number;
    error: Buffer<"f64">;
  }): void;
  /**
   * `y = x^exponent` element by element, in f64 from IEEE basic operations only (so the same on
   * every machine), rounded to f32; `x >= 0`.
   */
  power(args: { x: Buffer<"f32">; exponent: number; y: Buffer<"f32"> }): void;
  /**
   * f32 to bfloat16 or float16 bits (little-endian u16 in a u8 buffer), nearest even. A NaN keeps
   * its sign and the top of its payload, and becomes quiet.
   */
  narrow(args: { x: Buffer<"f32">; bytes: Buffer<"u8">; to: "float16" | "bfloat16" }): void;
  /** bfloat16 or float16 bits to f32, exactly. */
  widen(args: { bytes: Buffer<"u8">; y: Buffer<"f32">; from: "float16" | "bfloat16" }): void;

  /** Prepares an f32 weight `[rows, columns]` for `linear`. */
  denseWeight(data: Float32Array, rows: number, columns: number): LinearWeight;
  /** Prepares packed codes for `linear`; they stay packed. */
  packedWeight(args: PackedWeightArguments): LinearWeight;
  /**
   * `y = x W^T`. Each output is the sum over columns in chunks of 256: inside a chunk products are
   * added in ascending order to one accumulator that starts at 0, in f32 without fused
   * multiply-add; chunk sums are added in ascending order. A packed weight gives the same bits as
   * its decoded values in a dense weight.
   */
  linear(args: LinearArguments): void;
  /**
   * `w[r, c] -= errors[r, i] * u[start + i, c]` for the columns c after the block: one subtraction
   * after the other with i ascending, each step in f32. So blocks of any size give the same bits.
   */
  trailingUpdate(args: {
    /** Matrix `[rows, columns]`, changed in place from column `start + count` on. */
    w: Buffer<"f32">;
    /** Rows of w. */
    rows: number;
    /** Columns of w. */
    columns: number;
    /** First column of the block. */
    start: number;
    /** Columns of the block. */
    count: number;
    /** Errors `[rows, count]`. */
    errors: Buffer<"f32">;
    /** Upper triangular factor `[columns, columns]`. */
    u: Buffer<"f32">;
  }): void;
  /** `gram += x^T x` in f64 from f32 products summed over at most 128 rows; `[columns, columns]`. */
  gram(args: { x: Buffer<"f32">; rows: number; columns: number; gram: Buffer<"f64"> }): void;
  /** Column statistics: `absMax = max(absMax, |x|)`, `absSum += |x|` (f64). */
  columnStats(args: {
    x: Buffer<"f32">;
    rows: number;
    columns: number;
    absMax: Buffer<"f32">;
    absSum: Buffer<"f64">;
  }): void;
  /**
   * The upper triangular `U` with `(H)^-1 = U^T U`, by the Cholesky factor of H with rows and
   * columns reversed, inverted. `h` `[n, n]` is overwritten. False if H is not positive definite.
   */
  inverseCholesky(args: { h: Buffer<"f64">; n: number; u: Buffer<"f32"> }): boolean;
  /**
   * Encodes columns `start .. start + count` one after the other, spreading each column's error
   * over the later columns of the block: `e = (w_j - decode(q_j)) / u_jj; w_k -= e * u_jk`.
   * The inner loop of OBQ, GPTQ and LDLQ.
   */
  encodeFeedback(args: FeedbackArguments): void;

  /** `y = x / sqrt(mean(x^2) + epsilon) * weight`, a row at a time; the mean in f64. */
  rmsNorm(args: {
    x: Buffer<"f32">;
    y: Buffer<"f32">;
    rows: number;
    columns: number;
    weight: Buffer<"f32">;
    epsilon: number;
  }): void;
  /**
   * Rotary position embedding in place, pairs `(i, i + headSize/2)`; row r is at position
   * `position + r`. Frequencies `theta^(-2i/headSize)` in f64.
   */
  rope(args: {
    x: Buffer<"f32">;
    rows: number;
    heads: number;
    headSize: number;
    position: number;
    theta: number;
  }): void;
  /** Causal grouped-query attention. */
  attention(args: AttentionArguments): void;
  /** `y = silu(gate) * up`, element by element. `y` may be `gate` or `up`. */
  siluGate(args: { gate: Buffer<"f32">; up: Buffer<"f32">; y: Buffer<"f32"> }): void;
  /** `y += x`. */
  add(args: { x: Buffer<"f32">; y: Buffer<"f32"> }): void;
  /** `x[r, c] *= factors[c]`, in place. */
  scaleColumns(
    args: { x: Buffer<"f32">; rows: number; columns: number; factors: Buffer<"f32"> },
  ): void;
  /** Rows become log-probabilities in place; the sum of exponentials in f64. */
  logSoftmax(args: { x: Buffer<"f32">; rows: number; columns: number }): void;
  /** Row by row `sum exp(p) * (p - q)` of log-probabilities, in nats, and whether the argmaxes agree. */
  divergence(args: {
    p: Buffer<"f32">;
    q: Buffer<"f32">;
    rows: number;
    columns: number;
    kl: Buffer<"f64">;
    agree: Buffer<"u8">;
  }): void;
  /** Stops the threads. Buffers stay usable on the calling thread. */
  close(): void;
}
