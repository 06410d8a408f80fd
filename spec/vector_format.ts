/**
 * Vector formats: formats whose code stands for several elements, or whose table is learned and
 * stored with the tensor. Like number formats they are data; their codecs are derived from the
 * parameters (see `formats/vectors/`).
 *
 * @module
 */

import { z } from "zod";
import { type Granularity, granularityZod } from "./granularity.ts";
import { ID_PATTERN, type NumberFormat } from "./number_format.ts";
import { numberFormatZod } from "./number_format_schema.ts";
import { type Schema, schema } from "./schema.ts";

/** What vector formats of all families have. */
export interface VectorFormatBase {
  /** The catalog id. */
  id: string;
  /** One line: what it is. */
  summary: string;
  /** Where the definition comes from. */
  source: string;
  /** Facts that must follow from the parameters; `lowbit formats test` checks them. */
  expect?: VectorExpectation;
}

/** Facts about a vector format whose table is fixed, written down by whoever defines it. */
export interface VectorExpectation {
  /** Distinct vectors (states of a trellis: distinct outputs). */
  points?: number;
  /** Vectors of some codes (outputs of some states of a trellis), before the scale. */
  decode?: [code: number, vector: number[]][];
}

/**
 * Scales of a vector format: elements are `vector * scale`, in f32. A scale is `statistic * factor`
 * of the values that share it; of several factors each tile takes the one of least squared error.
 */
export interface VectorScale {
  /** Which elements share a scale. */
  granularity: Granularity;
  /** The number format that it is stored in. */
  format: string;
  /** The largest magnitude, or the root of the mean square. */
  statistic: "absmax" | "rms";
  /** What the statistic is multiplied by. */
  factors: number[];
}

/**
 * Outlier-victim pairs (Guo et al. 2023, OliVe, arXiv 2304.07493, section 3). Of two neighbours
 * either both are `normal`, or one is an `outlier` and the other, its victim, is zero and marked by
 * the identifier. A code is the left element in the low bits and the right one above it.
 */
export interface PairFormat extends VectorFormatBase {
  /** The family. */
  family: "pair";
  /** Bits of one element; a code has twice as many. */
  bits: number;
  /** The number format of ordinary elements; it must not use the identifier. */
  normal: string | NumberFormat;
  /** The number format of outliers; it must not use the identifier. */
  outlier: string | NumberFormat;
  /** The code of a victim. */
  identifier: number;
  /** The largest magnitude, scaled, that is no outlier. */
  threshold: number;
  /** Which of two outliers in a pair is kept: the left one, or the larger (the left if equal). */
  survivor: "left" | "larger";
  /** The scale. */
  scale: VectorScale;
}

/**
 * The points of a grid.
 *
 * - `vectors`: written down; with signs, `values` are magnitudes: `parity` stores all signs but the
 *   last, which makes the number of minus signs even; `free` stores every sign
 * - `e8p`: E8P12 of QuIP# (Tseng et al. 2024, arXiv 2402.04396, section 4.2)
 * - `d4`: the `2^bits` shortest integer vectors of even sum
 * - `product`: every element by itself in a number format, the first in the highest bits
 */
export type GridPoints =
  | { kind: "vectors"; values: number[][]; signs: "none" | "parity" | "free" }
  | { kind: "e8p" }
  | { kind: "d4" }
  | { kind: "product"; element: string | NumberFormat };

/** A fixed set of vectors. A code is, from the highest bit: index, signs, shift. */
export interface GridFormat extends VectorFormatBase {
  /** The family. */
  family: "grid";
  /** Elements of a vector. */
  dimension: number;
  /** Bits of a code. */
  bits: number;
  /** The vectors. */
  points: GridPoints;
  /** The scale. */
  scale: VectorScale;
}

/**
 * Learned tables, stored with the tensor: a look-up table for each channel or group (dimension 1,
 * SqueezeLLM, arXiv 2306.07629), vector quantisation (GPTVQ, arXiv 2402.15319; VPTQ, arXiv
 * 2409.17066), or sums of entries of several tables (AQLM, arXiv 2401.06118, eq. 2).
 */
export interface LookupFormat extends VectorFormatBase {
  /** The family. */
  family: "lookup";
  /** Elements of an entry. */
  dimension: number;
  /** Bits of a code; a table has `2^bits` entries. */
  bits: number;
  /** Tables whose entries are added up, each with a code of its own. */
  codebooks: number;
  /** Which elements share their tables. */
  share: Granularity;
  /** The number format of the entries. */
  entries: string;
  /** The scale, if there is one. */
  scale?: VectorScale;
}

/**
 * What a state of a trellis means (Tseng et al. 2024, QTIP, arXiv 2406.11235, section 3.1).
 *
 * - `1mad`: `x = 34038481 s + 76625530 mod 2^32`; the sum of its bytes, less 510, over 147.8005413
 * - `3inst`: `x = 89226354 s + 64248484 mod 2^32`; `(x & 0x8fff8fff) ^ 0x3b603b60` is two float16,
 *   which are added
 * - `hyb`: `x = s^2 + s mod 2^32`; the `bits` bits of x below bit 15 choose an entry of `values`,
 *   bit 15 changes the sign of its element `sign`
 * - `table`: one entry of `values` for every state
 */
