/**
 * Codecs: a scheme at work. The formats layer makes them; the engine hands them to plugins.
 *
 * @module
 */

import type { Tiling } from "./granularity.ts";
import type { Buffer, ElementEncoder } from "./kernels.ts";
import type { RangeRule, SchemeReference } from "./scheme.ts";
import type { GridParameters, QuantizedTensor, ResolvedScheme } from "./tensor.ts";

/** The extremes of the values that share each scale, one entry a tile. */
export interface Ranges {
  /** Smallest values. */
  min: Float32Array;
  /** Largest values. */
  max: Float32Array;
  /** First values of largest magnitude, with their signs. */
  extreme: Float32Array;
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
   * if absent) says.
   */
  parameters(x: Buffer<"f32">, tiling: Tiling, range?: RangeRule): GridParameters;
  /** The codes of `x` `[rows, columns]`. */
  encode(x: Buffer<"f32">, tiling: Tiling, parameters: GridParameters): Buffer<"u8">;
  /** The values of codes, in a new buffer. */
  decode(codes: Buffer<"u8">, tiling: Tiling, parameters: GridParameters): Buffer<"f32">;
  /** Round to nearest: fits, encodes; `x` is `[rows, columns]`. */
  quantize(x: Float32Array, rows: number, columns: number): QuantizedTensor;
  /** The values of a quantised tensor, side tensors included. */
  dequantize(tensor: QuantizedTensor): Float32Array;
  /**
   * Replaces `x` `[rows, columns]` by its quantised and dequantised self (activations), with
   * parameters of its own or with given ones.
   */
  fake(x: Buffer<"f32">, rows: number, columns: number, parameters?: GridParameters): void;
}

/** Where codecs come from. */
export interface Codecs {
  /** Looks up everything that a reference to a scheme names. */
  resolve(reference: SchemeReference, file?: string): ResolvedScheme;
  /** The codec of a scheme; made once. */
  get(scheme: ResolvedScheme): Codec;
}
