/**
 * Quantised tensors: `W ~ undo(transform, decode(codes, scale, zero, codebook) + sparse + lowRank)`.
 *
 * @module
 */

import type { NumberFormat } from "./number_format.ts";
import type { Scheme } from "./scheme.ts";
import type { Rotation } from "./transform.ts";
import type { VectorFormat } from "./vector_format.ts";

/** A scheme whose element format has been looked up: nothing is left to a catalog. */
export interface ResolvedScheme extends Omit<Scheme, "element"> {
  /** The number format of the elements. */
  element: NumberFormat;
}

/** What is stored where scales have a second level; see `SecondLevel` in `spec/scheme.ts`. */
export interface StoredScales {
  /** Values of the scale's format, one a tile; the factors of rows for `outer`. */
  scales: Float32Array;
  /** The same of minima. */
  minima?: Float32Array;
  /** What they are scaled by: one a super-block or run, one for a tensor, one a column. */
  over: Float32Array;
  /** The same of minima. */
  overMinima?: Float32Array;
  /** Added after that, for `double`: one number. */
  offset?: Float32Array;
}

/** Scales and zero points of a matrix, one for each tile of a tiling, row-major. */
export interface GridParameters {
  /** Scales as they read back from storage, `[gridRows, gridColumns]`. */
  scales: Float32Array;
  /** Where scales have a second level: what is stored. */
  second?: StoredScales;
  /** What codes are computed with, where these are not the scales that read back. */
  unrounded?: Float32Array;
  /** Minima before they were rounded for storage, where codes are computed with these. */
  unroundedZeros?: Float32Array;
  /** Zero points or minima, `[gridRows, gridColumns]`, for asymmetric schemes. */
  zeros?: Float32Array;
}

/** Entries of a matrix kept exactly, added to the decoded codes. Sorted by row, then column. */
export interface SparsePart {
  /** The kind of side tensor. */
  kind: "sparse";
  /** Row of each entry. */
  rows: Uint32Array;
  /** Column of each entry. */
  columns: Uint32Array;
  /** Value added at each entry. */
  values: Float32Array;
}

/** A low-rank matrix `left @ right`, added to the decoded codes. */
export interface LowRankPart {
  /** The kind of side tensor. */
  kind: "low_rank";
  /** The rank r. */
  rank: number;
  /** `[rows, r]`, row-major. */
  left: Float32Array;
  /** `[r, columns]`, row-major. */
  right: Float32Array;
}

/**
 * A change of what codes and the side tensors before it mean: every column is rotated back by
 * `rows`, every row by `columns`, and column j is multiplied by `factors[j]`. The output of a linear
 * is then that of the codes for inputs `(x * factors) Q`, rotated back.
 */
export interface RotationPart {
  /** The kind of side tensor. */
  kind: "rotation";
  /** How columns of the weight (the outputs of a linear) were rotated before they became codes. */
  rows?: Rotation;
  /** How rows of the weight (the inputs of a linear) were. */
  columns?: Rotation;
  /** What undoes a scaling of the columns that came before. */
  factors?: Float32Array;
}

/** What is done to the decoded codes, one after the other. */
export type SideTensor = SparsePart | LowRankPart | RotationPart;

/** What a target may have a place for: `order` is a rotation that only puts columns in order. */
export type SideKind = SideTensor["kind"] | "order";

/**
 * The kind of a side tensor; of a rotation that only puts columns in order, `order`.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { sideKind } from "./tensor.ts";
 * const columns = { kind: "permutation" as const, size: 2, order: Uint32Array.of(1, 0) };
 * assertEquals(sideKind({ kind: "rotation", columns }), "order");
 * ```
 */
export function sideKind(side: SideTensor): SideKind {
  if (side.kind !== "rotation" || side.rows || side.factors) return side.kind;
  return side.columns?.kind === "permutation" ? "order" : "rotation";
}

/** A quantised matrix. */
export interface QuantizedTensor {
  /** `[rows, columns]`; a weight is `[out, in]`. */
  shape: [rows: number, columns: number];
  /** The scheme. */
  scheme: ResolvedScheme;
  /** One code an element, row-major, in the low bits. */
  codes: Uint8Array;
  /** Scales and zero points. */
  parameters: GridParameters;
  /** What is done to the decoded codes, in order. */
  side?: SideTensor[];
  /** For weights: the static scale of the inputs, where their scheme has one. */
  input?: GridParameters;
}

/** A matrix in a vector format. `spec/vector_shape.ts` has the shapes of its parts. */
export interface VectorTensor {
  /** Tells it from a {@linkcode QuantizedTensor}. */
  kind: "vector";
  /** `[rows, columns]`; a weight is `[out, in]`. */
  shape: [rows: number, columns: number];
  /** The format; the number formats in it are looked up. */
  format: VectorFormat;
  /** The codes, row by row of units. */
  codes: Uint32Array;
  /** Learned tables, `[tile, codebook, entry, element]`, or the alphas `[tile, plane]`. */
  tables?: Float32Array;
  /** Scales, one a tile. */
  scales?: Float32Array;
  /** What is done to the decoded codes, in order. */
  side?: SideTensor[];
}

/** A quantised matrix of either kind. */
export type CodedTensor = QuantizedTensor | VectorTensor;

/**
 * Whether a quantised matrix is in a vector format.
 *
 * @example
 * ```ts
 * import { createCodecs } from "../formats/codec.ts";
 * import { referenceKernels } from "../kernels-wasm/reference.ts";
 * import { isVector } from "./tensor.ts";
 * const codecs = createCodecs(referenceKernels());
 * const codec = codecs.get(codecs.resolve("int8_channel_sym"));
 * isVector(codec.quantize(Float32Array.of(1, 2), 1, 2)); // false
 * ```
 */
export function isVector(tensor: CodedTensor): tensor is VectorTensor {
  return "kind" in tensor && tensor.kind === "vector";
}
