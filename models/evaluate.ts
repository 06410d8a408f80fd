/**
 * Scoring a model on windows of tokens with bounded memory: the windows go through one block after
 * the other, so that only one block's weights are in memory, and log-probabilities are made for a
 * few rows at a time.
 *
 * @module
 */

import {
  type CachePolicy,
  type Evaluator,
  type Kernels,
  LowbitError,
  type ScoredChunk,
} from "../spec/mod.ts";
import { checkPredicts, memoryWidths, type ModelGraph } from "./architecture.ts";
import { policyMemory } from "./cache.ts";
import { openEmbedding } from "./embedding.ts";
import { runBlock, runHead, type Values } from "./interpreter.ts";
import { type LinearFactory, type LoadedPart, loadPart } from "./linear.ts";

/** What {@linkcode StreamedModel.run} needs. */
export interface StreamArguments {
  /** The model, from `openModel`. */
  model: ModelGraph;
  /** The kernels. */
  kernels: Kernels;
  /** Windows of token ids; each is a sequence of its own. */
  windows: readonly Readonly<Int32Array>[];
  /** How linears are computed; full precision if absent. */
  linears?: LinearFactory;
  /** The key/value cache of a block, for one window; full precision if absent. */
  cache?(block: number): CachePolicy;
  /** Called after each block: how many are done, and of how many. */
  progress?(done: number, total: number): void;
}

/**
 * The embeddings of windows: buffers `[tokens, hidden]`, one a window. A {@linkcode LowbitError}:
 * `CONFLICT` for ids outside the vocabulary, `LIMIT` for a window that is empty or longer than the
 * context of the model.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { embeddedPath } from "../embedded/mod.ts";
 * import { openCheckpoint } from "../formats/open.ts";
 * import { referenceKernels } from "../kernels-wasm/reference.ts";
 * import { openModel } from "./architecture.ts";
 * import { embedWindows } from "./evaluate.ts";
 * const checkpoint = await openCheckpoint(embeddedPath("model"));
 * const windows = [Int32Array.of(7, 9), Int32Array.of(1, 2, 3)];
 * const states = await embedWindows(openModel(checkpoint), referenceKernels(), windows);
 * assertEquals(states.map((x) => x.length), [2 * 256, 3 * 256]);
 * for (const x of states) x.free();
 * checkpoint.close();
 * ```
 */
export async function embedWindows(
  model: ModelGraph,
  kernels: Kernels,
  windows: readonly Readonly<Int32Array>[],
): Promise<Values[]> {
  const embedding = openEmbedding(model);
  const { context } = model.hyperparameters;
  const wrong = windows.find((ids) => ids.length === 0 || ids.length > context);
  if (wrong) {
    throw new LowbitError("LIMIT", `one has ${wrong.length} tokens; 1 to ${context} are possible`, {
      file: model.checkpoint.name,
      field: "windows",
    });
  }
  const states: Values[] = [];
  try {
    for (const ids of windows) states.push(await embedding.lookup(kernels, ids));
  } catch (error) {
    for (const x of states) x.free();
    throw error;
  }
  return states;
}

/**
 * A model that has read its windows: what is left is the head, row by row.
 *
 * @example
 * ```ts
 * import type { Evaluator, Kernels } from "../spec/mod.ts";
 * import { checkPredicts, memoryWidths, type ModelGraph } from "./architecture.ts";
 * import { score, StreamedModel } from "./evaluate.ts";
 *
 * async function judge(
 *   args: { model: ModelGraph; kernels: Kernels; windows: Int32Array[] },
 *   evaluator: Evaluator,
 * ) {
 *   using streamed = await StreamedModel.run(args);
 *   score(streamed, [evaluator]);
 *   return evaluator.result();
 * }
 * ```
 */
export class StreamedModel implements Disposable {
  /** The windows. */
  readonly windows: readonly Readonly<Int32Array>[];
  readonly #model: ModelGraph;
  readonly #kernels: Kernels;
  readonly #hidden: readonly Values[];
  readonly #head: LoadedPart;

  /**
   * Takes over the residual streams behind the last block, `[tokens, hidden]` for each window, and
   * the parameters after the blocks.
   */
  constructor(args: {
    model: ModelGraph;
    kernels: Kernels;
    windows: readonly Readonly<Int32Array>[];
    hidden: readonly Values[];
    head: LoadedPart;
  }) {
    this.#model = args.model;
    this.#kernels = args.kernels;
    this.windows = args.windows;
    this.#hidden = args.hidden;
    this.#head = args.head;
  }

  /** Reads the windows, block by block. */
  static async run(args: StreamArguments): Promise<StreamedModel> {
    checkPredicts(args.model);
    const { model, kernels, windows, linears, cache, progress } = args;
    const { hyperparameters, architecture: { graph } } = model;
    const { blocks } = hyperparameters;
    const hidden = await embedWindows(model, kernels, windows);
    try {
      for (let block = 0; block < blocks; block++) {
        const { nodes } = model.blocks[block];
        const widths = memoryWidths(model, block);
        using part = await loadPart({ model, kernels, nodes, block, linears });
        for (const [i, x] of hidden.entries()) {
          using memory = cache && policyMemory(kernels, cache(block), ...widths);
          const { parameter, linear } = part;
          const tokens = windows[i].length;
          const run = {
            graph: { ...graph, block: [...nodes] },
            kernels,
            hyperparameters,
            parameter,
            linear,
            tokens,
          };
          hidden[i] = runBlock({ ...run, x, memory });
          x.free();
        }
        progress?.(block + 1, blocks);
      }
      const head = await loadPart({ model, kernels, nodes: graph.after, linears });
      return new StreamedModel({ model, kernels, windows, hidden, head });
    } catch (error) {
      for (const x of hidden) x.free();
      throw error;
    }
  }

