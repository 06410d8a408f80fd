/**
 * A language model with all its weights resident: for generation and for short texts.
 *
 * @module
 */

import { type CachePolicy, type Kernels, LowbitError, type Rng } from "../spec/mod.ts";
import { checkPredicts, memoryWidths, type ModelGraph } from "./architecture.ts";
import { type AttentionMemory, fullMemory, KeyValueCache, policyMemory } from "./cache.ts";
import { type Embedding, openEmbedding } from "./embedding.ts";
import { runBlock, runHead, type Values } from "./interpreter.ts";
import { type LinearFactory, type LoadedPart, loadPart } from "./linear.ts";
import { outOfMemory } from "./out_of_memory.ts";
import { greedy, sample } from "./sampling.ts";

/** What {@linkcode LanguageModel.load} needs. */
export interface LoadArguments {
  /** The model, from `openModel`. */
  model: ModelGraph;
  /** The kernels that hold the weights. */
  kernels: Kernels;
  /** How linears are computed; full precision if absent. */
  linears?: LinearFactory;
  /** Called after each block: how many are loaded, and of how many. */
  progress?(done: number, total: number): void;
}

/** What {@linkcode LanguageModel.generate} needs. */
export interface GenerateArguments {
  /** Token ids to go on from; at least one. */
  prompt: ArrayLike<number>;
  /** The most tokens to make. */
  tokens: number;
  /** 0 (the default) takes the most probable token, the lowest id of several; above, samples. */
  temperature?: number;
  /** Random numbers for sampling. */
  rng?: Rng;
  /** Ids that end the text; they are not yielded. */
  stop?: Iterable<number>;
  /** A cache to go on with, which then stays the caller's; a new one if absent. */
  cache?: KeyValueCache;
}

/** Tokens of a prompt that run through the blocks at a time. */
const CHUNK = 512;

/**
 * A language model with all its weights in kernel memory.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { embeddedPath } from "../embedded/mod.ts";
 * import { openCheckpoint } from "../formats/open.ts";
 * import { loadKernels } from "../kernels-wasm/mod.ts";
 * import { openModel } from "./architecture.ts";
 * import { LanguageModel } from "./model.ts";
 *
 * const checkpoint = await openCheckpoint(embeddedPath("model"));
 * const graph = openModel(checkpoint);
 * using model = await LanguageModel.load({ model: graph, kernels: await loadKernels() });
 * const ids: number[] = [];
 * for await (const id of model.generate({ prompt: [7, 9], tokens: 4 })) ids.push(id);
 * assertEquals(ids.length, 4);
 * checkpoint.close();
 * ```
 */
export class LanguageModel implements Disposable {
  /** The graph. */
  readonly graph: ModelGraph;
  /** The kernels. */
  readonly kernels: Kernels;
  readonly #blocks: readonly LoadedPart[];
  readonly #head: LoadedPart;
  readonly #embedding: Embedding;

  private constructor(args: LoadArguments, blocks: LoadedPart[], head: LoadedPart) {
    this.graph = args.model;
    this.kernels = args.kernels;
    this.#blocks = blocks;
    this.#head = head;
    this.#embedding = openEmbedding(args.model);
  }

  /**
   * Reads every weight; what goes wrong is said as by `parameterTensor`, and by `MEMORY` where they do
   * not fit: the memory of kernels ends at 4 GiB.
   */
  static async load(args: LoadArguments): Promise<LanguageModel> {
    checkPredicts(args.model);
    const { model, kernels, linears, progress } = args;
    const { graph } = model.architecture;
    const parts: LoadedPart[] = [];
    const count = model.hyperparameters.blocks;
    try {
      for (let block = 0; block < count; block++) {
        parts.push(
          await loadPart({ model, kernels, nodes: model.blocks[block].nodes, block, linears }),
        );
        progress?.(block + 1, count);
      }
      const head = await loadPart({ model, kernels, nodes: graph.after, linears });
      return new LanguageModel(args, parts, head);
    } catch (error) {
      const bytes = parts.reduce((sum, part) => sum + part.bytes, 0);
      for (const part of parts) part.free();
      throw outOfMemory(error, {
        file: model.checkpoint.name,
        problem: `holds ${bytes} bytes after ${parts.length} of ${count} blocks, and no more fit`,
        advice: "take fewer bits a weight; evaluation needs one block at a time",
      });
    }
  }

  /** Bytes of the weights in kernel memory. */
  get bytes(): number {
    return this.#blocks.reduce((sum, part) => sum + part.bytes, this.#head.bytes);
  }

