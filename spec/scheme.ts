/**
 * Schemes: an element format together with its scales, its zero points and their granularity.
 *
 * @module
 */

import { z } from "zod";
import { type Granularity, granularityZod, type Tiling } from "./granularity.ts";
import { type Cast, ID_PATTERN, type NumberFormat } from "./number_format.ts";
import { numberFormatZod, partialCastZod } from "./number_format_schema.ts";
import { type Schema, schema } from "./schema.ts";

/**
 * How a scale comes out of the values that share it. With `M` the largest finite magnitude of the
 * element format (or `divisor`):
 *
 * - `absmax`: `max|x| / M`
 * - `signed_extreme`: `x* / -M`, x* the first value of largest magnitude (ggml); may be negative
 * - `minmax`: `(max(x, 0) - min(x, 0)) / (2^bits - 1)`, for schemes with a zero point
 * - `absmean`: `mean |x|` (BitNet b1.58, ternary), the sum in f64
 * - `mx_floor`: `2^(floor(log2 a) - floor(log2 M))` with a = max|x|, the OCP MX rule
 * - `mx_even`: the same with a rounded to the element's mantissa bits first, halves up
 * - `mx_ceil`: `2^(ceil(log2 a) - floor(log2 M))`
 * - `mx_rceil`: `2^ceil(log2(a / M))`, exactly
 * - `none`: no scale, the element is cast as it is
 */
export type ScaleRule =
  | "absmax"
  | "signed_extreme"
  | "minmax"
  | "absmean"
  | "mx_floor"
  | "mx_even"
  | "mx_ceil"
  | "mx_rceil"
  | "none";

/** The scale of a scheme. */
export interface ScaleSpec {
  /** How it comes out of the values. */
  rule: ScaleRule;
  /** The number format that it is stored in: `float32`, or an id of the catalog. */
  format: string;
  /** What the extreme is divided by, if not the largest finite element. */
  divisor?: number;
  /** Whether codes are computed with the scale as stored, or before it was rounded. */
  codes_from: "stored" | "unrounded";
  /**
   * Whether `x / s` or `x * (1 / s)` is rounded to a code, each step in f32. `multiply` is for a
   * second level that gives a factor to multiply with.
   */
  apply: "divide" | "reciprocal" | "multiply";
  /** What the scales themselves are scaled by. */
  second?: SecondLevel;
  /** The scale of values that are all zero. */
  all_zero: number;
}

/**
 * Scales of scales: what is stored where a scale is itself quantised. `S` is the scale by the rule,
 * `s` its code's value in the scale's format, M the largest finite element.
 *
 * - `super_block`: `tiles` tiles in a row share a scale of their scales (and another of their
 *   minima), `d = max|S| / max(format)`, stored in `format`; a scale reads back as `d * s`, a
 *   minimum as `-(d' * m)` (ggml K-quants). With `signed`, d is the S of largest magnitude, with
 *   its sign, over the most negative code.
 * - `double`: runs of `tiles` scales, in order, are shifted by the mean of all (f64, rounded) and
 *   divided by their largest magnitude in f32; a scale reads back as `s * d + mean` (QLoRA)
 * - `tensor`: one f32 number for the whole tensor, `g = amax / divisor` or its counterpart
 *   `G = divisor * (1 / amax)`. `scale` says how the value that becomes s is computed, `code` how
 *   the value that becomes a code is; every operation in f32, a being the absmax of a tile. Scales
 *   are at least `smallest`, and read back as `s * g` or `s / G` (NVFP4; the published orders)
 * - `outer`: `t^alpha * c^(1 - alpha) / M` of each element's row absmax t and column absmax c
 *   (CrossQuant, arXiv 2410.07505, eq. 3); stored as the two factors
 */
export type SecondLevel =
  | { kind: "super_block"; tiles: number; format: string; signed: boolean }
  | { kind: "double"; tiles: number }
  | {
    kind: "tensor";
    divisor: number;
    scale: "(a / M) / g" | "a / (M * g)" | "G * (a / M)";
    code: "x * ((1 / g) / s)" | "x / (s * g)" | "x / (s / G)";
    smallest: number;
  }
  | { kind: "outer"; alpha: number };

/**
 * Which range of values a scale covers, if not all of it:
 *
 * - `percentile`: the range that leaves out `1 - share` of the magnitudes (one side at a time with
 *   a zero point)
 * - `entropy`: the range whose quantised histogram of magnitudes has the least Kullback-Leibler
 *   divergence from the clipped one, among multiples of 1/`bins` (as TensorRT calibrates)
 * - `error`: the share `1 - (1 - smallest) i / candidates` with the least `sum |x - Q(x)|^norm`
 *   (Survey of low-bit LLMs, eq. 12 and 13); the largest of equal ones
 * - `least_squares`: the scale (and minimum) of least `sum w (x - Q(x))^2`, w the importance of the
 *   column if there is any: `candidates` scales around that of the rule give codes, each set of
 *   codes its best scale and minimum in closed form. Where scales have a second level, so has it:
 *   `candidates` super-block scales are tried with every scale and minimum rounded to it
 */
