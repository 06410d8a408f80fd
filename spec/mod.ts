/**
 * The words of lowbit: every contract as types and strict schemas. Imports nothing but zod.
 *
 * @module
 */

export * from "./adapter.ts";
export * from "./autodiff.ts";
export { type BlockPlace, inBlocks } from "./block_places.ts";
export * from "./checkpoint.ts";
export * from "./codec.ts";
export * from "./conformance.ts";
export * from "./errors.ts";
export * from "./events.ts";
export * from "./finite.ts";
export * from "./graph.ts";
export type { Factor, Node, NodeKind, Nonlinearity, Size, When } from "./graph_nodes.ts";
export { divides, type Granularity, granularityLabel, type Tiling, tiling } from "./granularity.ts";
export * from "./hadamard.ts";
export * from "./importance.ts";
export * from "./kernel_ops.ts";
export * from "./kernel_buffers.ts";
export * from "./kernel_weights.ts";
export * from "./kernels.ts";
export * from "./kernels_algebra.ts";
export * from "./kernels_cache.ts";
export * from "./kernels_convert.ts";
export * from "./kernels_dense.ts";
export * from "./kernels_lookup.ts";
export * from "./kernels_integer.ts";
export {
  codeOffset,
  type Digit,
  type Layout,
  type LayoutPart,
  layoutSchema,
  type LayoutUnit,
  type PartName,
  type Plane,
  streamBytes,
  type Stride,
} from "./layout.ts";
export * from "./learning.ts";
export {
  type Cast,
  type CodebookFormat,
  type Expectation,
  FAMILIES,
  type FloatFormat,
  type GeneratedFormat,
  ID_PATTERN,
  type IntFormat,
  type NumberFormat,
  type NumberFormatBase,
  type Overflow,
  type Rounding,
  type TableGenerator,
} from "./number_format.ts";
export { numberFormatSchema } from "./number_format_schema.ts";
export * from "./plugin.ts";
export * from "./receipt.ts";
export * from "./recipe.ts";
export * from "./root_power.ts";
export * from "./schema.ts";
export {
  blockColumns,
  type RangeRule,
  refusesTail,
  type ScaleRule,
  type ScaleSpec,
  type Scheme,
  type SchemeReference,
  schemeSchema,
  type SchemeVariant,
  type SecondLevel,
  type ZeroPointSpec,
} from "./scheme.ts";
export * from "./target.ts";
export * from "./tensor.ts";
export * from "./transform.ts";
export {
  type BinaryCodingFormat,
  type GridFormat,
  type GridPoints,
  type LookupFormat,
  type PairFormat,
  type TrellisCode,
  type TrellisFormat,
  VECTOR_FAMILIES,
  type VectorExpectation,
  type VectorFormat,
  type VectorFormatBase,
  vectorFormatSchema,
  type VectorScale,
} from "./vector_format.ts";
export * from "./vector_shape.ts";
export * from "./work.ts";
