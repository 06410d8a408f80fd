/**
 * The list of kernel operations, and what each promises about its bits.
 *
 * @module
 */

import type { Kernels } from "./kernels.ts";

/** How exactly an operation is specified. */
export type Exactness =
  /** Equal to the reference in every bit, in every implementation. */
  | "bits"
  /** The order of the f32 operations is stated, so bits are equal; transcendental-free. */
  | "ordered"
  /** Within the stated tolerance of an f64 evaluation; the same bits for any number of threads. */
  | "tolerance";

/** One row of the list of operations. */
export interface KernelOp {
  /** The method of {@linkcode Kernels}. */
  name: Exclude<keyof Kernels, "name" | "threads" | "memory" | "alloc" | "upload" | "close">;
  /** One line: what it does. */
  summary: string;
  /** What is promised about its bits. */
  exactness: Exactness;
  /** For `tolerance`: the bound, relative to the largest magnitude of the exact result. */
  tolerance?: number;
  /** Whether its result can decide stored bytes. */
  decidesBytes: boolean;
}

/**
 * Every operation, in the order of the data flow. Tests, benchmarks and docs walk this list.
 *
 * @example
 * ```ts
 * import { assert } from "@std/assert";
 * import { KERNEL_OPS } from "./kernel_ops.ts";
 * const exact = KERNEL_OPS.filter((op) => op.exactness === "bits").map((op) => op.name);
 * assert(exact.includes("encode") && !exact.includes("rmsNorm"));
 * ```
 */