export type TrellisCode =
  | { kind: "1mad" }
  | { kind: "3inst" }
  | { kind: "hyb"; bits: number; sign: number; values: number[][] }
  | { kind: "table"; values: number[][] };

/**
 * A bit-shift trellis (QTIP): a code of `bits * vector` bits is shifted into a state of `state`
 * bits, `s' = (s << bits * vector | code) mod 2^state`, and the new state means `vector` elements.
 * A sequence is a tile of the matrix, row by row.
 */
export interface TrellisFormat extends VectorFormatBase {
  /** The family. */
  family: "trellis";
  /** Bits of the state, L. */
  state: number;
  /** Bits an element, k. */
  bits: number;
  /** Elements a step, V. */
  vector: number;
  /** The tile that is one sequence. */
  tile: { rows: number; columns: number };
  /** The state before the first step: zero, or the one after the last step. */
  start: "zero" | "tail_biting";
  /** What states mean. */
  code: TrellisCode;
  /** The scale. */
  scale: VectorScale;
}

/**
 * Binary coding: `w = sum_i alpha_i b_i`, `b_i` in {-1, +1}; bit i of a code is set for +1. The
 * alphas of each tile are its table (Xu et al. 2018, arXiv 1802.00150, eq. 3 to 6; LUT-GEMM, arXiv
 * 2206.09557).
 */
export interface BinaryCodingFormat extends VectorFormatBase {
  /** The family. */
  family: "binary_coding";
  /** Planes: the bits of a code. */
  planes: number;
  /** Which elements share their alphas. */
  share: Granularity;
  /** The number format of the alphas. */
  entries: string;
  /** How often the encoder refits alphas and codes in turn, after the greedy start. */
  alternations: number;
}

/** A vector format of any family. */
export type VectorFormat =
  | PairFormat
  | GridFormat
  | LookupFormat
  | TrellisFormat
  | BinaryCodingFormat;

/**
 * The families of vector formats; none of them is a family of number formats.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { FAMILIES } from "./number_format.ts";
 * import { VECTOR_FAMILIES } from "./vector_format.ts";
 * assertEquals(VECTOR_FAMILIES.filter((f) => (FAMILIES as readonly string[]).includes(f)), []);
 * ```
 */
export const VECTOR_FAMILIES = ["pair", "grid", "lookup", "trellis", "binary_coding"] as const;

const id = z.string().regex(ID_PATTERN, "must be lower case letters, digits and _");
const vector = z.array(z.number()).min(1).max(64);
const vectors = z.array(vector).min(1).max(1 << 16);
const element = z.union([z.string().regex(ID_PATTERN), numberFormatZod]);

const base = {
  id,
  summary: z.string().min(1),
  source: z.string().default(""),
  expect: z.strictObject({
    points: z.int().min(1).optional(),
    decode: z.array(z.tuple([z.int().min(0), vector])).optional(),
  }).optional(),
};

const scale = z.strictObject({
  granularity: granularityZod,
  format: z.string().regex(ID_PATTERN).default("float32"),
  statistic: z.enum(["absmax", "rms"]).default("rms"),
  factors: z.array(z.number().positive().max(1e6)).min(1).max(64).default([1]),
});

const pair = z.strictObject({
  ...base,
  family: z.literal("pair"),
  bits: z.int().min(2).max(8),
  normal: element,
  outlier: element,
  identifier: z.int().min(0).max(255),
  threshold: z.number().positive(),
  survivor: z.enum(["left", "larger"]),
  scale,
});

const grid = z.strictObject({
  ...base,
  family: z.literal("grid"),
  dimension: z.int().min(1).max(32),
  bits: z.int().min(1).max(32),
  points: z.discriminatedUnion("kind", [
    z.strictObject({
      kind: z.literal("vectors"),
      values: vectors,
      signs: z.enum(["none", "parity", "free"]).default("none"),
    }),
    z.strictObject({ kind: z.literal("e8p") }),
    z.strictObject({ kind: z.literal("d4") }),
    z.strictObject({ kind: z.literal("product"), element }),
  ]),
  scale,
});

const lookup = z.strictObject({
  ...base,
  family: z.literal("lookup"),
  dimension: z.int().min(1).max(32),
  bits: z.int().min(1).max(16),
  codebooks: z.int().min(1).max(8).default(1),
  share: granularityZod,
  entries: z.string().regex(ID_PATTERN).default("float16"),
  scale: scale.optional(),
});

