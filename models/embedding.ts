/**
 * Looking up the embeddings of tokens: the operation before the blocks.
 *
 * @module
 */

import { type Kernels, LowbitError } from "../spec/mod.ts";
import type { ModelGraph } from "./architecture.ts";
import type { Values } from "./interpreter.ts";
import { parameterTensor, readRows } from "./weights.ts";

/** Looks up rows of the embedding; each row is read from the checkpoint once and kept. */
export interface Embedding {
  /** The embeddings of tokens: a new buffer `[ids.length, hidden]`. */
  lookup(kernels: Kernels, ids: ArrayLike<number>): Promise<Values>;
}

/** The embedding of a model. */
export function openEmbedding(model: ModelGraph): Embedding {
  const node = model.architecture.graph.before.find((node) => node.op === "embed");
  if (node === undefined) {
    throw new LowbitError("UNSUPPORTED", "has no embedding", { file: model.architecture.id });
  }
  const tensor = parameterTensor(model, node.weight);
  const hidden = tensor.shape[1];
  const rows = new Map<number, Float32Array>();
  return {
    async lookup(kernels, ids) {
      checkIds(model, ids);
      const missing = [...new Set(Array.from(ids))].filter((id) => !rows.has(id));
      const read = await readRows(tensor, missing);
      missing.forEach((id, i) => rows.set(id, read.slice(i * hidden, (i + 1) * hidden)));
      const x = kernels.alloc("f32", ids.length * hidden);
      const array = x.array;
      for (let i = 0; i < ids.length; i++) array.set(rows.get(ids[i])!, i * hidden);
      return x;
    },
  };
}

/** Throws `CONFLICT` for a token id outside the vocabulary. */
export function checkIds(model: ModelGraph, ids: ArrayLike<number>): void {
  const { vocab } = model.hyperparameters;
  for (let i = 0; i < ids.length; i++) {
    if (Number.isInteger(ids[i]) && ids[i] >= 0 && ids[i] < vocab) continue;
    throw new LowbitError("CONFLICT", `token id ${ids[i]} is outside the ${vocab} tokens`, {
      file: model.checkpoint.name,
      advice: "were the ids made by the tokenizer of another model?",
    });
  }
}
