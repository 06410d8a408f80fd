/**
 * The run: block by block, statistics are collected, transforms applied and proven, weights
 * quantised, compensated and learned, packed and written, and the next block's inputs made.
 *
 * @module
 */

import type { FileHash, ImportanceMatrix, Output, Plan, Receipt } from "../spec/mod.ts";
import { type ModelGraph, openModel } from "../models/architecture.ts";
import { type ModelChange, rewriteCheckpoint } from "../models/rewrite.ts";
import { embeddingOf } from "./assign.ts";
import { checkWindows, hashWindows } from "./calibration.ts";
import { checkStatistics, hashStatistics } from "./collected.ts";
import { provideAutodiff } from "./differentiate.ts";
import { fisherDiagonals } from "./fisher.ts";
import { hashJson, hashSources } from "./hash.ts";
import { hashImportance, Importance, importanceConflicts, importanceOf } from "./importance.ts";
import { Journal } from "./journal.ts";
import { HeldTensors, learnModel, learnsModel } from "./learn_model.ts";
import { compilePipeline, type Pipeline } from "./pipeline.ts";
import { type PlannedParameter, preflight, refuseConflicts } from "./preflight.ts";
import { proveModel } from "./prove.ts";
import { makeReceipt, receiptText } from "./receipt.ts";
import { Run } from "./run.ts";
import type { QuantizeArguments } from "./run_arguments.ts";
import { targetArguments } from "./target_arguments.ts";
import { VERSION } from "./version.ts";

/** What a run gives. */
export interface QuantizeResult {
  /** The plan that was followed. */
  plan: Plan;
  /** The receipt, as written beside the output. */
  receipt: Receipt;
  /** The importance matrix that was used, given or collected. */
  importance?: ImportanceMatrix;
}

/** A run before it starts. */
export interface PlannedRun {
  /** The model as it is in the checkpoint. */
  original: ModelGraph;
  /** The model that is quantised: after transforms of the whole of it. */
  model: ModelGraph;
  /** What these transforms are. */
  changes: readonly ModelChange[];
  /** The steps. */
  pipeline: Pipeline;
  /** What `--dry-run` prints. */
  plan: Plan;
  /** Every tensor of the output. */
  parameters: PlannedParameter[];
  /** Whether activations have to live on disk. */
  spill: boolean;
}

/** Everything about a run before it starts: what `--dry-run` shows. Reads headers only. */
export function planRun(
  args: Omit<QuantizeArguments, "output"> & {
    /** Whether the run will have a work folder. */
    canSpill?: boolean;
    onWarning?: (message: string) => void;
  },
): PlannedRun {
  const { checkpoint, recipe, plugins, kernels, codecs, target, calibration = [] } = args;
  const original = openModel(checkpoint);
  const { vocab: vocabulary, context } = original.hyperparameters;
  if (args.calibration) checkWindows(calibration, { vocabulary, context }, "calibration");
  const onWarning = args.onWarning ?? (() => {});
  const { linears } = original;
  const { importance } = args;
  const pipeline = compilePipeline({
    recipe,
    plugins,
    linears,
    embedding: embeddingOf(original),
    tied: original.tied.get("head") === "embedding",
    importanceGiven: importance !== undefined,
    kernels,
    codecs,
    onWarning,
  });
  if (importance) {
    pipeline.conflicts.push(...importanceConflicts(pipeline));
    for (const parameter of original.parameters) {
      if (parameter.shape.length === 2) importanceOf(importance, parameter);
    }
  }
  const changes = changesOf(original, pipeline);
  const model = changes.length > 0 ? openModel(rewriteCheckpoint(original, changes)) : original;
  const planned = preflight({
    model,
    pipeline,
    target,
    windows: calibration.map((window) => window.length),
    maxMemory: args.maxMemory,
    // Without a journal there is no place for activations.
    canSpill: !learnsModel(pipeline) && (args.work !== undefined || args.canSpill === true),
  });
  return { original, model, pipeline, changes, ...planned };
}

