/**
 * The run: block by block, statistics are collected, transforms applied and proven, weights
 * quantised, compensated and learned, packed and written, and the next block's inputs made.
 *
 * @module
 */

import type { FileHash, Output, Plan, Receipt } from "../spec/mod.ts";
import { type ModelGraph, openModel } from "../models/architecture.ts";
import { checkWindows } from "./calibration.ts";
import { hashSources } from "./hash.ts";
import { compilePipeline, type Pipeline } from "./pipeline.ts";
import { type PlannedParameter, preflight, refuseConflicts } from "./preflight.ts";
import { makeReceipt, receiptText } from "./receipt.ts";
import { type QuantizeArguments, Run } from "./run.ts";
import { targetArguments } from "./target_arguments.ts";

/** What a run gives. */
export interface QuantizeResult {
  /** The plan that was followed. */
  plan: Plan;
  /** The receipt, as written beside the output. */
  receipt: Receipt;
}

/** Everything about a run before it starts: what `--dry-run` shows. Reads headers only. */
export function planRun(
  args: Omit<QuantizeArguments, "output"> & { onWarning?: (message: string) => void },
): { model: ModelGraph; pipeline: Pipeline; plan: Plan; parameters: PlannedParameter[] } {
  const { checkpoint, recipe, plugins, kernels, codecs, target, calibration = [] } = args;
  const model = openModel(checkpoint);
  const { vocab: vocabulary, context } = model.hyperparameters;
  if (args.calibration) checkWindows(calibration, { vocabulary, context }, "calibration");
  const onWarning = args.onWarning ?? (() => {});
  const { linears } = model;
  const pipeline = compilePipeline({ recipe, plugins, linears, kernels, codecs, onWarning });
  const calibrationTokens = calibration.reduce((sum, window) => sum + window.length, 0);
  const planned = preflight({
    model,
    pipeline,
    target,
    calibrationTokens,
    maxMemory: args.maxMemory,
  });
  return { model, pipeline, ...planned };
}

/**
 * Quantises a checkpoint. Throws one `CONFLICT` for everything that the pre-flight finds; on any
 * error nothing is left at the output.
 */
export async function quantizeModel(args: QuantizeArguments): Promise<QuantizeResult> {
  const warnings: string[] = [];
  const onWarning = (message: string) => {
    warnings.push(message);
    args.onEvent?.({ event: "warning", message });
  };
  try {
    const { model, pipeline, plan, parameters } = planRun({ ...args, onWarning });
    refuseConflicts(plan);
    const writer = await args.target.create(targetArguments(
      model,
      args.recipe,
      args.output,
      parameters.map(({ tensor }) => tensor),
      args.target.naming === "gguf",
    ));
    const run = new Run(args, model, pipeline, parameters, writer);
    await run.all();
    await writer.finish();
    const receipt = await makeReceipt({
      ...args,
      model,
      pipeline,
      tensors: run.reports,
      warnings,
      written: await hashOutput(args.output),
    });
    if (args.target.output === "directory") {
      const sink = await args.output.file("receipt.json");
      await sink.write(new TextEncoder().encode(receiptText(receipt)));
      await sink.close();
    }
    await args.output.commit();
    return { plan, receipt };
  } catch (error) {
    await args.output.abort();
    throw error;
  }
}

/** Hashes of what was written, read back. */
async function hashOutput(output: Output): Promise<FileHash[]> {
  const sources = await output.written();
  try {
    return await hashSources(sources);
  } finally {
    for (const source of sources) source.close();
  }
}
