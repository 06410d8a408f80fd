/**
 * Evaluation: a checkpoint scored on windows of tokens by every evaluator, beside a reference.
 *
 * @module
 */

import {
  type Checkpoint,
  type Codecs,
  type Evaluator,
  type EventSink,
  type Kernels,
  LowbitError,
  type Plugin,
} from "../spec/mod.ts";
import { openModel } from "../models/architecture.ts";
import { score, StreamedModel } from "../models/evaluate.ts";
import { checkWindows } from "./calibration.ts";
import { type CacheChoice, type OpenCache, openCache } from "./cache.ts";
import { checkpointLinears, type LinearOptions } from "./executor.ts";
import { pluginContext } from "./pipeline.ts";

/** What an evaluation needs. */
export interface EvaluateArguments extends LinearOptions {
  /** The checkpoint. */
  checkpoint: Checkpoint;
  /** What it is compared with: a checkpoint, or a model that has read the same windows. */
  reference?: Checkpoint | StreamedModel;
  /** Windows of token ids; each position but the first of a window is scored. */
  windows: readonly Int32Array[];
  /** Plugins; those with an `evaluate` hook are used. */
  plugins: readonly Plugin[];
  /** The kernels. */
  kernels: Kernels;
  /** The codecs on these kernels. */
  codecs: Codecs;
  /** The first token of each window that is scored; 1, which is all, if absent. */
  from?: readonly number[];
  /** Evaluators beside those of plugins; their figures are theirs to keep. */
  evaluators?: readonly Evaluator[];
  /** The key/value cache of the model; in full precision if absent. The reference keeps its own. */
  cache?: CacheChoice;
  /** Takes the events of the run. */
  onEvent?: EventSink;
}

/**
 * The figures of all evaluators, by name. Only one block's weights are in memory at a time; the
 * windows' activations are.
 */
export async function evaluateModel(args: EvaluateArguments): Promise<Record<string, number>> {
  const { kernels, codecs } = args;
  const onWarning = (message: string) => args.onEvent?.({ event: "warning", message });
  const evaluators: Evaluator[] = args.plugins.filter((plugin) => plugin.evaluate).map((plugin) =>
    plugin.evaluate!({
      context: pluginContext(
        { kernels, codecs, onWarning, recipe: { seed: 0 } },
        plugin,
        {},
        plugin.meta.name,
      ),
    })
  );
  const cache = args.cache && await openCache({ ...args, onWarning }, args.cache);
  using model = await streamModel(args, args.checkpoint, "model", args, cache);
  const { reference } = args;
  const streamed = reference && !(reference instanceof StreamedModel)
    ? await streamModel(args, reference, "reference")
    : undefined;
  try {
    score(model, [...evaluators, ...args.evaluators ?? []], {
      from: args.from,
      reference: streamed ?? (reference as StreamedModel | undefined),
      progress: progressOf(args.onEvent, "score"),
    });
  } finally {
    streamed?.free();
  }
  const figures = Object.assign({}, ...evaluators.map((evaluator) => evaluator.result()));
  if (cache) Object.assign(figures, { cache_bytes: cache.bytes, cache_bytes_f32: cache.fullBytes });
  for (const [name, value] of Object.entries(figures)) {
    if (Number.isNaN(value)) {
      throw new LowbitError("NUMERICS", "is not a number", {
        file: args.checkpoint.name,
        field: name,
        advice: "the model's activations overflow with these weights",
      });
    }
  }
  return figures;
}

/** A model that has read windows, block by block; what is left is to ask it for probabilities. */
export async function streamModel(
  args: Pick<EvaluateArguments, "kernels" | "codecs" | "windows" | "onEvent">,
  checkpoint: Checkpoint,
  detail: string,
  options: LinearOptions = {},
  cache?: OpenCache,
): Promise<StreamedModel> {
  const { kernels, codecs, windows, onEvent } = args;
  const model = openModel(checkpoint);
  const { vocab: vocabulary, context } = model.hyperparameters;
  checkWindows(windows, { vocabulary, context }, "windows");
  const linears = checkpointLinears(kernels, codecs, checkpoint, options);
  const progress = progressOf(onEvent, detail);
  return await StreamedModel.run({
    model,
    kernels,
    windows,
    linears,
    cache: cache?.policy,
    progress,
  });
}

function progressOf(onEvent: EventSink | undefined, detail: string) {
  return (done: number, total: number) =>
    onEvent?.({ event: "progress", stage: "evaluate", done, total, detail });
}
