/**
 * Kernels of weights that are multiplied by look-up: bit planes, binary operands, 6-bit floats in two
 * streams, vector codebooks; and what is added to a product: sparse and low-rank parts.
 *
 * @module
 */

import type { Buffer } from "./kernel_buffers.ts";

/** A weight in the form of one of the products below. Owned by the implementation. */
export interface LookupWeight extends Disposable {
  /** Which product takes it. */
  readonly form: "planes" | "codebook" | "sparse" | "low_rank";
  /** Output channels. */
  readonly rows: number;
  /** Input channels. */
  readonly columns: number;
  /** Bytes held. */
  readonly bytes: number;
  /** Gives the memory back. */
  free(): void;
}

/** A product `y = x W^T`, or `y += x W^T`. */
export interface ProductArguments {
  /** Input `[tokens, columns]`. */
  x: Buffer<"f32">;
  /** Output `[tokens, rows]`. */
  y: Buffer<"f32">;
  /** Rows of x and y. */
  tokens: number;
  /** The weight. */
  weight: LookupWeight;
}

/**
 * A weight as bit planes: `sum_i alpha_i b_i + offset`, b_i in {-1, +1} (a set bit is +1). Binary
 * coding (BCQ) has it as it is; whole numbers of a few bits are the case of
 * {@linkcode LookupKernels.planeWeight} that `integerPlanes` computes.
 */
export interface PlaneWeightArguments {
  /** Output channels. */
  rows: number;
  /** Input channels. */
  columns: number;
  /** Planes, 1 to 8. */
  planes: number;
  /** `[planes][rows][ceil(columns / 8)]`, the first column of a byte in its lowest bit. */
  bits: Uint8Array;
  /** Columns that share alphas: a multiple of 8, or at least all of them. */
  group?: number;
  /** `[planes][rows][groups]`; needed by `linearPlanes`. */
  alphas?: Float32Array;
  /** `[rows][groups]`; absent for none. */
  offsets?: Float32Array;
}

/** A weight whose codes name vectors of neighbouring columns. */
export interface CodebookWeightArguments {
  /** Output channels. */
  rows: number;
  /** Input channels: a multiple of `dim`. */
  columns: number;
  /** Columns of a vector. */
  dim: 2 | 4 | 8;
  /** `[books][rows][columns / dim]`. */
  codes: Uint8Array | Uint16Array;
  /** `[books][entries][dim]`; the vectors that the codes of the books name are added. */
  tables: Float32Array;
  /** Tables whose vectors are added: 1 to 8. */
  books: number;
  /** Columns that share a scale: a multiple of `dim`. */
  group: number;
  /** `[rows][ceil(columns / group)]`. */
  scales: Float32Array;
}

/** Products by look-up. */
export interface LookupKernels {
  /** Prepares bit planes for `linearPlanes` and `linearPlanesInt`. */
  planeWeight(args: PlaneWeightArguments): LookupWeight;
  /**
   * `y = x W^T` with bit planes, by tables of the signed sums `(+-x0 +- x1) + (+-x2 +- x3)` of 4
   * activations: for each group, for each plane, the sums ascending; times alpha; planes ascending;
   * then the offset times the sum of the activations; groups ascending. Each step in f32.
   */
  linearPlanes(args: ProductArguments): void;
  /**
   * Exact `y = sum_i factors[i] * (bits_i . x) + offset * sum(x)`, bits being 0 or 1, activations int8
   * (two's complement bytes). `128 * columns * (sum |factors| + |offset|)` must be below 2^31.
   */
  linearPlanesInt(args: {
    x: Buffer<"u8">;
    y: Buffer<"i32">;
    tokens: number;
    weight: LookupWeight;
    factors: Int32Array;
    offset: number;
  }): void;
  /**
   * `y = (columns - 2 popcount(x xor w)) * xScale * wScale` of operands in {-1, +1}, packed eight a
   * byte in rows of whole bytes (a set bit is +1); the count exact, the two products in f32. Bits
   * beyond the columns are ignored.
   */
  linearBinary(args: {
    x: Buffer<"u8">;
    w: Buffer<"u8">;
    y: Buffer<"f32">;
    tokens: number;
    rows: number;
    columns: number;
    xScales?: Buffer<"f32">;
    wScales?: Buffer<"f32">;
  }): void;
  /**
   * `y = x W^T` with 6-bit floats in two streams of rows in whole bytes: the upper four bits of the
   * codes in `high`, two a byte, the lower two in `low`, four a byte. Codes are whole multiples of
   * 2^-4 (e3m2) or 2^-3 (e2m3); their products are added in 16 partial sums (columns modulo 16),
   * those by `(s[i] + s[i + 4]) + (s[i + 8] + s[i + 12])` and `(0 + 1) + (2 + 3)`, and multiplied by
   * the row's scale times the unit. Each step in f32.
   */
  linearFp6(args: {
    x: Buffer<"f32">;
    y: Buffer<"f32">;
    tokens: number;
    rows: number;
    columns: number;
    format: "e3m2" | "e2m3";
    high: Buffer<"u8">;
    low: Buffer<"u8">;
    scales: Buffer<"f32">;
  }): void;
  /** Prepares codes and tables for `linearCodebook`. */
  codebookWeight(args: CodebookWeightArguments): LookupWeight;
  /**
   * `y = x W^T` with vector codebooks: the bits of `linear` with the decoded weight, which is the
   * entries added in ascending order of the books, times the scale, each step in f32.
   */
  linearCodebook(args: ProductArguments): void;
  /** Prepares entries `(row, column, value)`, sorted by row and column, for `addSparse`. */
  sparseWeight(args: {
    rows: number;
    columns: number;
    rowIndex: Uint32Array;
    columnIndex: Uint32Array;
    values: Float32Array;
  }): LookupWeight;
  /** `y += x S^T`: the products of a row added in ascending order from 0, then added to y, in f32. */
  addSparse(args: ProductArguments): void;
  /** Prepares `left` `[rows, rank]` and `right` `[rank, columns]` for `addLowRank`. */
  lowRankWeight(args: {
    rows: number;
    columns: number;
    rank: number;
    left: Float32Array;
    right: Float32Array;
  }): LookupWeight;
  /** `y += (x right^T) left^T`: two products in the order of `linear`, then one addition in f32. */
  addLowRank(args: ProductArguments): void;
}
