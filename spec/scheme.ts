/**
 * Schemes: an element format together with its scales, its zero points and their granularity.
 *
 * @module
 */

import { z } from "zod";
import { type Granularity, granularityZod, type Tiling } from "./granularity.ts";
import {
  type Cast,
  ID_PATTERN,
  type NumberFormat,
  numberFormatZod,
  partialCastZod,
} from "./number_format.ts";
import { type Schema, schema } from "./schema.ts";

/**
 * How a scale comes out of the values that share it. With `M` the largest finite magnitude of the
 * element format (or `divisor`):
 *
 * - `absmax`: `max|x| / M`
 * - `signed_extreme`: `x* / -M`, x* the first value of largest magnitude (ggml); may be negative
 * - `minmax`: `(max(x, 0) - min(x, 0)) / (2^bits - 1)`, for schemes with a zero point
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
  /** Whether `x / s`, or `x * (1 / s)`, is rounded to a code; each step in f32. */
  apply: "divide" | "reciprocal";
  /** The scale of values that are all zero. */
  all_zero: number;
}

/**
 * What an asymmetric scheme stores beside the scale.
 *
 * - `int`: an integer z in the unsigned range of the element; `x ~ (q - z) * s`
 * - `minimum`: a real m, stored in the format of the scale; `x ~ q * s + m` (ggml)
 */
export interface ZeroPointSpec {
  /** Which of the two. */
  kind: "int" | "minimum";
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
  "mx_floor",
  "mx_even",
  "mx_ceil",
  "mx_rceil",
  "none",
];

const scale = z.strictObject({
  rule: z.enum(SCALE_RULES),
  format: z.string().regex(ID_PATTERN).default("float32"),
  divisor: z.number().positive().optional(),
  codes_from: z.enum(["stored", "unrounded"]).default("stored"),
  apply: z.enum(["divide", "reciprocal"]).default("divide"),
  all_zero: z.number().default(1),
});

const shape = {
  id: z.string().regex(ID_PATTERN, "must be lower case letters, digits and _"),
  summary: z.string().min(1),
  element: z.union([z.string().regex(ID_PATTERN), numberFormatZod]),
  granularity: granularityZod,
  scale,
  zero_point: z.strictObject({ kind: z.enum(["int", "minimum"]) }).optional(),
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
  }),
]);

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
