/**
 * Number formats: how the bits of one element mean a value. A format is data; its codec is
 * derived from the parameters (see `formats/`).
 *
 * @module
 */

import { z } from "zod";
import { type Schema, schema } from "./schema.ts";

/**
 * An identifier of the catalogs: lower case, digits, `_`. An id never changes its bytes.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { ID_PATTERN } from "./number_format.ts";
 * assertEquals(["int4", "4bit", "Int4"].map((id) => ID_PATTERN.test(id)), [true, false, false]);
 * ```
 */
export const ID_PATTERN = /^[a-z][a-z0-9_]{0,63}$/;

/**
 * How a real number between two representable neighbours becomes one of them.
 *
 * - `nearest_even`: nearest; a tie goes to the even code (IEEE 754)
 * - `half_away`, `half_toward_zero`, `half_up`, `half_down`: nearest; ties as the name says
 * - `toward_zero`, `up`, `down`: directed
 * - `biased_floor`: `floor(fl32(x + bias))`, integers only: ggml's `(int)(x + 8.5f)`
 * - `stochastic`: up with the probability of the distance from the lower neighbour; whoever casts
 *   gives the random numbers
 */
export type Rounding =
  | "nearest_even"
  | "half_away"
  | "half_toward_zero"
  | "half_up"
  | "half_down"
  | "toward_zero"
  | "up"
  | "down"
  | "biased_floor"
  | "stochastic";

/** What a value beyond the largest finite number becomes; `wrap` (integers) is modulo `2^bits`. */
export type Overflow = "saturate" | "infinity" | "nan" | "wrap";

/** How a number is cast to a format. A source number is rounded to f32 first. */
export interface Cast {
  /** How a value between two neighbours is rounded. */
  rounding: Rounding;
  /** What a finite value that rounds beyond the largest finite number becomes. */
  overflow: Overflow;
  /** What an infinity becomes: as `overflow` says, or kept where the format has infinities. */
  infinity: Overflow;
  /** What a NaN becomes: the format's NaN code, or zero, or an error. */
  nan: "nan" | "zero" | "refuse";
  /** What becomes of -0, and of small negatives that round to zero. */
  negative_zero: "keep" | "positive";
  /** For `biased_floor`: the number added before the floor. */
  bias?: number;
}

/** What number formats of all families have. */
export interface NumberFormatBase {
  /** The catalog id; the name that ml_dtypes or the paper uses. */
  id: string;
  /** One line: what it is. */
  summary: string;
  /** Bits of one element, 1 to 16. */
  bits: number;
  /** The default cast. */
  cast: Cast;
  /** Where the definition comes from. */
  source: string;
  /** Facts that must follow from the parameters; `lowbit formats test` checks them. */
  expect?: Expectation;
}

/** Facts about a format, written down by whoever defines it. */
export interface Expectation {
  /** The largest finite magnitude. */
  largest?: number;
  /** The smallest magnitude above zero. */
  smallest?: number;
  /** Distinct finite values. */
  values?: number;
  /** Values of some codes: `[code, value]`. */
  decode?: [code: number, value: number][];
  /** Codes of some values: `[value, code]`. */
  encode?: [value: number, code: number][];
}

/** A fixed-point integer: `value = code * 2^-fraction`, two's complement if signed. */
export interface IntFormat extends NumberFormatBase {
  /** The family. */
  family: "int";
  /** Two's complement, or unsigned. */
  signed: boolean;
  /** `full` uses every code; `symmetric` leaves out the most negative one. */
  range: "full" | "symmetric";
  /** Fraction bits. */
  fraction: number;
}

/**
 * A binary floating-point format: with E stored exponent bits and M mantissa bits,
 * `value = (-1)^s * 2^(e - bias) * (1 + m/2^M)`, and `2^(1 - bias) * m/2^M` for e = 0.
 */
export interface FloatFormat extends NumberFormatBase {
  /** The family. */
  family: "float";
  /** Whether there is a sign bit. */
  signed: boolean;
  /** Bits of the stored exponent. */
  exponent: number;
  /** Bits of the stored mantissa. */
  mantissa: number;
  /** Exponent bias. */
  bias: number;
  /** Whether exponent 0 means subnormals and zero; if not, it is an ordinary exponent. */
  subnormals: boolean;
  /**
   * Which codes are infinities: `ieee` (all-ones exponent, mantissa 0), `top` (the largest
   * magnitude that is no NaN, as in IEEE P3109), or `none`.
   */
  infinities: "none" | "ieee" | "top";
  /**
   * Which codes are not a number: `ieee` (all-ones exponent, mantissa not 0), `all_ones` (all-ones
   * exponent and mantissa), `negative_zero` (the code of -0), or `none`.
   */
  nan: "none" | "ieee" | "all_ones" | "negative_zero";
}

