/**
 * Codecs: a scheme at work. The formats layer makes them; the engine hands them to plugins.
 *
 * @module
 */

import type { Tiling } from "./granularity.ts";
import type { Buffer, ElementEncoder } from "./kernels.ts";
import type { RangeRule, SchemeReference } from "./scheme.ts";
import type {
  CodedTensor,
  GridParameters,
  QuantizedTensor,
  ResolvedScheme,
  VectorTensor,
} from "./tensor.ts";
import type { VectorFormat } from "./vector_format.ts";
import type { VectorShape } from "./vector_shape.ts";

/** The extremes of the values that share each scale, one entry a tile. */
export interface Ranges {
  /** Smallest values. */
  min: Float32Array;
  /** Largest values. */
  max: Float32Array;
  /** First values of largest magnitude, with their signs; for the rule `signed_extreme`. */
  extreme?: Float32Array;
  /** Mean magnitudes, where the scheme's rule is `absmean`. */
  mean?: Float32Array;
  /** The tiling; scales that depend on rows and columns need it. */
  tiling?: Tiling;
}

/** A scheme at work on matrices. */
export interface Codec {
  /** The scheme. */
  readonly scheme: ResolvedScheme;
  /** How a scaled value becomes a code. */
  readonly encoder: ElementEncoder;
  /** The value of each code; `2^bits` entries. Codes that are no number are NaN or infinite. */
  readonly table: Float32Array;
  /** Which elements of a `[rows, columns]` matrix share a scale. */
  tiling(rows: number, columns: number): Tiling;
  /** Extremes of every tile of `x` `[rows, columns]`. */
  ranges(x: Buffer<"f32">, tiling: Tiling): Ranges;
  /**
   * Scales and zero points from extremes. `clip` multiplies the range: one factor for all, or one
   * a tile.
   */
  fit(ranges: Ranges, clip?: number | Float32Array): GridParameters;
  /**
   * Scales and zero points of `x` `[rows, columns]`, over the range that `range` (the scheme's own,
   * if absent) says. `importance` weighs the error of each column, for rules that weigh errors.
   */
  parameters(
    x: Buffer<"f32">,
    tiling: Tiling,
    range?: RangeRule,
    importance?: Float32Array,
  ): GridParameters;
  /** The codes of `x` `[rows, columns]`. */
  encode(x: Buffer<"f32">, tiling: Tiling, parameters: GridParameters): Buffer<"u8">;
  /** The values of codes, in a new buffer. */
  decode(codes: Buffer<"u8">, tiling: Tiling, parameters: GridParameters): Buffer<"f32">;
  /** Round to nearest: fits, encodes; `x` is `[rows, columns]`. */
  quantize(
    x: Float32Array,
    rows: number,
    columns: number,
    importance?: Float32Array,
  ): QuantizedTensor;
  /** The values of a quantised tensor, side tensors included. */
  dequantize(tensor: QuantizedTensor): Float32Array;
  /**
   * Replaces `x` `[rows, columns]` by its quantised and dequantised self (activations), with
   * parameters of its own or with given ones.
   */
  fake(x: Buffer<"f32">, rows: number, columns: number, parameters?: GridParameters): void;
}

/** What the encoder of a vector format can be told. */
export interface VectorEncodeOptions {
  /** Weights of squared errors: one a column, or one an element; learned tables and trellises. */
  weights?: Float32Array;
  /** Random numbers in `[0, 1)`, for the first entries of learned tables; fixed if absent. */
  random?: () => number;
  /** The most rounds of k-means. */
  iterations?: number;
  /** Tables to use, in the shape of the format, instead of learning them. */
  tables?: Float32Array;
  /** Scales to use, instead of taking them from the values. */
  scales?: Float32Array;
}

/** A vector format at work on matrices. */
export interface VectorCodec {
  /** The format; the number formats in it are looked up. */
  readonly format: VectorFormat;
  /** The shapes of codes, tables and scales. */
  shape(rows: number, columns: number): VectorShape;
  /**
   * The format's own encoder: learns tables where it has any, then takes the nearest vectors. With
   * `tables` and `scales` given, it is the search inside methods that compensate column by column.
   */
  encode(
    x: Readonly<Float32Array>,
    rows: number,
    columns: number,
    options?: VectorEncodeOptions,
  ): VectorTensor;
  /** The values, side tensors included. */
  decode(tensor: VectorTensor): Float32Array;
}

/** Where codecs come from. */
export interface Codecs {
  /** Looks up everything that a reference to a scheme names. */
  resolve(reference: SchemeReference, file?: string): ResolvedScheme;
  /** The codec of a scheme; made once. */
  get(scheme: ResolvedScheme): Codec;
  /** The vector format that a reference names, or undefined if it names none. */
  resolveVector(reference: SchemeReference, file?: string): VectorFormat | undefined;
  /** The codec of a vector format; made once. */
  vector(format: VectorFormat): VectorCodec;
  /** The values of a quantised matrix of either kind, side tensors included. */
  decode(tensor: CodedTensor): Float32Array;
}
