/**
 * The schemas of number formats: what a document must say, and how its fields fit together.
 *
 * @module
 */

import { z } from "zod";
import { type Cast, ID_PATTERN, type NumberFormat } from "./number_format.ts";
import { type Schema, schema } from "./schema.ts";

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
  negative_zero: z.enum(["keep", "positive", "rounded"]).optional(),
  negative: z.enum(["zero", "absolute", "nan"]).optional(),
  zero: z.enum(["smallest", "nan"]).optional(),
});

const cast = z.strictObject({
  rounding: rounding.default("nearest_even"),
  overflow: overflow.default("saturate"),
  infinity: overflow.default("saturate"),
  nan: z.enum(["nan", "zero", "refuse"]).default("refuse"),
  negative_zero: z.enum(["keep", "positive", "rounded"]).default("keep"),
  negative: z.enum(["zero", "absolute", "nan"]).optional(),
  zero: z.enum(["smallest", "nan"]).optional(),
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
  order: z.enum(["ascending", "any"]).default("ascending"),
  thresholds: z.union([z.literal("midpoints"), z.array(z.number())]).default("midpoints"),
  repeats: z.boolean().default(false),
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
    z.strictObject({
      kind: z.literal("additive_power_of_two"),
      base: z.int().min(1).max(4),
      signed: z.boolean().default(true),
    }),
    z.strictObject({
      kind: z.literal("logarithm"),
      numerator: z.int().min(1).max(1000),
      denominator: z.int().min(1).max(1000),
    }),
    z.strictObject({ kind: z.literal("flint"), signed: z.boolean().default(true) }),
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
 * import { numberFormatSchema } from "./number_format_schema.ts";
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
  const { nan, negative, zero } = format.cast;
  if (!hasNan && [overflow, infinity, nan, negative, zero].includes("nan")) {
    yield ["cast", "the format has no NaN"];
  }
  const unsigned = (format.family === "int" || format.family === "float") && !format.signed;
  if (negative !== undefined && !unsigned) yield ["cast", "negative is for unsigned int and float"];
  if (zero !== undefined && !(format.family === "float" && !format.subnormals)) {
    yield ["cast", "zero is for floats that have no zero"];
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
      const { values, thresholds, bits, repeats } = format;
      if (bits > 8) yield ["bits", "a codebook has at most 8 bits"];
      if (values.length > 2 ** bits) yield ["values", `has more than 2^${bits} entries`];
      const numbers = values.filter((v) => v !== null).map(Math.fround);
      if (numbers.length < 2) yield ["values", "has fewer than two numbers"];
      if (!numbers.every(Number.isFinite)) yield ["values", "must be finite"];
      // -0 and 0 are two entries: some tables have both.
      const distinct = new Set(numbers.map((v) => Object.is(v, -0) ? "-0" : String(v)));
      if (distinct.size !== numbers.length && !repeats) yield ["values", "has duplicate entries"];
      const falls = numbers.findIndex((v, i) => i > 0 && !(v >= numbers[i - 1]));
      if (format.order === "ascending" && falls > 0) {
        yield ["values", `falls to ${numbers[falls]}; sort them, or say order: any`];
      }
      if (thresholds !== "midpoints") {
        const sorted = (repeats ? [...new Set(numbers)] : [...numbers]).sort((a, b) => a - b);
        if (thresholds.length !== sorted.length - 1) {
          yield ["thresholds", `must have ${sorted.length - 1} entries`];
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
      if (generator.kind === "additive_power_of_two") {
        const magnitude = bits - (generator.signed ? 1 : 0);
        if (magnitude % generator.base !== 0) {
          yield ["bits", `leave ${magnitude} bits of magnitude, no multiple of ${generator.base}`];
        }
      }
      if (generator.kind === "flint" && generator.signed && bits < 3) {
        yield ["bits", "a signed flint needs three"];
      }
    }
  }
}
