/**
 * What a target is given: settings and tokenizer in its own naming.
 *
 * @module
 */

import type { GgufValue, Output, PlannedTensor, Recipe, TargetArguments } from "../spec/mod.ts";
import type { ModelGraph } from "../models/architecture.ts";
import { tokenizerToGguf } from "../models/gguf_tokenizer.ts";
import { ggufMetadata, huggingfaceConfig, tokenizerFiles } from "../models/settings.ts";
import { VERSION } from "./version.ts";

/** Gathers the arguments of `Target.create` for a model. */
export function targetArguments(
  model: ModelGraph,
  recipe: Pick<Recipe, "name">,
  output: Output,
  tensors: readonly PlannedTensor[],
  gguf: boolean,
): TargetArguments {
  const { checkpoint } = model;
  const config = huggingfaceConfig(model);
  return {
    output,
    source: checkpoint,
    config,
    sidecars: checkpoint.naming === "gguf" || checkpoint.pieces
      ? new Map([...checkpoint.sidecars, ...madeSidecars(model)])
      : checkpoint.sidecars,
    ...(gguf && { gguf: madeGguf(model, config) }),
    tensors,
    ...(checkpoint.transforms && { transforms: checkpoint.transforms }),
    provenance: { lowbit: VERSION, recipe: recipe.name },
  };
}

/** tokenizer.json and tokenizer_config.json of a GGUF file. */
function madeSidecars({ checkpoint }: ModelGraph): Map<string, string> {
  const files = tokenizerFiles(checkpoint);
  if (!files) return new Map();
  const text = (value: unknown) => JSON.stringify(value, null, 2) + "\n";
  return new Map([
    ["tokenizer.json", text(files.tokenizer)],
    ["tokenizer_config.json", text(files.config)],
  ]);
}

/** Metadata of architecture and tokenizer; a GGUF source keeps its own tokenizer as it is. */
function madeGguf(model: ModelGraph, config: Record<string, unknown>): Map<string, GgufValue> {
  const { checkpoint, hyperparameters } = model;
  const metadata = ggufMetadata(model);
  if (checkpoint.gguf) {
    for (const [key, value] of checkpoint.gguf) {
      if (key.startsWith("tokenizer.")) metadata.set(key, value);
    }
    return metadata;
  }
  const files = tokenizerFiles(checkpoint);
  // What llama.cpp expects of a model that is only ever given ids.
  if (!files) return metadata.set("tokenizer.ggml.model", { type: "string", value: "none" });
  const tokenizer = tokenizerToGguf(files, { vocab: hyperparameters.vocab, config });
  // The scores of a SentencePiece model are known; those made of merges only have their order.
  const scores = checkpoint.pieces?.get("tokenizer.ggml.scores")?.value as number[] | undefined;
  const made = tokenizer.get("tokenizer.ggml.scores");
  if (scores && made?.type === "array") {
    const value = (made.value as number[]).map((score, id) => scores[id] ?? score);
    tokenizer.set("tokenizer.ggml.scores", { ...made, value });
  }
  return new Map([...metadata, ...tokenizer]);
}