export type RangeRule =
  | { rule: "percentile"; share: number }
  | { rule: "entropy"; bins: number }
  | { rule: "error"; norm: number; candidates: number; smallest: number }
  | { rule: "least_squares"; candidates: number };

/**
 * What an asymmetric scheme stores beside the scale.
 *
 * - `int`: an integer z in the unsigned range of the element; `x ~ (q - z) * s`
 * - `float`: a real z, stored in the format of the scale; `q = round(x / s + z)` (HQQ)
 * - `minimum`: a real m, stored in the format of the scale; `x ~ q * s + m` (ggml)
 */
export interface ZeroPointSpec {
  /** Which of them. */
  kind: "int" | "float" | "minimum";
}

/** A quantisation scheme of a weight, an activation or a cache. */
export interface Scheme {
  /** The catalog id, or a name derived from the parts. */
  id: string;
  /** One line: what it is. */
  summary: string;
  /** The number format of the elements: an id of the catalog, or the format itself. */
  element: string | NumberFormat;
  /** Which elements share a scale. */
  granularity: Granularity;
  /** The scale. */
  scale: ScaleSpec;
  /** The zero point, for asymmetric schemes. */
  zero_point?: ZeroPointSpec;
  /** Which range the scale covers; the whole one if absent. */
  range?: RangeRule;
  /** `static`: scales of activations are fixed by calibration; if not, each input has its own. */
  timing?: "dynamic" | "static";
  /**
   * Columns that hold any value above this magnitude stay as they are, and take no part in scales:
   * the outlier features of LLM.int8(), found anew in each input.
   */
  keep_above?: number;
  /** What replaces parts of the element's own cast. */
  cast?: Partial<Cast>;
  /** What happens to a last group that is shorter than the others. */
  tail: "short" | "refuse";
  /** Where the definition comes from. */
  source: string;
}

/** Every scale rule, for schemas and command lines. */
export const SCALE_RULES: readonly ScaleRule[] = [
  "absmax",
  "signed_extreme",
  "minmax",
  "absmean",
  "mx_floor",
  "mx_even",
  "mx_ceil",
  "mx_rceil",
  "none",
];

const second: z.ZodType<SecondLevel> = z.discriminatedUnion("kind", [
  z.strictObject({
    kind: z.literal("super_block"),
    tiles: z.int().min(2).max(256),
    format: z.string().regex(ID_PATTERN).default("float16"),
    signed: z.boolean().default(false),
  }),
  z.strictObject({ kind: z.literal("double"), tiles: z.int().min(2).max(65536) }),
  z.strictObject({
    kind: z.literal("tensor"),
    divisor: z.number().positive(),
    scale: z.enum(["(a / M) / g", "a / (M * g)", "G * (a / M)"]),
    code: z.enum(["x * ((1 / g) / s)", "x / (s * g)", "x / (s / G)"]),
    smallest: z.number().min(0).default(0),
  }),
  z.strictObject({ kind: z.literal("outer"), alpha: z.number().min(0).max(1).default(0.15) }),
]);

/** The zod schema of a range rule. */
export const rangeRuleZod: z.ZodType<RangeRule> = z.discriminatedUnion("rule", [
  z.strictObject({ rule: z.literal("percentile"), share: z.number().gt(0).max(1).default(0.999) }),
  z.strictObject({ rule: z.literal("entropy"), bins: z.int().min(256).max(8192).default(2048) }),
  z.strictObject({
    rule: z.literal("error"),
    norm: z.number().min(1).max(8).default(2.4),
    candidates: z.int().min(1).max(200).default(20),
    smallest: z.number().min(0.05).max(1).default(0.6),
  }),
  z.strictObject({
    rule: z.literal("least_squares"),
    candidates: z.int().min(1).max(200).default(8),
  }),
]);

const scale = z.strictObject({
  rule: z.enum(SCALE_RULES),
  format: z.string().regex(ID_PATTERN).default("float32"),
  divisor: z.number().positive().optional(),
  codes_from: z.enum(["stored", "unrounded"]).default("stored"),
  apply: z.enum(["divide", "reciprocal", "multiply"]).default("divide"),
  second: second.optional(),
  all_zero: z.number().default(1),
});

