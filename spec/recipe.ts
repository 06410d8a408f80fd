/**
 * Recipes: which tensors get which scheme, by which plugins.
 *
 * @module
 */

import { z } from "zod";
import { type BlockPlace, blockPlacesZod } from "./block_places.ts";
import { type SchemeReference, schemeReferenceZod } from "./scheme.ts";
import { type Schema, schema } from "./schema.ts";

/** The schemes of the linears that a pattern selects. */
export interface Assignment {
  /** Patterns over roles and ids, `*` for any run of characters: `attention.*`, `blocks.0.*`. */
  select: string[];
  /** Of these, the linears of blocks in any of these places; of all blocks if absent. */
  blocks?: BlockPlace[];
  /** The scheme of the weight; absent keeps it in full precision. */
  weight?: SchemeReference;
  /** The scheme of weights whose columns are not whole blocks of `weight`. */
  otherwise?: SchemeReference;
  /** The scheme of the input activations; absent keeps them in full precision. */
  activation?: SchemeReference;
}

/** One step of the pipeline. */
export interface Step {
  /** The name of a plugin. */
  use: string;
  /** Its options; the plugin's own schema checks them. */
  options: Record<string, unknown>;
  /** The linears that it works on; all of them if absent. */
  select?: string[];
}

/** Where calibration tokens come from, unless the command line gives them. */
export interface CalibrationSpec {
  /** How many windows. */
  samples: number;
  /** Tokens of a window. */
  length: number;
  /** Draws windows at random by this seed; evenly spread over the data if absent. */
  seed?: number;
  /** A linear that sees fewer rows, as experts may, is rounded to nearest; 128 if absent. */
  least_rows?: number;
}

/** What the weights of a recipe may cost together; schemes are chosen by a plugin that plans. */
export interface Budget {
  /** The schemes to choose from, for every weight that has one. */
  schemes: SchemeReference[];
  /** Bits a weight over these weights, scales included. */
  bits?: number;
  /** Bytes of the files that hold tensors, their headers included; tokenizer and settings are not. */
  bytes?: number;
}

/** A recipe. */
export interface Recipe {
  /** Its name, for reports. */
  name: string;
  /** One line: what it does. */
  summary: string;
  /** Seeds every random number. */
  seed: number;
  /** Schemes; a later assignment wins over an earlier one. */
  assign: Assignment[];
  /**
   * The scheme of the embedding, which is no linear, for files that can hold it. Where the head
   * shares its weight, it has the scheme of the head.
   */
  embedding?: { weight: SchemeReference; otherwise?: SchemeReference };
  /** Lets a plugin that plans choose among schemes. */
  budget?: Budget;
  /** Plugins, in order. */
  pipeline: Step[];
  /** Calibration. */
  calibration: CalibrationSpec;
  /**
   * Rounding weighs the error of each input channel by its mean square on the calibration data, as
   * llama.cpp does with an importance matrix.
   */
  importance?: boolean;
  /**
   * What the next block is calibrated on: the outputs of the original blocks (`original`), or of
   * the blocks as quantised so far (`quantized`).
   */
  propagate: "original" | "quantized";
  /** How tensors without a scheme are stored; `source` keeps the bytes of the checkpoint. */
  keep: "source" | "float32" | "bfloat16" | "float16";
}

const pattern = z.string().min(1).max(200).superRefine((text, context) => {
  const problem = patternProblem(text);
  if (problem !== undefined) context.addIssue({ code: "custom", message: problem });
}).describe("a glob, a /regular expression/, or whole words of a role or an id");
const patterns = z.array(pattern).min(1);

