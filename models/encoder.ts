/**
 * An encoder with all its weights resident: embeddings of texts, classes of images.
 *
 * @module
 */

import { type Kernels, LowbitError } from "../spec/mod.ts";
import type { ModelGraph } from "./architecture.ts";
import { type Embedding, openEmbedding } from "./embedding.ts";
import { runBlock, runHead, type Values } from "./interpreter.ts";
import { type LinearFactory, type LoadedPart, loadPart } from "./linear.ts";

/** What an encoder reads: token ids, or an image as rows of patches (channel, row, column). */
export type EncoderInput =
  | { ids: ArrayLike<number> }
  | { patches: Readonly<Float32Array>; rows: number };

/**
 * An encoder with all its weights in kernel memory.
 *
 * @example
 * ```ts
 * import type { Kernels } from "../spec/mod.ts";
 * import type { ModelGraph } from "./architecture.ts";
 * import { EncoderModel } from "./encoder.ts";
 *
 * async function embed(model: ModelGraph, kernels: Kernels, ids: number[]) {
 *   using encoder = await EncoderModel.load({ model, kernels });
 *   using output = await encoder.encode({ ids });
 *   return output.array.slice();
 * }
 * ```
 */
export class EncoderModel implements Disposable {
  readonly #model: ModelGraph;
  readonly #kernels: Kernels;
  readonly #parts: readonly LoadedPart[];
  readonly #embedding: Embedding;

  private constructor(model: ModelGraph, kernels: Kernels, parts: readonly LoadedPart[]) {
    this.#model = model;
    this.#kernels = kernels;
    this.#parts = parts;
    this.#embedding = openEmbedding(model);
  }

  /** Reads every weight. `UNSUPPORTED` for a model that predicts tokens. */
  static async load(
    args: { model: ModelGraph; kernels: Kernels; linears?: LinearFactory },
  ): Promise<EncoderModel> {
    const { model, kernels, linears } = args;
    const { architecture } = model;
    if (architecture.result !== "output") {
      throw new LowbitError("UNSUPPORTED", "predicts tokens and is no encoder", {
        file: architecture.id,
      });
    }
    const parts: LoadedPart[] = [];
    try {
      for (const [block, { nodes }] of model.blocks.entries()) {
        parts.push(await loadPart({ model, kernels, nodes, block, linears }));
      }
      parts.push(await loadPart({ model, kernels, nodes: architecture.graph.after, linears }));
      return new EncoderModel(model, kernels, parts);
    } catch (error) {
      for (const part of parts) part.free();
      throw error;
    }
  }

  /** The output for one text or image, as a new buffer. */
  async encode(input: EncoderInput): Promise<Values> {
    const { hyperparameters, architecture: { graph }, blocks } = this.#model;
    const kernels = this.#kernels;
    let x = "ids" in input
      ? await this.#embedding.lookup(kernels, input.ids)
      : await this.#embedding.image(kernels, input.patches, input.rows);
    try {
      const tokens = x.length / hyperparameters.hidden;
      const run = (part: LoadedPart) => {
        const { parameter, linear } = part;
        return { kernels, hyperparameters, tokens, x, parameter, linear };
      };
      for (const [i, { nodes }] of blocks.entries()) {
        const y = runBlock({ ...run(this.#parts[i]), graph: { ...graph, block: [...nodes] } });
        x.free();
        x = y;
      }
      return runHead({ ...run(this.#parts.at(-1)!), graph });
    } finally {
      x.free();
    }
  }

  /** Gives the memory back. */
  free(): void {
    for (const part of this.#parts) part.free();
  }

  /** Gives the memory back. */
  [Symbol.dispose](): void {
    this.free();
  }
}
