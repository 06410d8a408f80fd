/**
 * The proof that transforms of a whole model leave what it computes as it was.
 *
 * @module
 */

import type { Kernels } from "../spec/mod.ts";
import type { ModelGraph } from "../models/architecture.ts";
import { StreamedModel } from "../models/evaluate.ts";
import { proveEqual } from "./checks.ts";

/** Tokens of the window that a proof runs on. */
const LENGTH = 32;

/**
 * Runs both models on a few tokens, block by block, and throws `PLUGIN` if their predictions differ
 * by more than rounding. Without calibration the tokens are spread over the vocabulary.
 */
export async function proveModel(args: {
  original: ModelGraph;
  rewritten: ModelGraph;
  plugin: string;
  kernels: Kernels;
  window?: Int32Array;
}): Promise<void> {
  const { original, rewritten, plugin, kernels } = args;
  const { vocab, context } = original.hyperparameters;
  const length = Math.min(LENGTH, context);
  const window = args.window?.slice(0, length) ??
    Int32Array.from({ length }, (_, i) => Math.floor((i * vocab) / length));
  const predict = async (model: ModelGraph) => {
    using streamed = await StreamedModel.run({ model, kernels, windows: [window] });
    using rows = streamed.rows(0, 0, window.length);
    return rows.array.slice();
  };
  proveEqual(await predict(original), await predict(rewritten), plugin, "model");
}
