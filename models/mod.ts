/**
 * Models: architectures as data, one interpreter of them, tokenizers, generation and scoring.
 *
 * @module
 */

export * from "./architecture.ts";
export * from "./cache.ts";
export * from "./embedding.ts";
export * from "./encoder.ts";
export * from "./evaluate.ts";
export * from "./gguf_tokenizer.ts";
export * from "./hyperparameters.ts";
export type { BlockGraph } from "./inherit.ts";
export * from "./interpreter.ts";
export * from "./linear.ts";
export * from "./model.ts";
export * from "./online.ts";
export { listParameters, type ParameterInfo } from "./parameters.ts";
export * from "./rewrite.ts";
export * from "./rows.ts";
export * from "./sampling.ts";
export * from "./settings.ts";
export * from "./tokenizer.ts";
export * from "./values.ts";
export * from "./views.ts";
export * from "./weights.ts";
