/**
 * What is written and who reads it: the cases of the interoperability check.
 *
 * @module
 */

import { presetRecipe, type Recipe, recipeSchema } from "../../mod.ts";

/** A target of a case. */
export type Place =
  | "lowbit"
  | "compressed-tensors"
  | "gptq"
  | "awq"
  | "marlin"
  | "bitsandbytes"
  | "hqq"
  | "quanto"
  | "gguf"
  | "onnx";

/** One export of a model, and the program that reads it. */
export interface Case {
  /** What is done to the weights. */
  recipe: Recipe;
  /** The target that it is written for. */
  to: Place;
  /** Quantised for the first of these, and converted from each to the next, at last to `to`. */
  through?: readonly Place[];
  /** Only for the embedded model: SmolLM2 has no whole groups and tiles of 128 columns. */
  small?: true;
  /** Weighs errors by mean squares of the inputs, from a file that lowbit wrote and read back. */
  importance?: true;
  /** The program that it is written for. */
  runtime:
    | "transformers"
    | "gptqmodel"
    | "autoawq"
    | "hqq"
    | "quanto"
    | "llama.cpp"
    | "onnxruntime"
    | "onnxruntime-web";
  /** The largest relative difference of perplexity that is accepted. */
  limit: number;
}

/** Programs that compute as we do, in f32: what is left is the order of their sums. */
const SAME_ARITHMETIC = 0.001;

/**
 * Activations are rounded to int8: by llama.cpp where they meet a quantised weight, or by the recipe.
 * Rounding makes the perplexity sensitive: relative noise of 1e-7 on the outputs of the blocks moves
 * that of SmolLM2-135M (W8A8, 2,044 predictions) by 0.1 to 0.2 % in transformers alone.
 */
const ROUNDED_ACTIVATIONS = 0.005;

/**
 * llama.cpp rounds what meets blocks of 256 to int8 in blocks of 256, so that one outlier costs all of
 * them: 0.7 % on SmolLM2-135M with Q6_K, where the same values in an F32 file agree to 3e-7.
 */
const ROUNDED_BY_256 = 0.01;

/** No scheme at all: the same weights in f32. */
const FULL_PRECISION = recipe({
  name: "full-precision",
  summary: "the weights in f32",
  assign: [{ select: ["blocks.*"] }],
  pipeline: [{ use: "rtn" }],
  keep: "float32",
});

/** A method of error compensation on ggml's grid, which llama.cpp's own quantiser does not have. */
const GPTQ_ON_Q4_0 = recipe({
  name: "gptq-q4_0",
  summary: "GPTQ on the grid of Q4_0",
  assign: [{ select: ["blocks.*"], weight: "q4_0" }],
  pipeline: [{ use: "gptq", options: { act_order: true } }],
});

/** GPTQModel and bitsandbytes have kernels of 16 bits for these weights. */
const SIXTEEN_BITS = 0.005;

const INT4 = { base: "int4_g64_sym", scale_format: "float16" };

/** Round to nearest of every block's weights by a scheme. */
function nearest(name: string, weight: unknown): Recipe {
  return recipe({
    name,
    summary: "round to nearest",
    assign: [{ select: ["blocks.*"], weight }],
    pipeline: [{ use: "rtn" }],
  });
}

/** What GPTQ, AWQ and compressed-tensors all hold, code for code. */
const ASYMMETRIC = nearest("int4-asym", { ...INT4, base: "int4_g64_asym" });

/** The grid that Marlin has too; GPTQ stores it in version 1. */
const SYMMETRIC_128 = nearest("int4-sym-128", { ...INT4, base: "int4_g128_sym" });

/** The first case of each program and target: what a large model is tried with. */
export function briefly(cases: readonly Case[]): Case[] {
  const seen = new Set<string>();
  return cases.filter(({ runtime, to }) => {
    const key = `${runtime} ${to}`;
    return !seen.has(key) && seen.add(key);
  });
}

