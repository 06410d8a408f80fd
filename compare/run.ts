/**
 * A comparison: any number of recipes on one model and one text, over shared statistics and one
 * reading of the reference.
 *
 * @module
 */

import { hashWindows } from "../engine/calibration.ts";
import { hashSources } from "../engine/hash.ts";
import { SharedStatistics } from "../engine/shared_statistics.ts";
import { VERSION } from "../engine/version.ts";
import { openModel } from "../models/architecture.ts";
import { LowbitError, type Recipe, type StatisticName } from "../spec/mod.ts";
import type { Workbench } from "../workbench.ts";
import { EntryCache } from "./cache.ts";
import type { Comparison, Difference, Entry, Protocol } from "./document.ts";
import { captureInputs, heaviestTails, rolesBehindNorms } from "./look.ts";
import { type Measured, measureRecipe } from "./measure.ts";
import { pairedDifference, paretoFront, TokenLosses } from "./statistics.ts";

/** What is compared. */
export interface CompareArguments {
  /** The workbench, from `watchedWorkbench`, and how its events are watched. */
  lowbit: Workbench;
  /** See {@linkcode lowbit}. */
  watch: Parameters<typeof measureRecipe>[2];
  /** The model: a path, or `embedded`. */
  model: string;
  /** The recipes. */
  recipes: readonly Recipe[];
  /** Calibration windows by name of the set; one nameless set if absent: the shipped text. */
  calibrations?: readonly { name: string; windows?: readonly Int32Array[] }[];
  /** The text: its name and windows, and the first token of each that is scored. */
  text: { name: string; windows: Int32Array[]; from: number[] };
  /** How the windows were made. */
  protocol: Protocol;
  /** The tensor that is looked at; one with heavy tails if absent. */
  tensor?: string;
  /** Where entries are kept; nowhere if absent. */
  cache?: string;
  /** A folder to leave each checkpoint in, by name of the recipe. */
  out?: string;
  /** Told before each recipe, and after the last one. */
  progress?(done: number, total: number, name: string): void;
}

/** Compares recipes. One that fails is listed with its error; the others go on. */
export async function compareRecipes(args: CompareArguments): Promise<Comparison> {
  const { lowbit, text, recipes } = args;
  const model = await lowbit.open(args.model);
  try {
    const graph = openModel(model);
    const tensor = await heaviestTails(graph, args.tensor);
    const activations = await widestInputs(lowbit, args);
    using reference = await lowbit.stream(model, text.windows);
    const own = new TokenLosses();
    const full = await lowbit.evaluate({
      model,
      windows: text.windows,
      from: text.from,
      evaluators: [own],
    });
    const files = await hashSources(model.files);
    const cache = new EntryCache<Measured>(args.cache);
    const sets = args.calibrations ?? [{ name: "" }];
    const measured: { entry: Entry; losses: number[][] }[] = [];
    const failures: Comparison["failures"] = [];
    const total = recipes.length * sets.length;
    let done = 0;
    for (const set of sets) {
      const shared = new SharedStatistics(model, statisticsOf(lowbit, recipes));
      for (const recipe of recipes) {
        const name = set.name ? `${recipe.name} (${set.name})` : recipe.name;
        args.progress?.(done++, total, name);
        try {
          const needs = lowbit.needsCalibration(model, recipe);
          const calibration = needs
            ? set.windows ?? await lowbit.calibration(model, recipe)
            : undefined;
          const key = EntryCache.key({
            files,
            recipe,
            calibration: calibration && hashWindows(calibration),
            windows: hashWindows(text.windows),
            from: text.from,
            tensor: tensor.id,
            kernels: lowbit.kernels.name,
          });
          const kept = await cache.get(key);
          const inputs = { block: activations.block, role: activations.role };
          const found = kept ?? await measureRecipe(
            {
              lowbit,
              model,
              reference,
              ...{ windows: text.windows, from: text.from },
              calibration,
              shared: sameLength(recipes) ? shared : undefined,
              tensor,
              inputs,
              out: args.out && `${args.out}/${name.replace(/[^a-z0-9_.-]+/g, "-")}`,
            },
            recipe,
            args.watch,
          );
          if (!kept) await cache.set(key, found);
          const pareto = { kl: false, perplexity: false };
          const entry = { name, key, cached: kept !== undefined, ...found.entry, pareto };
          measured.push({ entry, losses: found.losses });
        } catch (error) {
          if (!(error instanceof LowbitError) || error.code === "IO") throw error;
          failures.push({ name, error: error.line() });
        }
      }
    }
    args.progress?.(total, total, "");
    const entries = measured.map(({ entry }) => entry);
    markFronts(entries);
    const elements = graph.parameters.reduce(
      (n, { shape }) => n + shape.reduce((a, b) => a * b),
      0,
    );
    const bytes = [...model.tensors.values()].reduce((sum, tensor) => sum + tensor.bytes, 0);
    const { id: _, ...shown } = tensor;
    return {
      comparison: 1,
      lowbit: VERSION,
      kernels: lowbit.kernels.name,
      threads: lowbit.kernels.threads,
      model: {
        name: args.model.split(/[\\/]/).at(-1)!,
        architecture: graph.architecture.id,
        files,
        parameters: elements,
        bytes,
        bits_per_weight: 8 * bytes / elements,
      },
      text: { name: text.name, tokens: full.tokens, sha256: hashWindows(text.windows) },
      protocol: args.protocol,
      reference: full,
      entries,
      failures,
      differences: differences({ name: "full precision", losses: own.windows }, measured),
      ...(sets.length > 1 && { calibration: spreads(recipes, entries) }),
      tensor: shown,
      activations,
    };
  } finally {
    model.close();
  }
}