  /** Size of the vocabulary. */
  get vocabulary(): number {
    return this.#model.hyperparameters.vocab;
  }

  /** Log-probabilities after `count` positions from `start`: a new buffer `[count, vocabulary]`. */
  rows(window: number, start: number, count: number): Values {
    const { hyperparameters, architecture: { graph } } = this.#model;
    const { parameter, linear } = this.#head;
    const state = this.#hidden[window];
    const width = state.length / this.windows[window].length;
    const logits = runHead({
      graph,
      kernels: this.#kernels,
      hyperparameters,
      parameter,
      linear,
      x: state.slice(start * width, count * width),
      tokens: count,
    });
    this.#kernels.logSoftmax({ x: logits, rows: count, columns: this.vocabulary });
    return logits;
  }

  /** Gives the memory back. */
  free(): void {
    for (const x of this.#hidden) x.free();
    this.#head.free();
  }

  /** Gives the memory back. */
  [Symbol.dispose](): void {
    this.free();
  }
}

/** Rows of log-probabilities in memory at a time. */
const ROWS = 128;

/** How {@linkcode score} goes about it. */
export interface ScoreOptions {
  /** A model on the same windows, whose log-probabilities evaluators are shown as well. */
  reference?: StreamedModel;
  /** Rows of log-probabilities in memory at a time; 128 if absent. */
  rows?: number;
  /** The first token of each window that is scored, by its place; 1, which is all, if absent. */
  from?: readonly number[];
  /** Called after each window: how many are done, and of how many. */
  progress?(done: number, total: number): void;
}

/**
 * Shows evaluators every scored position of a model's windows: every token but the first of each
 * window, or from the place in `from` on, is predicted from those before it.
 *
 * A {@linkcode LowbitError}: `SHAPE` where there is nothing to predict, `CONFLICT` where the reference
 * has another vocabulary or other windows.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { embeddedPath } from "../embedded/mod.ts";
 * import { openCheckpoint } from "../formats/open.ts";
 * import { loadKernels } from "../kernels-wasm/mod.ts";
 * import { openModel } from "./architecture.ts";
 * import { score, StreamedModel } from "./evaluate.ts";
 *
 * const checkpoint = await openCheckpoint(embeddedPath("model"));
 * const model = openModel(checkpoint), kernels = await loadKernels();
 * using streamed = await StreamedModel.run({ model, kernels, windows: [Int32Array.of(7, 9, 8)] });
 * const seen: number[] = [];
 * score(streamed, [{ add: ({ targets }) => void seen.push(...targets), result: () => ({}) }]);
 * assertEquals(seen, [9, 8]); // what has to be predicted
 * checkpoint.close();
 * ```
 */
export function score(
  model: StreamedModel,
  evaluators: readonly Evaluator[],
  options: ScoreOptions = {},
): void {
  if (model.windows.every((ids) => ids.length < 2)) {
    throw new LowbitError("SHAPE", "need at least two tokens", { field: "windows" });
  }
  if (options.reference) checkReference(model, options.reference);
  for (const chunk of chunks(model, options)) {
    for (const evaluator of evaluators) evaluator.add(chunk);
  }
}

/** The scored positions of all windows, some rows at a time; a chunk lives until the next one. */
function* chunks(
  model: StreamedModel,
  { reference, rows: most = ROWS, from, progress }: ScoreOptions,
): Generator<ScoredChunk> {
  const { windows, vocabulary } = model;
  for (const [window, ids] of windows.entries()) {
    for (let start = (from?.[window] ?? 1) - 1; start < ids.length - 1; start += most) {
      const rows = Math.min(most, ids.length - 1 - start);
      const targets = ids.slice(start + 1, start + 1 + rows);
      using logProbabilities = model.rows(window, start, rows);
      using other = reference?.rows(window, start, rows);
      yield { rows, vocabulary, logProbabilities, reference: other, targets, window, start };
    }
    progress?.(window + 1, windows.length);
  }
}

function checkReference(model: StreamedModel, reference: StreamedModel): void {
  const fail = (field: string, problem: string) => new LowbitError("CONFLICT", problem, { field });
  if (model.vocabulary !== reference.vocabulary) {
    const sizes = `${reference.vocabulary} tokens, the model ${model.vocabulary}`;
    throw fail("reference", `has ${sizes}`);
  }
  const same = model.windows.length === reference.windows.length &&
    model.windows.every((ids, i) =>
      ids.length === reference.windows[i].length &&
      ids.every((id, j) => id === reference.windows[i][j])
    );
  if (!same) throw fail("reference", "was run on other windows");
}