  /** An empty cache for one sequence; by the policies of a plugin, if given. */
  cache(policy?: (block: number) => CachePolicy): KeyValueCache {
    const memory = (block: number): AttentionMemory => {
      const widths = memoryWidths(this.graph, block);
      return policy === undefined
        ? fullMemory(this.kernels, ...widths)
        : policyMemory(this.kernels, policy(block), ...widths);
    };
    return new KeyValueCache(this.#blocks.map((_, block) => memory(block)));
  }

  /**
   * Logits after tokens that follow those in the cache: a new buffer `[ids.length, vocabulary]`, or
   * with `last` only `[1, vocabulary]` after the last token. Without a cache the ids are one whole
   * sequence. `CONFLICT` for an id outside the vocabulary, `SHAPE` for no ids.
   */
  async logits(
    ids: ArrayLike<number>,
    options: { cache?: KeyValueCache; last?: boolean } = {},
  ): Promise<Values> {
    if (ids.length === 0) throw new LowbitError("SHAPE", "there are no tokens", { field: "ids" });
    let x = await this.#embedding.lookup(this.kernels, ids, options.cache?.position);
    const { hyperparameters, architecture: { graph } } = this.graph;
    const common = { graph, hyperparameters, kernels: this.kernels };
    try {
      for (const [i, part] of this.#blocks.entries()) {
        const memory = options.cache?.blocks[i];
        const block = { ...graph, block: [...this.graph.blocks[i].nodes] };
        const run = { ...common, graph: block, ...handles(part) };
        const y = runBlock({ ...run, x, tokens: ids.length, memory });
        x.free();
        x = y;
      }
      const hidden = x.length / ids.length;
      const rows = options.last ? 1 : ids.length;
      const tail = x.slice((ids.length - rows) * hidden, rows * hidden);
      return runHead({ ...common, ...handles(this.#head), x: tail, tokens: rows });
    } finally {
      x.free();
    }
  }

  /**
   * Makes tokens one after the other, until there are `tokens` of them or one of `stop` comes.
   *
   * A {@linkcode LowbitError}: `LIMIT` where prompt and tokens do not fit the context, `USAGE` for a
   * temperature without random numbers, `MEMORY` where the cache does not fit, and what
   * {@linkcode LanguageModel.logits} throws.
   */
  async *generate(args: GenerateArguments): AsyncGenerator<number, void, void> {
    const { prompt, tokens, temperature = 0, rng } = args;
    this.#checkGenerate(args);
    const stop = new Set(args.stop);
    const cache = args.cache ?? this.cache();
    try {
      let next = Array.from(prompt);
      for (let made = 0; made < tokens; made++) {
        while (next.length > CHUNK) {
          (await this.logits(next.slice(0, CHUNK), { cache, last: true })).free();
          next = next.slice(CHUNK);
        }
        using logits = await this.logits(next, { cache, last: true });
        const id = temperature === 0
          ? greedy(logits.array)
          : sample(logits.array, temperature, rng!);
        if (stop.has(id)) return;
        yield id;
        next = [id];
      }
    } catch (error) {
      throw outOfMemory(error, {
        file: this.graph.checkpoint.name,
        problem: `has no room left after ${cache.position} tokens`,
        advice: "shorten the prompt, ask for fewer tokens, or quantise the cache",
      });
    } finally {
      if (args.cache === undefined) cache.free();
    }
  }

  #checkGenerate({ prompt, tokens, temperature = 0, rng, cache }: GenerateArguments): void {
    const { context } = this.graph.hyperparameters;
    const length = prompt.length + (cache?.position ?? 0);
    if (length + tokens > context) {
      throw new LowbitError("LIMIT", `${length} tokens and ${tokens} more are over ${context}`, {
        file: this.graph.checkpoint.name,
        field: "context",
        advice: length < context ? `ask for at most ${context - length}` : "shorten the prompt",
      });
    }
    if (!(temperature >= 0) || (temperature > 0 && rng === undefined)) {
      throw new LowbitError("USAGE", "must be 0, or positive with random numbers", {
        field: "temperature",
      });
    }
  }

  /** Gives the memory back. */
  free(): void {
    for (const part of [...this.#blocks, this.#head]) part.free();
  }

  /** Gives the memory back. */
  [Symbol.dispose](): void {
    this.free();
  }
}

function handles({ parameter, linear }: LoadedPart): Pick<LoadedPart, "parameter" | "linear"> {
  return { parameter, linear };
}