/** The inputs behind a norm whose largest channel stands out the most. */
async function widestInputs(
  lowbit: Workbench,
  args: CompareArguments,
): Promise<Comparison["activations"]> {
  const model = await lowbit.open(args.model);
  try {
    const roles = rolesBehindNorms(openModel(model));
    const [window] = args.text.windows;
    const grids = await captureInputs(lowbit, model, window, (_, role) => roles.includes(role));
    const [place, grid] = [...grids].reduce((a, b) =>
      b[1].max_over_median > a[1].max_over_median ? b : a
    );
    const [block, role] = place.split(" ");
    return { block: Number(block), role, grid };
  } finally {
    model.close();
  }
}

/** What the steps of any recipe want to know of the inputs of linears. */
function statisticsOf(lowbit: Workbench, recipes: readonly Recipe[]): Set<StatisticName> {
  const used = new Set(recipes.flatMap(({ pipeline }) => pipeline.map(({ use }) => use)));
  const plugins = lowbit.plugins.filter(({ meta }) => used.has(meta.name));
  return new Set(plugins.flatMap(({ meta }) => meta.needs.statistics));
}

/** Whether recipes are calibrated on windows of the same number and length, so that they can share. */
function sameLength(recipes: readonly Recipe[]): boolean {
  const [first] = recipes;
  return recipes.every(({ calibration: { samples, length } }) =>
    samples === first.calibration.samples && length === first.calibration.length
  );
}

function markFronts(entries: readonly Entry[]): void {
  for (const figure of ["kl", "perplexity"] as const) {
    const front = paretoFront(
      entries.map((entry) => ({ size: entry.bytes, cost: entry.figures[figure] })),
    );
    entries.forEach((entry, i) => entry.pareto[figure] = front[i]);
  }
}

/** Pairs are squares of the number of recipes; beyond so many only those with the model are made. */
const PAIRED = 64;

function differences(
  reference: { name: string; losses: number[][] },
  measured: readonly { entry: Entry; losses: number[][] }[],
): Difference[] {
  const all = measured.map(({ entry, losses }) => ({ name: entry.name, losses }));
  const pairs = all.map((a) => pairedDifference(a, reference));
  if (all.length > PAIRED) return pairs;
  all.forEach((a, i) => all.slice(i + 1).forEach((b) => pairs.push(pairedDifference(a, b))));
  return pairs;
}

/** Mean and spread of KL over calibration sets, by recipe. */
function spreads(
  recipes: readonly Recipe[],
  entries: readonly Entry[],
): NonNullable<Comparison["calibration"]> {
  return recipes.flatMap(({ name }) => {
    const kls = entries.filter((entry) => entry.name.startsWith(`${name} (`))
      .map(({ figures }) => figures.kl);
    if (kls.length < 2) return [];
    const mean = kls.reduce((a, b) => a + b) / kls.length;
    const variance = kls.reduce((sum, kl) => sum + (kl - mean) ** 2, 0) / (kls.length - 1);
    return [{
      recipe: name,
      sets: kls.length,
      mean_kl: mean,
      sd_kl: Math.sqrt(variance),
      range_kl: Math.max(...kls) - Math.min(...kls),
    }];
  });
}