/** The zod schema of a recipe. */
const recipe: z.ZodType<Recipe> = z.strictObject({
  name: z.string().regex(
    /^[a-z0-9][a-z0-9_.-]{0,79}$/,
    "must be lower case letters, digits, ., _, -",
  ).describe("what reports call it"),
  summary: z.string().default("").describe("one line: what it does"),
  seed: z.int().min(0).max(2 ** 32 - 1).default(0).describe("seeds every random number"),
  assign: z.array(z.strictObject({
    select: patterns.describe("which linears; any of the patterns"),
    blocks: blockPlacesZod.optional().describe("only in blocks of these places; any of them"),
    weight: schemeReferenceZod.optional().describe("the scheme or vector format of the weights"),
    otherwise: schemeReferenceZod.optional()
      .describe("the scheme where columns are no whole blocks of `weight`"),
    activation: schemeReferenceZod.optional()
      .describe("the scheme of their inputs, dynamic or static"),
  })).min(1).describe("schemes of linears; a later one wins over an earlier one"),
  embedding: z.strictObject({
    weight: schemeReferenceZod.describe("the scheme; that of the head where it is tied"),
    otherwise: schemeReferenceZod.optional()
      .describe("the scheme where columns are no whole blocks of `weight`"),
  }).optional().describe("quantises the embedding as well"),
  budget: z.strictObject({
    schemes: z.array(schemeReferenceZod).min(2).max(64).describe("schemes to choose from"),
    bits: z.number().positive().max(64).optional().describe("bits a weight, scales included"),
    bytes: z.int().positive().optional().describe("bytes of all tensors"),
  }).optional().describe("lets a plugin that plans choose among schemes"),
  pipeline: z.array(z.strictObject({
    use: z.string().min(1).max(80).describe("the name of a plugin"),
    options: z.record(z.string(), z.unknown()).default({})
      .describe("its options, which its own schema checks"),
    select: patterns.optional().describe("the linears that it works on; all if absent"),
  })).min(1).describe("plugins, in order"),
  calibration: z.strictObject({
    samples: z.int().min(1).max(65536).default(16).describe("how many windows"),
    length: z.int().min(2).max(1 << 20).default(512).describe("tokens of a window"),
    seed: z.int().min(0).max(2 ** 32 - 1).optional()
      .describe("draws windows at random; evenly spread over the data if absent"),
    least_rows: z.int().min(0).max(1 << 24).optional()
      .describe("linears that see fewer rows are rounded to nearest (128)"),
  }).prefault({}),
  importance: z.boolean().optional()
    .describe("weighs errors of rtn by mean squares of inputs (llama.cpp's imatrix)"),
  propagate: z.enum(["original", "quantized"]).default("original")
    .describe("what the next block is calibrated on: outputs of original or quantised blocks"),
  keep: z.enum(["source", "float32", "bfloat16", "float16"]).default("source")
    .describe("how tensors without a scheme are stored"),
});

/**
 * Checks a recipe read from YAML or JSON.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { recipeSchema } from "./recipe.ts";
 * const recipe = recipeSchema.parse({
 *   name: "mine",
 *   assign: [{ select: ["blocks.*"], weight: "int4_g64_asym" }],
 *   pipeline: [{ use: "rtn" }],
 * });
 * assertEquals(recipe.calibration, { samples: 16, length: 512 });
 * ```
 */
export const recipeSchema: Schema<Recipe> = schema("recipe", recipe);

/**
 * Whether any of the patterns matches the role or the id of a linear. A pattern is a glob, where `*`
 * is any run of characters (`attention.*`, `blocks.0.*`), a regular expression between slashes
 * (`/^blocks\.[0-3]\./`), or whole words of a role or an id (`experts`, `head`, `mlp`).
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { selects } from "./recipe.ts";
 * const linear = { role: "attention.query", id: "blocks.3.attention.query" };
 * assertEquals(selects(["mlp.*", "attention.*"], linear), true);
 * assertEquals(selects(["blocks.0.*"], linear), false);
 * ```
 */
export function selects(
  patterns: readonly string[],
  linear: { role: string; id: string },
): boolean {
  return patterns.some((pattern) => {
    const regex = patternRegex(pattern);
    return regex.test(linear.role) || regex.test(linear.id);
  });
}

const compiled = new Map<string, RegExp>();

/** The regular expression of a pattern. */
function patternRegex(pattern: string): RegExp {
  let regex = compiled.get(pattern);
  if (!regex) compiled.set(pattern, regex = compilePattern(pattern));
  return regex;
}

function compilePattern(pattern: string): RegExp {
  const expression = /^\/(.+)\/$/.exec(pattern)?.[1];
  if (expression !== undefined) return new RegExp(expression);
  const literal = (text: string) => text.replace(/[\\^$.+?()[\]{}|]/g, "\\$&");
  if (pattern.includes("*")) return new RegExp(`^${pattern.split("*").map(literal).join(".*")}$`);
  return new RegExp(`(^|\\.)${literal(pattern)}(\\.|$)`);
}

/** What is wrong with a pattern. */
function patternProblem(pattern: string): string | undefined {
  try {
    compilePattern(pattern);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}
