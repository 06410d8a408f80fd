/**
 * What comes before the blocks: looking up rows of tables, and the operations on them.
 *
 * @module
 */

import { type Kernels, LowbitError, type StoredTensor } from "../spec/mod.ts";
import type { ModelGraph } from "./architecture.ts";
import { runNodes, type Values } from "./interpreter.ts";
import { parameterTensor, readRows } from "./weights.ts";
import { weightsOf } from "./values.ts";

/** Looks up rows of the embedding; each row is read from the checkpoint once and kept. */
export interface Embedding {
  /**
   * The residual stream before the first block: a new buffer `[ids.length, hidden]`. `position` is
   * that of the first id in its sequence.
   */
  lookup(kernels: Kernels, ids: ArrayLike<number>, position?: number): Promise<Values>;
  /** The same from rows of numbers, for models of images: `[rows, channels]`. */
  image(kernels: Kernels, image: Readonly<Float32Array>, rows: number): Promise<Values>;
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
  const { architecture, hyperparameters } = model;
  const { before } = architecture.graph;
  const tables = before.filter((node) => node.op === "embed");
  const lookups = tables.map((node) => ({
    ...node,
    rows: rowCache(parameterTensor(model, node.weight)),
  }));
  const others = before.filter((node) => node.op !== "embed");
  const weights = new Map<string, Float32Array>();
  /** Runs the operations behind the tables. */
  const finish = async (
    kernels: Kernels,
    inputs: Record<string, Values>,
    tokens: number,
    position: number,
  ) => {
    const uploaded = new Map<string, Values>();
    try {
      for (const name of others.flatMap((node) => weightsOf(node, hyperparameters))) {
        if (!weights.has(name)) weights.set(name, await parameterTensor(model, name).read());
        if (!uploaded.has(name)) uploaded.set(name, kernels.upload(weights.get(name)!));
      }
      return runNodes(others, inputs, "x", {
        kernels,
        hyperparameters,
        position,
        tokens,
        parameter: (name) => uploaded.get(name)!,
        linear(role, x, count) {
          const { rows, columns } = model.linears.find(({ id }) => id === role)!;
          using weight = kernels.denseWeight(weights.get(role)!, rows, columns);
          const y = kernels.alloc("f32", count * rows);
          kernels.linear({ x, y, tokens: count, weight });
          return y;
        },
      });
    } finally {
      for (const buffer of uploaded.values()) buffer.free();
    }
  };
  return {
    async lookup(kernels, ids, position = 0) {
      if (tables.length === 0) {
        throw new LowbitError("UNSUPPORTED", "reads no token ids", { file: architecture.id });
      }
      checkIds(model, ids);
      const made: Record<string, Values> = {};
      try {
        for (const { out, index = "tokens", offset = 0, rows } of lookups) {
          const wanted = index === "tokens"
            ? ids
            : Array.from(ids, (_, i) => offset + (index === "positions" ? position + i : 0));
          made[out] = await rows(kernels, wanted);
        }
        const [only] = Object.values(made);
        if (others.length === 0) {
          delete made.x;
          return only;
        }
        return await finish(kernels, made, ids.length, position);
      } finally {
        for (const buffer of Object.values(made)) buffer.free();
      }
    },
    async image(kernels, image, rows) {
      if (tables.length > 0) {
        throw new LowbitError("UNSUPPORTED", "reads token ids", { file: architecture.id });
      }
      using input = kernels.upload(Float32Array.from(image));
      return await finish(kernels, { image: input }, rows, 0);
    },
  };
}

/** Rows of a table as a new buffer; each row is read once and kept. */
function rowCache(tensor: StoredTensor) {
  const width = tensor.shape[1];
  const rows = new Map<number, Float32Array>();
  return async (kernels: Kernels, ids: ArrayLike<number>): Promise<Values> => {
    const missing = [...new Set(Array.from(ids))].filter((id) => !rows.has(id));
    const outside = missing.find((id) => id >= tensor.shape[0]);
    if (outside !== undefined) {
      throw new LowbitError("LIMIT", `position ${outside} is outside its ${tensor.shape[0]} rows`, {
        field: tensor.name,
      });
    }
    const read = await readRows(tensor, missing);
    missing.forEach((id, i) => rows.set(id, read.slice(i * width, (i + 1) * width)));
    const x = kernels.alloc("f32", ids.length * width);
    const array = x.array;
    for (let i = 0; i < ids.length; i++) array.set(rows.get(ids[i])!, i * width);
    return x;
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