const trellis = z.strictObject({
  ...base,
  family: z.literal("trellis"),
  state: z.int().min(2).max(20),
  bits: z.int().min(1).max(8),
  vector: z.int().min(1).max(8).default(1),
  tile: z.strictObject({ rows: z.int().min(1).max(4096), columns: z.int().min(1).max(4096) }),
  start: z.enum(["zero", "tail_biting"]),
  code: z.discriminatedUnion("kind", [
    z.strictObject({ kind: z.literal("1mad") }),
    z.strictObject({ kind: z.literal("3inst") }),
    z.strictObject({
      kind: z.literal("hyb"),
      bits: z.int().min(1).max(15),
      sign: z.int().min(0).max(7),
      values: vectors,
    }),
    z.strictObject({ kind: z.literal("table"), values: vectors }),
  ]),
  scale,
});

const binaryCoding = z.strictObject({
  ...base,
  family: z.literal("binary_coding"),
  planes: z.int().min(1).max(8),
  share: granularityZod,
  entries: z.string().regex(ID_PATTERN).default("float16"),
  alternations: z.int().min(0).max(100).default(0),
});

/** The zod schema of any vector format, for use inside other schemas. */
export const vectorFormatZod: z.ZodType<VectorFormat> = z
  .discriminatedUnion("family", [pair, grid, lookup, trellis, binaryCoding])
  .superRefine((format, context) => {
    for (const [path, message] of problems(format)) {
      context.addIssue({ code: "custom", path: path.split("."), message });
    }
  });

/**
 * Checks a vector format read from YAML or JSON.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { vectorFormatSchema } from "./vector_format.ts";
 * const format = vectorFormatSchema.parse({
 *   id: "vq2",
 *   summary: "16 entries of 2 elements",
 *   family: "lookup",
 *   dimension: 2,
 *   bits: 4,
 *   share: { kind: "channel" },
 * });
 * assertEquals(format.family === "lookup" && [format.codebooks, format.entries], [1, "float16"]);
 * ```
 */
export const vectorFormatSchema: Schema<VectorFormat> = schema("vector format", vectorFormatZod);

/** What the field types cannot say: relations between fields. */
function* problems(format: VectorFormat): Generator<[field: string, message: string]> {
  switch (format.family) {
    case "pair":
      if (format.identifier >= 2 ** format.bits) {
        yield ["identifier", `is ${format.identifier}, which has more than ${format.bits} bits`];
      }
      break;
    case "grid":
      yield* gridProblems(format);
      break;
    case "lookup":
      if ((format.scale?.factors.length ?? 1) > 1) {
        yield ["scale.factors", "must be one, since tables are learned for one scale"];
      }
      break;
    case "trellis":
      yield* trellisProblems(format);
  }
}

function* gridProblems(format: GridFormat): Generator<[field: string, message: string]> {
  const { points, dimension, bits } = format;
  if (points.kind === "e8p" && (dimension !== 8 || bits !== 16)) {
    yield ["points", "e8p has dimension 8 and 16 bits"];
  }
  if (points.kind === "d4" && dimension !== 4) yield ["dimension", `is ${dimension}, d4 has 4`];
  if ((points.kind === "d4" || points.kind === "product") && bits > 12) {
    yield ["bits", `is ${bits}; at most 12 here, since every vector is tried`];
  }
  if (points.kind !== "vectors") return;
  const signBits = { none: 0, parity: dimension - 1, free: dimension }[points.signs];
  yield* tableProblems("points.values", points.values, 2 ** (bits - signBits), dimension);
  if (points.signs !== "none" && points.values.some((v) => v.some((value) => value < 0))) {
    yield ["points.values", "must not be negative where signs are stored"];
  }
}

function* trellisProblems(format: TrellisFormat): Generator<[field: string, message: string]> {
  const { state, bits, vector, tile, code } = format;
  const step = bits * vector;
  if (step >= state) yield ["state", `is ${state}, but a step shifts in ${step} bits`];
  const elements = tile.rows * tile.columns;
  if (elements % vector !== 0) yield ["vector", `${vector} does not divide ${elements} elements`];
  if (elements * bits < state) yield ["tile", `has ${elements * bits} bits, a state has ${state}`];
  if (code.kind === "1mad" || code.kind === "3inst") {
    if (vector !== 1) yield ["vector", `is ${vector}; the code ${code.kind} has one element`];
  } else {
    const entries = 2 ** (code.kind === "hyb" ? code.bits : state);
    yield* tableProblems("code.values", code.values, entries, vector);
    if (code.kind === "hyb" && code.sign >= vector) {
      yield ["code.sign", `is ${code.sign}, but a step has ${vector} elements`];
    }
  }
}

function* tableProblems(
  field: string,
  values: number[][],
  entries: number,
  dimension: number,
): Generator<[field: string, message: string]> {
  if (values.length !== entries) yield [field, `has ${values.length} vectors, expected ${entries}`];
  if (values.some((v) => v.length !== dimension)) {
    yield [field, `every vector must have ${dimension} elements`];
  }
  if (!values.every((v) => v.map(Math.fround).every(Number.isFinite))) {
    yield [field, "must be finite"];
  }
}
