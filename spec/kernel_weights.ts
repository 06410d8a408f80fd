/**
 * Weights in the forms that kernels multiply by, and what they are made from.
 *
 * @module
 */

import type { Tiling } from "./granularity.ts";

/** A weight in the form that `linear` multiplies by. Owned by the implementation. */
export interface LinearWeight extends Disposable {
  /** Output channels. */
  readonly rows: number;
  /** Input channels. */
  readonly columns: number;
  /** Bytes held. */
  readonly bytes: number;
  /** Gives the memory back. */
  free(): void;
}

/** A weight of packed codes, for `packedWeight` and `integerWeight`. */
export interface PackedWeightArguments {
  /** Which weights share a scale: any tiling. */
  tiling: Tiling;
  /** Bits of a code, 1 to 8. */
  bits: number;
  /** Codes in dense rows (`neighbours`, rows padded to whole bytes): `rows * ceil(columns*bits/8)`. */
  bytes: Uint8Array;
  /** The value of each code; `2^bits` entries. */
  table: Float32Array;
  /** One scale a tile. */
  scales: Float32Array;
  /** One zero point a tile: the weight of a code is `(table[code] - zero) * scale`. */
  zeros?: Float32Array;
  /** One minimum a tile, instead of zero points: `table[code] * scale + minimum`. */
  minimums?: Float32Array;
}