export const KERNEL_OPS: readonly KernelOp[] = [
  { name: "range", summary: "extremes of every tile", exactness: "bits", decidesBytes: true },
  { name: "encode", summary: "real numbers to codes", exactness: "bits", decidesBytes: true },
  { name: "decode", summary: "codes to real numbers", exactness: "bits", decidesBytes: true },
  { name: "pack", summary: "codes to bytes", exactness: "bits", decidesBytes: true },
  { name: "unpack", summary: "bytes to codes", exactness: "bits", decidesBytes: true },
  {
    name: "tileError",
    summary: "error of every tile",
    exactness: "tolerance",
    tolerance: 1e-12,
    decidesBytes: true,
  },
  {
    name: "power",
    summary: "x^p, the same on every machine",
    exactness: "tolerance",
    tolerance: 1e-6,
    decidesBytes: true,
  },
  { name: "narrow", summary: "f32 to 16-bit floats", exactness: "bits", decidesBytes: true },
  { name: "widen", summary: "16-bit floats to f32", exactness: "bits", decidesBytes: true },
  { name: "denseWeight", summary: "f32 weight in panels", exactness: "bits", decidesBytes: false },
  {
    name: "packedWeight",
    summary: "packed weight, kept packed",
    exactness: "bits",
    decidesBytes: false,
  },
  {
    name: "linear",
    summary: "f32 GEMM and dequant-GEMM",
    exactness: "ordered",
    decidesBytes: true,
  },
  {
    name: "integerWeight",
    summary: "packed weight for products in integers",
    exactness: "bits",
    decidesBytes: false,
  },
  {
    name: "integerLinear",
    summary: "integer GEMM and GEMV, activations quantised on the fly",
    exactness: "bits",
    decidesBytes: false,
  },
  {
    name: "groupedLinear",
    summary: "GEMM and GEMV of integer weights with f32 activations, scaled once a group",
    exactness: "ordered",
    decidesBytes: false,
  },
  {
    name: "gram",
    summary: "X^T X in f64",
    exactness: "tolerance",
    tolerance: 1e-6,
    decidesBytes: true,
  },
  {
    name: "columnStats",
    summary: "column abs-max and abs-sum",
    exactness: "ordered",
    decidesBytes: true,
  },
  {
    name: "inverseCholesky",
    summary: "U with H^-1 = U^T U",
    exactness: "tolerance",
    tolerance: 1e-6,
    decidesBytes: true,
  },
  {
    name: "encodeFeedback",
    summary: "encode a block of columns with error feedback",
    exactness: "ordered",
    decidesBytes: true,
  },
  {
    name: "trailingUpdate",
    summary: "spread a block's errors over later columns",
    exactness: "ordered",
    decidesBytes: true,
  },
  {
    name: "rmsNorm",
    summary: "RMS normalisation",
    exactness: "tolerance",
    tolerance: 1e-6,
    decidesBytes: true,
  },
  {
    name: "rope",
    summary: "rotary position embedding",
    exactness: "tolerance",
    tolerance: 1e-6,
    decidesBytes: true,
  },
  {
    name: "attention",
    summary: "causal grouped-query attention",
    exactness: "tolerance",
    tolerance: 1e-5,
    decidesBytes: true,
  },
  {
    name: "siluGate",
    summary: "silu(gate) * up",
    exactness: "tolerance",
    tolerance: 1e-6,
    decidesBytes: true,
  },
  { name: "add", summary: "y += x", exactness: "bits", decidesBytes: true },
  {
    name: "scaleColumns",
    summary: "multiply columns by factors",
    exactness: "bits",
    decidesBytes: true,
  },
  {
    name: "logSoftmax",
    summary: "log-probabilities",
    exactness: "tolerance",
    tolerance: 1e-6,
    decidesBytes: false,
  },
  {
    name: "divergence",
    summary: "KL divergence and top-1 agreement",
    exactness: "tolerance",
    tolerance: 1e-6,
    decidesBytes: false,
  },
  {
    name: "hadamard",
    summary: "Walsh-Hadamard transform of rows",
    exactness: "ordered",
    decidesBytes: true,
  },
  {
    name: "matmul",
    summary: "f32 product x w or x^T w",
    exactness: "ordered",
    decidesBytes: true,
  },
  {
    name: "layerNorm",
    summary: "layer normalisation",
    exactness: "tolerance",
    tolerance: 1e-6,
    decidesBytes: true,
  },
  {
    name: "activate",
    summary: "ReLU, SiLU, GELU",
    exactness: "tolerance",
    tolerance: 2e-5,
    decidesBytes: true,
  },
  {
    name: "softmax",
    summary: "rows to probabilities",
    exactness: "tolerance",
    tolerance: 1e-6,
    decidesBytes: true,
  },
  {
    name: "absMax",
    summary: "largest magnitude of rows or columns",
    exactness: "bits",
    decidesBytes: true,
  },
  {
    name: "histogram",
    summary: "counts in bins of equal width",
    exactness: "bits",
    decidesBytes: true,
  },
  {
    name: "percentile",
    summary: "a percentile, by selection",
    exactness: "bits",
    decidesBytes: true,
  },
  {
    name: "convert",
    summary: "fast conversions by name",
    exactness: "bits",
    decidesBytes: true,
  },
  {
    name: "cholesky",
    summary: "L with A = L L^T",
    exactness: "tolerance",
    tolerance: 1e-9,
    decidesBytes: true,
  },
  {
    name: "choleskySolve",
    summary: "solves L L^T X = B",
    exactness: "tolerance",
    tolerance: 1e-9,
    decidesBytes: true,
  },
  {
    name: "triangularInverse",
    summary: "inverse of a lower triangular matrix",
    exactness: "tolerance",
    tolerance: 1e-9,
    decidesBytes: true,
  },
  {
    name: "symmetricEigen",
    summary: "eigenvalues and vectors of a symmetric matrix",
    exactness: "tolerance",
    tolerance: 1e-10,
    decidesBytes: true,
  },
  {
    name: "svd",
    summary: "first singular values and vectors",
    exactness: "tolerance",
    tolerance: 1e-10,
    decidesBytes: true,
  },
  {
    name: "qr",
    summary: "Q and R",
    exactness: "tolerance",
    tolerance: 1e-10,
    decidesBytes: true,
  },
  {
    name: "planeWeight",
    summary: "bit planes in panels",
    exactness: "bits",
    decidesBytes: false,
  },
  {
    name: "linearPlanes",
    summary: "look-up product with bit planes",
    exactness: "ordered",
    decidesBytes: false,
  },
  {
    name: "linearPlanesInt",
    summary: "exact product of bit planes and int8",
    exactness: "bits",
    decidesBytes: false,
  },
  {
    name: "linearBinary",
    summary: "product of packed signs",
    exactness: "bits",
    decidesBytes: false,
  },
  {
    name: "linearFp6",
    summary: "product with 6-bit floats in two streams",
    exactness: "ordered",
    decidesBytes: false,
  },
  {
    name: "codebookWeight",
    summary: "vector codebook codes",
    exactness: "bits",
    decidesBytes: false,
  },
  {
    name: "linearCodebook",
    summary: "product with vector codebooks",
    exactness: "ordered",
    decidesBytes: false,
  },
  {
    name: "sparseWeight",
    summary: "sparse entries by rows",
    exactness: "bits",
    decidesBytes: false,
  },
  {
    name: "addSparse",
    summary: "adds the product with a sparse part",
    exactness: "ordered",
    decidesBytes: false,
  },
  {
    name: "lowRankWeight",
    summary: "two low-rank factors",
    exactness: "bits",
    decidesBytes: false,
  },
  {
    name: "addLowRank",
    summary: "adds the product with a low-rank part",
    exactness: "ordered",
    decidesBytes: false,
  },
  {
    name: "quantizedCache",
    summary: "an empty quantised key/value cache",
    exactness: "bits",
    decidesBytes: false,
  },
  {
    name: "cacheAppend",
    summary: "appends and quantises keys and values",
    exactness: "ordered",
    decidesBytes: false,
  },
  {
    name: "cacheRead",
    summary: "decodes a cache",
    exactness: "ordered",
    decidesBytes: false,
  },
  {
    name: "attentionCached",
    summary: "attention over a quantised cache",
    exactness: "tolerance",
    tolerance: 1e-5,
    decidesBytes: false,
  },
];
