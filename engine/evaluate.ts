/**
 * Evaluation: a checkpoint scored on windows of tokens by every evaluator, beside a reference.
 *
 * @module
 */

import type {
  Checkpoint,
  Codecs,
  Evaluator,
  EventSink,
  Kernels,
  Plugin,
  RunEvent,
} from "../spec/mod.ts";
import { openModel } from "../models/architecture.ts";
import { score, StreamedModel } from "../models/evaluate.ts";
import { checkWindows } from "./calibration.ts";
import { checkpointLinears } from "./executor.ts";
import { pluginContext } from "./pipeline.ts";

/** What an evaluation needs. */
export interface EvaluateArguments {
  /** The checkpoint. */
  checkpoint: Checkpoint;
  /** The checkpoint that it is compared with. */
  reference?: Checkpoint;
  /** Windows of token ids; each position but the first of a window is scored. */
  windows: readonly Int32Array[];
  /** Plugins; those with an `evaluate` hook are used. */
  plugins: readonly Plugin[];
  /** The kernels. */
  kernels: Kernels;
  /** The codecs on these kernels. */
  codecs: Codecs;
  /** Takes the events of the run. */
  onEvent?: EventSink;
}

/**
 * The figures of all evaluators, by name. Only one block's weights are in memory at a time; the
 * windows' activations are.
 */
export async function evaluateModel(args: EvaluateArguments): Promise<Record<string, number>> {
  const { kernels, codecs, windows } = args;
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
  const progress = (detail: string) => (done: number, total: number) =>
    args.onEvent?.({ event: "progress", stage: "evaluate", done, total, detail } as RunEvent);
  const stream = async (checkpoint: Checkpoint, detail: string) => {
    const model = openModel(checkpoint);
    const { vocab: vocabulary, context } = model.hyperparameters;
    checkWindows(windows, { vocabulary, context }, "windows");
    const linears = checkpointLinears(kernels, codecs, checkpoint);
    return await StreamedModel.run({
      model,
      kernels,
      windows,
      linears,
      progress: progress(detail),
    });
  };
  using model = await stream(args.checkpoint, "model");
  using reference = args.reference && await stream(args.reference, "reference");
  score(kernels, model, reference, { evaluators, progress: progress("score") });
  return Object.assign({}, ...evaluators.map((evaluator) => evaluator.result()));
}