/** What the steps of a pipeline want of the whole model. */
function changesOf(original: ModelGraph, { steps, schemes }: Pipeline): ModelChange[] {
  const { hyperparameters, linears, tied, architecture: { graph, edges } } = original;
  const model = { hyperparameters, linears, tied, schemes, graph: graph.block, edges };
  return steps.flatMap(({ plugin, context }) => {
    const ops = plugin.transformModel?.({ context, model }) ?? [];
    return ops.length > 0 ? [{ plugin: plugin.meta.name, ops }] : [];
  });
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
    const planned = planRun({ ...args, onWarning });
    const { model, pipeline, plan, parameters, spill } = planned;
    refuseConflicts(plan);
    const { statistics: given } = args;
    if (given) checkStatistics(given, model, pipeline);
    const statistics = given && { tokens: given.tokens, sha256: await hashStatistics(given) };
    const files = await hashSources(args.checkpoint.files);
    const held = learnsModel(pipeline) ? new HeldTensors() : undefined;
    const { work } = args;
    const journal = work && !held
      ? new Journal(work, journalKey({ ...args, statistics }, planned, files))
      : undefined;
    await provideAutodiff(pipeline.steps, args.autodiff);
    await proveChanges(args, planned);
    const fisher = await fisherDiagonals({ ...args, model, pipeline });
    const writer = await args.target.create(targetArguments(
      model,
      args.recipe,
      args.output,
      parameters.map(({ tensor }) => tensor),
      args.target.naming === "gguf",
    ));
    const importance = new Importance(model, args.importance);
    const common = {
      ...{ model, pipeline, parameters, journal, spill },
      ...{ warnings, fisher, importance },
    };
    const run = new Run(args, { ...common, writer: held ?? writer });
    await run.all();
    if (held) {
      await learnModel({ ...args, ...common, held, reports: run.reports });
      await held.release(writer);
    }
    await writer.finish();
    const receipt = makeReceipt({
      ...args,
      statistics,
      files,
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
    const { calibration = [], calibrationSource } = args;
    const datasets = calibrationSource?.files.map(({ name }) => name) ?? [];
    const used = args.importance ?? importance.collected(calibration, datasets);
    return { plan, receipt, ...(used && { importance: used }) };
  } catch (error) {
    await args.output.abort();
    throw error;
  }
}

/** Proves that each plugin's transforms of the whole model leave its predictions as they were. */
async function proveChanges(
  { kernels, calibration }: QuantizeArguments,
  { original, changes }: PlannedRun,
): Promise<void> {
  let before = original;
  for (const [i, { plugin }] of changes.entries()) {
    const rewritten = openModel(rewriteCheckpoint(original, changes.slice(0, i + 1)));
    await proveModel({
      original: before,
      rewritten,
      plugin,
      kernels,
      window: calibration?.[0],
    });
    before = rewritten;
  }
}

/** What decides the bytes of a run: a journal goes on only where all of it is the same. */
function journalKey(
  args: Omit<QuantizeArguments, "statistics"> & Pick<Receipt, "statistics">,
  planned: PlannedRun,
  files: FileHash[],
): string {
  const { recipe, target, kernels, calibration = [] } = args;
  return hashJson({
    lowbit: VERSION,
    files,
    recipe,
    target: target.id,
    kernels: kernels.name,
    plugins: planned.pipeline.steps.map(({ plugin: { meta } }) => [meta.name, meta.version]),
    schemes: [...planned.pipeline.schemes],
    tensors: planned.plan.tensors,
    calibration: planned.pipeline.needsCalibration
      ? [hashWindows(calibration), args.calibrationSource ?? null]
      : null,
    importance: args.importance ? hashImportance(args.importance) : null,
    statistics: args.statistics?.sha256 ?? null,
  });
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