/** A table: code `i` means `values[i]`. */
export interface CodebookFormat extends NumberFormatBase {
  /** The family. */
  family: "codebook";
  /** The values in code order, rounded to f32; null for a code that means nothing. */
  values: (number | null)[];
  /** Where a value goes to the upper neighbour: at f32 midpoints, or above these literal bounds. */
  thresholds: "midpoints" | number[];
}

/**
 * How the values of a generated format are made; `formats/generators.ts` does it.
 *
 * - `normal_float`: quantiles of a normal distribution with an exact zero (NFk of QLoRA)
 * - `student_float`: the same of Student's t (SFk)
 * - `abfloat`: sign and magnitude, `(2^mantissa + m) << (e + bias)`, code 0 is zero (OliVe)
 * - `power_of_two`: sign and magnitude, powers of two up to 1, code 0 is zero
 */
export type TableGenerator =
  | {
    kind: "normal_float";
    /** The outermost quantile; `per_bits` is the definition of QLoRA for this number of bits. */
    offset: number | "per_bits";
  }
  | {
    kind: "student_float";
    /** Degrees of freedom. */
    degrees: number;
    /** The outermost quantile. */
    offset: number | "per_bits";
  }
  | {
    kind: "abfloat";
    /** Exponent bits. */
    exponent: number;
    /** Mantissa bits. */
    mantissa: number;
    /** Added to the exponent. */
    bias: number;
  }
  | { kind: "power_of_two" };

/** A table that is computed from a few numbers instead of written down. */
export interface GeneratedFormat extends NumberFormatBase {
  /** The family. */
  family: "generated";
  /** How the values are made. */
  generator: TableGenerator;
}

/** A number format of any family. */
export type NumberFormat = IntFormat | FloatFormat | CodebookFormat | GeneratedFormat;

/**
 * The families of number formats. The list is open: a family adds a schema here and a decoder.
 *
 * @example
 * ```ts
 * import { assert } from "@std/assert";
 * import { FAMILIES } from "./number_format.ts";
 * const family: (typeof FAMILIES)[number] = "codebook";
 * assert(FAMILIES.includes(family));
 * ```
 */
export const FAMILIES = ["int", "float", "codebook", "generated"] as const;

const rounding = z.enum([
  "nearest_even",
  "half_away",
  "half_toward_zero",
  "half_up",
  "half_down",
  "toward_zero",
  "up",
  "down",
  "biased_floor",
  "stochastic",
]);
const overflow = z.enum(["saturate", "infinity", "nan", "wrap"]);

/** The zod schema of parts of a cast, for use inside other schemas. */
export const partialCastZod: z.ZodType<Partial<Cast>> = z.strictObject({
  rounding: rounding.optional(),
  overflow: overflow.optional(),
  infinity: overflow.optional(),
  nan: z.enum(["nan", "zero", "refuse"]).optional(),
  negative_zero: z.enum(["keep", "positive"]).optional(),
});

const cast = z.strictObject({
  rounding: rounding.default("nearest_even"),
  overflow: overflow.default("saturate"),
  infinity: overflow.default("saturate"),
  nan: z.enum(["nan", "zero", "refuse"]).default("refuse"),
  negative_zero: z.enum(["keep", "positive"]).default("keep"),
  bias: z.number().optional(),
});

const base = {
  id: z.string().regex(ID_PATTERN, "must be lower case letters, digits and _"),
  summary: z.string().min(1),
  bits: z.int().min(1).max(16),
  cast: cast.prefault({}),
  source: z.string().default(""),
  expect: z.strictObject({
    largest: z.number().optional(),
    smallest: z.number().optional(),
    values: z.int().optional(),
    decode: z.array(z.tuple([z.int().min(0), z.number()])).optional(),
    encode: z.array(z.tuple([z.number(), z.int().min(0)])).optional(),
  }).optional(),
};

const int = z.strictObject({
  ...base,
  family: z.literal("int"),
  signed: z.boolean(),
  range: z.enum(["full", "symmetric"]).default("full"),
  fraction: z.int().min(0).max(16).default(0),
});

const float = z.strictObject({
  ...base,
  family: z.literal("float"),
  signed: z.boolean().default(true),
  exponent: z.int().min(1).max(8),
  mantissa: z.int().min(0).max(10),
  bias: z.int().min(-127).max(254),
  subnormals: z.boolean().default(true),
  infinities: z.enum(["none", "ieee", "top"]).default("none"),
  nan: z.enum(["none", "ieee", "all_ones", "negative_zero"]).default("none"),
});

const codebook = z.strictObject({
  ...base,
  family: z.literal("codebook"),
  values: z.array(z.number().nullable()).min(2).max(256),
  thresholds: z.union([z.literal("midpoints"), z.array(z.number())]).default("midpoints"),
});

const offset = z.union([z.number().gt(0.5).lt(1), z.literal("per_bits")]).default("per_bits");