const shape = {
  id: z.string().regex(ID_PATTERN, "must be lower case letters, digits and _"),
  summary: z.string().min(1),
  element: z.union([z.string().regex(ID_PATTERN), numberFormatZod]),
  granularity: granularityZod,
  scale,
  zero_point: z.strictObject({ kind: z.enum(["int", "float", "minimum"]) }).optional(),
  range: rangeRuleZod.optional(),
  timing: z.enum(["dynamic", "static"]).optional(),
  keep_above: z.number().min(0).optional(),
  cast: partialCastZod.optional(),
  tail: z.enum(["short", "refuse"]).default("short"),
  source: z.string().default(""),
};

/** The zod schema of a scheme. */
export const schemeZod: z.ZodType<Scheme> = z.strictObject(shape).superRefine((s, context) => {
  const issue = (path: string[], message: string) =>
    context.addIssue({ code: "custom", path, message });
  if ((s.scale.rule === "minmax") !== (s.zero_point !== undefined)) {
    issue(["scale", "rule"], "rule minmax needs zero_point, and zero_point needs rule minmax");
  }
  if (s.scale.rule === "none" && s.scale.format !== "float32") {
    issue(["scale", "format"], "there is no scale to store");
  }
  const { second, rule, apply } = s.scale;
  if ((second?.kind === "outer") !== (s.granularity.kind === "element")) {
    issue(["granularity"], "granularity element and a second level outer need each other");
  }
  if (second && second.kind !== "super_block" && (rule !== "absmax" || s.zero_point)) {
    issue(["scale", "second"], `${second.kind} is for rule absmax without zero points`);
  }
  if (second?.kind === "super_block" && s.zero_point && s.zero_point.kind !== "minimum") {
    issue(["scale", "second"], "super_block is for minima, or without zero points");
  }
  if ((apply === "multiply") !== (second?.kind === "tensor" && second.code.startsWith("x *"))) {
    issue(["scale", "apply"], "multiply and a second level whose code is x * ... need each other");
  }
});

/**
 * Checks a scheme read from YAML or JSON.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { schemeSchema } from "./scheme.ts";
 * const { scale, tail } = schemeSchema.parse({
 *   id: "int4_g48",
 *   summary: "int4 in groups of 48",
 *   element: "int4",
 *   granularity: { kind: "group", size: 48 },
 *   scale: { rule: "absmax" },
 * });
 * assertEquals([scale.format, tail], ["float32", "short"]);
 * ```
 */
export const schemeSchema: Schema<Scheme> = schema("scheme", schemeZod);

/** A scheme in a recipe: an id of the catalog, a whole scheme, or an id with some parts replaced. */
export type SchemeReference = string | Scheme | SchemeVariant;

/** A scheme of the catalog with some parts replaced. */
export interface SchemeVariant {
  /** The id that it starts from. */
  base: string;
  /** Another element format. */
  element?: string;
  /** Another granularity. */
  granularity?: Granularity;
  /** Another format of the scale. */
  scale_format?: string;
  /** Another treatment of the short tail. */
  tail?: "short" | "refuse";
  /** Another timing of scales of activations. */
  timing?: "dynamic" | "static";
}

/** The zod schema of a reference to a scheme. */
export const schemeReferenceZod: z.ZodType<SchemeReference> = z.union([
  z.string().regex(ID_PATTERN, "must be the id of a scheme"),
  schemeZod,
  z.strictObject({
    base: z.string().regex(ID_PATTERN),
    element: z.string().regex(ID_PATTERN).optional(),
    granularity: granularityZod.optional(),
    scale_format: z.string().regex(ID_PATTERN).optional(),
    tail: z.enum(["short", "refuse"]).optional(),
    timing: z.enum(["dynamic", "static"]).optional(),
  }),
]);

/**
 * Columns of a block: of a group, or of the groups that share a super-block; 1 for schemes without.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { blockColumns } from "./scheme.ts";
 * const second = { kind: "super_block", tiles: 8, format: "float16", signed: false } as const;
 * const granularity = { kind: "group", size: 32 } as const;
 * assertEquals(blockColumns({ granularity, scale: { second } }), 256);
 * ```
 */
export function blockColumns(
  { granularity, scale: { second } }: {
    granularity: Granularity;
    scale: Pick<ScaleSpec, "second">;
  },
): number {
  if (granularity.kind !== "group") return 1;
  return granularity.size * (second?.kind === "super_block" ? second.tiles : 1);
}

/**
 * Whether a scheme refuses a matrix because its last group would be shorter than the others.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { tiling } from "./granularity.ts";
 * import { refusesTail } from "./scheme.ts";
 * const groups = tiling({ kind: "group", size: 32 }, 2, 48);
 * assertEquals(refusesTail({ tail: "refuse" }, groups), true);
 * assertEquals(refusesTail({ tail: "short" }, groups), false);
 * ```
 */
export function refusesTail(scheme: Pick<Scheme, "tail">, tiles: Tiling): boolean {
  const { columns, tileColumns } = tiles;
  return scheme.tail === "refuse" && columns % Math.min(tileColumns, columns || 1) !== 0;
}