/** The cases, in the order of the report. Every group size divides the columns of the models. */
export const CASES: readonly Case[] = [
  forTransformers(FULL_PRECISION, "lowbit"),
  forTransformers("rtn-w4g64"),
  forTransformers("rtn-w4g64-sym"),
  forTransformers("gptq-w4g64"),
  forTransformers("rtn-w8"),
  { ...forTransformers("smoothquant-w8a8"), limit: ROUNDED_ACTIVATIONS },
  forGptqModel(nearest("int4-sym", INT4), "gptq"),
  forGptqModel(ASYMMETRIC, "gptq"),
  forGptqModel(ASYMMETRIC, "awq"),
  { ...forGptqModel(ASYMMETRIC, "awq"), through: ["gptq"] },
  { ...forTransformers(ASYMMETRIC), through: ["gptq", "awq"] },
  { ...forGptqModel(ASYMMETRIC, "gptq"), through: ["compressed-tensors"] },
  { ...forLlamaCpp(nearest("int4-sym", INT4)), through: ["gptq"] },
  { ...forTransformers("rtn-w8a8-static"), limit: ROUNDED_ACTIVATIONS },
  forPackage(ASYMMETRIC, "awq", "autoawq"),
  // GPTQ in version 2, AWQ, compressed-tensors, and back; symmetric codes in version 1, and Marlin.
  { ...forPackage(ASYMMETRIC, "awq", "autoawq"), through: ["gptq", "compressed-tensors"] },
  { ...forGptqModel(ASYMMETRIC, "gptq"), through: ["gptq", "awq", "compressed-tensors"] },
  {
    ...forGptqModel(SYMMETRIC_128, "gptq"),
    through: ["gptq", "compressed-tensors", "marlin"],
    small: true,
  },
  {
    ...forTransformers(SYMMETRIC_128),
    through: ["gptq", "marlin"],
    small: true,
  },
  forPackage(nearest("int4-float-zero", "int4_g64_float_zero"), "hqq", "hqq"),
  { ...forPackage(ASYMMETRIC, "hqq", "hqq"), through: ["gptq", "awq"] },
  forPackage(nearest("int8-channel", "int8_channel_sym"), "quanto", "quanto"),
  { ...forPackage(nearest("int4-asym-128", "int4_g128_asym"), "quanto", "quanto"), small: true },
  { ...forTransformers(nearest("nf4", "nf4_b64"), "bitsandbytes"), limit: SIXTEEN_BITS },
  { ...forTransformers(nearest("nf4-double", "nf4_b64_dq"), "bitsandbytes"), limit: SIXTEEN_BITS },
  { ...forTransformers(nearest("fp4", "fp4_b64"), "bitsandbytes"), limit: SIXTEEN_BITS },
  ...["rtn-w4g64", FULL_PRECISION, "rtn-w4g64-sym", "gptq-w4g64", "rtn-w8"].map((name) =>
    forOnnxRuntime(name)
  ),
  ...["rtn-w4g64", FULL_PRECISION].map((name) => forOnnxRuntime(name, "onnxruntime-web")),
  forLlamaCpp("ggml-q4_0"),
  forLlamaCpp(FULL_PRECISION, SAME_ARITHMETIC),
  forLlamaCpp("ggml-q8_0"),
  forLlamaCpp(GPTQ_ON_Q4_0),
  forLlamaCpp("ggml-q4_k", ROUNDED_BY_256),
  forLlamaCpp("ggml-q6_k", ROUNDED_BY_256),
  ...["ggml-q3_k_m", "ggml-q4_k_m", "ggml-q5_k_m"].map((name) => forLlamaCpp(name, ROUNDED_BY_256)),
  { ...forLlamaCpp("ggml-q4_k_m", ROUNDED_BY_256), importance: true },
  ...["q5_0", "iq4_nl", "ggml_mxfp4"].map((scheme) => forLlamaCpp(ggml(scheme))),
  forLlamaCpp(ggml("tq2_0", "q4_0"), ROUNDED_BY_256),
];

function forTransformers(name: string | Recipe, to: Place = "compressed-tensors"): Case {
  const recipe = typeof name === "string" ? presetRecipe(name) : name;
  return { recipe, to, runtime: "transformers", limit: SAME_ARITHMETIC };
}

function forGptqModel(recipe: Recipe, to: Place): Case {
  return { recipe, to, runtime: "gptqmodel", limit: SIXTEEN_BITS };
}

/** The modules of a package, in float32. */
function forPackage(recipe: Recipe, to: Place, runtime: Case["runtime"]): Case {
  return { recipe, to, runtime, limit: SAME_ARITHMETIC };
}

/** onnxruntime multiplies weights of 8 bits with inputs that it rounds to 8 bits. */
function forOnnxRuntime(
  name: string | Recipe,
  runtime: "onnxruntime" | "onnxruntime-web" = "onnxruntime",
): Case {
  const recipe = typeof name === "string" ? presetRecipe(name) : name;
  return { recipe, to: "onnx", runtime, limit: ROUNDED_ACTIVATIONS };
}

function forLlamaCpp(name: string | Recipe, limit = ROUNDED_ACTIVATIONS): Case {
  const recipe = typeof name === "string" ? presetRecipe(name) : name;
  return { recipe, to: "gguf", runtime: "llama.cpp", limit };
}

/** A scheme of ggml for all linears of the blocks, another where it has no whole blocks. */
function ggml(scheme: string, otherwise?: string): Recipe {
  const name = scheme.startsWith("ggml_") ? scheme.replace("_", "-") : `ggml-${scheme}`;
  return recipe({
    name,
    summary: `ggml's ${scheme}`,
    assign: [{ select: ["blocks.*"], weight: scheme, otherwise }],
    pipeline: [{ use: "rtn" }],
  });
}

function recipe(document: unknown): Recipe {
  return recipeSchema.parse(document);
}
