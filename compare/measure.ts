/**
 * One recipe of a comparison: quantised, scored, looked into.
 *
 * @module
 */

import type { SharedStatistics } from "../engine/shared_statistics.ts";
import { memoryOutput } from "../formats/containers/output.ts";
import { memorySource } from "../formats/containers/source.ts";
import { type ModelGraph, openModel } from "../models/architecture.ts";
import type { StreamedModel } from "../models/evaluate.ts";
import type { Checkpoint, Plugin, Receipt, Recipe } from "../spec/mod.ts";
import { createWorkbench, type Workbench } from "../workbench.ts";
import type { Entry, Histogram, LinearError, Moment } from "./document.ts";
import { joulesBetween, readEnergy } from "./energy.ts";
import { captureInputs, viewTensor } from "./look.ts";
import { TokenLosses } from "./statistics.ts";

/** What is measured, and what all recipes share. */
export interface MeasureArguments {
  /** The workbench. */
  lowbit: Workbench;
  /** The model. */
  model: Checkpoint;
  /** The model, having read the windows. */
  reference: StreamedModel;
  /** Windows of token ids, and the first token of each that is scored. */
  windows: readonly Int32Array[];
  /** See {@linkcode windows}. */
  from: readonly number[];
  /** Calibration windows, if the recipe wants any. */
  calibration?: readonly Int32Array[];
  /** Statistics that recipes share. */
  shared?: SharedStatistics;
  /** The tensor that is looked at. */
  tensor: { id: string; histogram: Histogram };
  /** The inputs that are looked at. */
  inputs: { block: number; role: string };
  /** A folder to leave the checkpoint in. */
  out?: string;
}

/** What is kept of a recipe: the entry without what depends on others, and its losses by window. */
export interface Measured {
  /** The entry. */
  entry: Omit<Entry, "name" | "key" | "cached" | "pareto">;
  /** Losses of tokens, by window. */
  losses: number[][];
}

/** Moments kept of a run. */
const MOMENTS = 120;

/** Quantises by a recipe, scores the result and looks into it. `watch` is told of every moment. */
export async function measureRecipe(
  args: MeasureArguments,
  recipe: Recipe,
  watch: { begin(sink: (stage: string) => void): void; end(): void },
): Promise<Measured> {
  const { lowbit, model, windows, from, reference, calibration, shared } = args;
  const started = performance.now(), before = readEnergy();
  const timeline: Moment[] = [];
  const moment = (stage: string) =>
    timeline.push({
      seconds: round((performance.now() - started) / 1000),
      stage,
      rss_bytes: Deno.memoryUsage().rss,
    });
  moment("start");
  watch.begin(moment);
  const memory = args.out === undefined ? memoryOutput(recipe.name) : undefined;
  try {
    const { plan, receipt } = await lowbit.quantize({
      model,
      recipe,
      out: memory ?? args.out!,
      overwrite: true,
      calibration,
      shared,
    });
    moment("quantize");
    const quantized = performance.now();
    const peak = Math.max(...timeline.map(({ rss_bytes }) => rss_bytes));
    const checkpoint = await lowbit.open(
      memory ? [...memory.files].map(([name, bytes]) => memorySource(name, bytes)) : args.out!,
    );
    try {
      const losses = new TokenLosses();
      const figures = await lowbit.evaluate({
        model: checkpoint,
        windows,
        from,
        reference,
        evaluators: [losses],
      });
      moment("evaluate");
      const evaluated = performance.now();
      const { id, histogram } = args.tensor;
      const tensor = await viewTensor(lowbit, checkpoint, id, histogram);
      const { block, role } = args.inputs;
      const grids = transforms(lowbit.plugins, recipe)
        ? await captureInputs(
          lowbit,
          checkpoint,
          windows[0],
          (b, r) => b === block && r === role,
          block,
        )
        : undefined;
      const joules = joulesBetween(before, readEnergy());
      const seconds = {
        quantize: round((quantized - started) / 1000),
        evaluate: round((evaluated - quantized) / 1000),
      };
      return {
        losses: losses.windows,
        entry: {
          bits_per_weight: plan.bits_per_weight,
          bytes: receipt.output.reduce((sum, file) => sum + file.bytes, 0),
          figures,
          seconds,
          peak_rss_bytes: peak,
          tokens_per_second: round(figures.tokens / Math.max(1e-3, seconds.evaluate)),
          ...(joules !== undefined && { energy_joules: round(joules) }),
          linears: linearErrors(openModel(model), receipt),
          tensor,
          ...(grids?.size && { activations: grids.values().next().value }),
          timeline: thin(timeline, MOMENTS),
          receipt,
        },
      };
    } finally {
      checkpoint.close();
    }
  } finally {
    watch.end();
  }
}

/** Whether a recipe has a step that transforms activations. */
function transforms(plugins: readonly Plugin[], recipe: Recipe): boolean {
  return recipe.pipeline.some(({ use }) => {
    const plugin = plugins.find(({ meta }) => meta.name === use);
    return plugin?.transform !== undefined || plugin?.transformModel !== undefined ||
      plugin?.meta.transforms === true;
  });
}

/** Error by block and role, from the report of each tensor. */
function linearErrors(model: ModelGraph, { tensors }: Receipt): LinearError[] {
  const roles = new Map(model.linears.map((linear) => [linear.id, linear]));
  const byName = new Map(
    model.parameters.flatMap(({ id, names }) => Object.values(names).map((name) => [name, id])),
  );
  return tensors.flatMap(({ name, error, bits_per_weight }) => {
    const linear = roles.get(byName.get(name) ?? "");
    if (!error || linear?.block === undefined) return [];
    const { block, role } = linear;
    // Without noise there is no ratio; 200 dB is beyond what f32 tells apart.
    const sqnr = Number.isFinite(error.sqnr_db) ? error.sqnr_db : 200;
    return [{ block, role, sqnr_db: round(sqnr), bits: round(bits_per_weight) }];
  });
}

function round(value: number): number {
  return Number(value.toFixed(3));
}

/** At most `count` of some items, evenly spread, the last one included. */
function thin<T>(items: readonly T[], count: number): T[] {
  if (items.length <= count) return [...items];
  return Array.from(
    { length: count },
    (_, i) => items[Math.round(i * (items.length - 1) / (count - 1))],
  );
}

/** A workbench whose events also go to whoever measures. */
export async function watchedWorkbench(
  options: Parameters<typeof createWorkbench>[0] & object,
): Promise<{ lowbit: Workbench; watch: Parameters<typeof measureRecipe>[2] }> {
  let sink: ((stage: string) => void) | undefined;
  const { onEvent } = options;
  const lowbit = await createWorkbench({
    ...options,
    onEvent(event) {
      if (event.event === "progress") sink?.(event.stage);
      onEvent?.(event);
    },
  });
  return {
    lowbit,
    watch: {
      begin: (to) => void (sink = to),
      end: () => void (sink = undefined),
    },
  };
}