const generated = z.strictObject({
  ...base,
  family: z.literal("generated"),
  generator: z.discriminatedUnion("kind", [
    z.strictObject({ kind: z.literal("normal_float"), offset }),
    z.strictObject({
      kind: z.literal("student_float"),
      degrees: z.number().min(1).max(1e6),
      offset,
    }),
    z.strictObject({
      kind: z.literal("abfloat"),
      exponent: z.int().min(0).max(6),
      mantissa: z.int().min(0).max(6),
      bias: z.int().min(0).max(64),
    }),
    z.strictObject({ kind: z.literal("power_of_two") }),
  ]),
});

/** The zod schema of any number format, for use inside other schemas. */
export const numberFormatZod: z.ZodType<NumberFormat> = z
  .discriminatedUnion("family", [int, float, codebook, generated])
  .superRefine((format, context) => {
    for (const [path, message] of problems(format)) {
      context.addIssue({ code: "custom", path: [path], message });
    }
  });

/**
 * Checks a number format read from YAML or JSON.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { numberFormatSchema } from "./number_format.ts";
 * const document = { id: "int3", summary: "-4 to 3", family: "int", bits: 3, signed: true };
 * assertEquals(numberFormatSchema.parse(document).cast.rounding, "nearest_even");
 * ```
 */
export const numberFormatSchema: Schema<NumberFormat> = schema("number format", numberFormatZod);

/** What the field types cannot say: relations between fields. */
function* problems(format: NumberFormat): Generator<[field: string, message: string]> {
  const { rounding, bias, overflow, infinity } = format.cast;
  if ((rounding === "biased_floor") !== (bias !== undefined)) {
    yield ["cast", "bias belongs to rounding biased_floor, and only to it"];
  }
  if (rounding === "biased_floor" && format.family !== "int") {
    yield ["cast", "rounding biased_floor is for the int family"];
  }
  if (overflow === "wrap" && format.family !== "int") {
    yield ["cast", "overflow wrap is for the int family"];
  }
  if (infinity === "wrap") yield ["cast", "an infinity cannot wrap"];
  const hasInfinity = format.family === "float" && format.infinities !== "none";
  const hasNan = format.family === "float" && format.nan !== "none";
  if (!hasInfinity && (overflow === "infinity" || infinity === "infinity")) {
    yield ["cast", "the format has no infinities"];
  }
  if (!hasNan && (overflow === "nan" || infinity === "nan" || format.cast.nan === "nan")) {
    yield ["cast", "the format has no NaN"];
  }
  switch (format.family) {
    case "int":
      if (format.range === "symmetric" && !format.signed) {
        yield ["range", "an unsigned integer has no symmetric range"];
      }
      break;
    case "float": {
      const bits = format.exponent + format.mantissa + (format.signed ? 1 : 0);
      if (bits !== format.bits) {
        yield ["bits", `is ${format.bits}, but its fields add up to ${bits}`];
      }
      if (format.nan === "negative_zero" && !format.signed) {
        yield ["nan", "an unsigned float has no negative zero"];
      }
      if (format.nan === "ieee" && format.mantissa === 0) {
        yield ["nan", "an IEEE NaN needs mantissa bits"];
      }
      if (format.nan === "all_ones" && format.infinities === "ieee" && format.mantissa === 0) {
        yield ["nan", "with no mantissa bits the all-ones code cannot be infinity and NaN"];
      }
      break;
    }
    case "codebook": {
      const { values, thresholds, bits } = format;
      if (bits > 8) yield ["bits", "a codebook has at most 8 bits"];
      if (values.length > 2 ** bits) yield ["values", `has more than 2^${bits} entries`];
      const numbers = values.filter((v) => v !== null).map(Math.fround);
      if (numbers.length < 2) yield ["values", "has fewer than two numbers"];
      if (!numbers.every(Number.isFinite)) yield ["values", "must be finite"];
      // -0 and 0 are two entries: some tables have both.
      const distinct = new Set(numbers.map((v) => Object.is(v, -0) ? "-0" : String(v)));
      if (distinct.size !== numbers.length) yield ["values", "has duplicate entries"];
      if (thresholds !== "midpoints") {
        const sorted = [...numbers].sort((a, b) => a - b);
        if (thresholds.length !== numbers.length - 1) {
          yield ["thresholds", `must have ${numbers.length - 1} entries`];
        } else if (thresholds.some((t, i) => !(t >= sorted[i] && t <= sorted[i + 1]))) {
          yield ["thresholds", "each must lie between its two neighbouring values"];
        }
      }
      break;
    }
    case "generated": {
      const { generator, bits } = format;
      if (bits > 8) yield ["bits", "a table has at most 8 bits"];
      if (bits < 2) yield ["bits", "is 1, but a generated format needs two"];
      if (generator.kind === "abfloat" && generator.exponent + generator.mantissa + 1 !== bits) {
        yield ["bits", `is ${bits}, but sign, exponent and mantissa add up to something else`];
      }
    }
  }
}
