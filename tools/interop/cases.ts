/**
 * What is written and who reads it: the cases of the interoperability check.
 *
 * @module
 */

import { presetRecipe, type Recipe, recipeSchema } from "../../mod.ts";

/** One export of a model, and the program that reads it. */
export interface Case {
  /** What is done to the weights. */
  recipe: Recipe;
  /** The target that it is written for. */
  to: "lowbit" | "compressed-tensors" | "gptq" | "awq" | "bitsandbytes" | "gguf" | "onnx";
  /** Quantised for the first of these, and converted from each to the next, at last to `to`. */
  through?: readonly Case["to"][];
  /** Weighs errors by mean squares of the inputs, from a file that lowbit wrote and read back. */
  importance?: true;
  /** The program that it is written for. */
  runtime: "transformers" | "gptqmodel" | "llama.cpp" | "onnxruntime" | "onnxruntime-web";
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
  { ...forTransformers(nearest("nf4", "nf4_b64"), "bitsandbytes"), limit: SIXTEEN_BITS },
  { ...forTransformers(nearest("nf4-double", "nf4_b64_dq"), "bitsandbytes"), limit: SIXTEEN_BITS },
  { ...forTransformers(nearest("fp4", "fp4_b64"), "bitsandbytes"), limit: SIXTEEN_BITS },
  ...[FULL_PRECISION, "rtn-w4g64", "rtn-w4g64-sym", "gptq-w4g64", "rtn-w8"].map((name) =>
    forOnnxRuntime(name)
  ),
  ...[FULL_PRECISION, "rtn-w4g64"].map((name) => forOnnxRuntime(name, "onnxruntime-web")),
  forLlamaCpp(FULL_PRECISION, SAME_ARITHMETIC),
  forLlamaCpp("ggml-q8_0"),
  forLlamaCpp("ggml-q4_0"),
  forLlamaCpp(GPTQ_ON_Q4_0),
  forLlamaCpp("ggml-q4_k", ROUNDED_BY_256),
  forLlamaCpp("ggml-q6_k", ROUNDED_BY_256),
  ...["ggml-q3_k_m", "ggml-q4_k_m", "ggml-q5_k_m"].map((name) => forLlamaCpp(name, ROUNDED_BY_256)),
  { ...forLlamaCpp("ggml-q4_k_m", ROUNDED_BY_256), importance: true },
  ...["q5_0", "iq4_nl", "ggml_mxfp4"].map((scheme) => forLlamaCpp(ggml(scheme))),
  forLlamaCpp(ggml("tq2_0", "q4_0"), ROUNDED_BY_256),
];

function forTransformers(name: string | Recipe, to: Case["to"] = "compressed-tensors"): Case {
  const recipe = typeof name === "string" ? presetRecipe(name) : name;
  return { recipe, to, runtime: "transformers", limit: SAME_ARITHMETIC };
}

function forGptqModel(recipe: Recipe, to: Case["to"]): Case {
  return { recipe, to, runtime: "gptqmodel", limit: SIXTEEN_BITS };
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
