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

/**
 * The embedding of a model.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { embeddedPath } from "../embedded/mod.ts";
 * import { openCheckpoint } from "../formats/open.ts";
 * import { referenceKernels } from "../kernels-wasm/reference.ts";
 * import { openModel } from "./architecture.ts";
 * import { openEmbedding } from "./embedding.ts";
 * const checkpoint = await openCheckpoint(embeddedPath("model"));
 * using x = await openEmbedding(openModel(checkpoint)).lookup(referenceKernels(), [7, 9, 7]);
 * assertEquals(x.array.slice(0, 256), x.array.slice(512)); // both are token 7
 * checkpoint.close();
 * ```
 */
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

/**
 * Throws `CONFLICT` for a token id outside the vocabulary.
 *
 * @example
 * ```ts
 * import { assertThrows } from "@std/assert";
 * import { embeddedPath } from "../embedded/mod.ts";
 * import { openCheckpoint } from "../formats/open.ts";
 * import { LowbitError } from "../spec/mod.ts";
 * import { openModel } from "./architecture.ts";
 * import { checkIds } from "./embedding.ts";
 * const checkpoint = await openCheckpoint(embeddedPath("model"));
 * const model = openModel(checkpoint);
 * assertThrows(() => checkIds(model, [7, 2048]), LowbitError, "2048 is outside the 2048 tokens");
 * checkpoint.close();
 * ```
 */
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
