/**
 * A comparison: any number of recipes on one model and one text, over shared statistics and one
 * reading of the reference.
 *
 * @module
 */

import { hashWindows } from "../engine/calibration.ts";
import { hashSources } from "../engine/hash.ts";
import { VERSION } from "../engine/version.ts";
import { openModel } from "../models/architecture.ts";
import type { Checkpoint, Recipe } from "../spec/mod.ts";
import type { Workbench } from "../workbench.ts";
import { Bench, calibrationOf } from "./bench.ts";
import { EntryCache } from "./cache.ts";
import type { Comparison, Difference, Entry, Protocol } from "./document.ts";
import { isOfRecipe, type Job, JobError, type JobSetup, runJobs } from "./jobs.ts";
import { captureInputs, heaviestTails, rolesBehindNorms } from "./look.ts";
import type { Measured, measureRecipe } from "./measure.ts";
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
  /** Recipes side by side: how many, the Worker, and the command line that it reads. */
  jobs?: { count: number; start(): Worker; argv: readonly string[] };
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
    const own = new TokenLosses();
    const full = await lowbit.evaluate({
      model,
      windows: text.windows,
      from: text.from,
      evaluators: [own],
    });
    const files = await hashSources(model.files);
    const setup = {
      jobs: args.jobs?.count ?? 1,
      ...{ model: args.model, recipes, text, tensor, protocol: args.protocol },
      calibrations: args.calibrations ?? [{ name: "" }],
      inputs: { block: activations.block, role: activations.role },
    };
    const { measured, failures } = await measureAll(args, model, files, setup);
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
      ...(setup.calibrations.length > 1 && { calibration: spreads(recipes, entries) }),
      tensor: shown,
      activations,
    };
  } finally {
    model.close();
  }
}

/** Measures what is not kept, here or on Workers; entries are in the order of the recipes. */
async function measureAll(
  args: CompareArguments,
  model: Checkpoint,
  files: Comparison["model"]["files"],
  setup: Omit<JobSetup, "argv">,
): Promise<{ measured: { entry: Entry; losses: number[][] }[]; failures: Comparison["failures"] }> {
  const { lowbit, jobs } = args, { recipes, calibrations, text } = setup;
  const cache = new EntryCache<Measured>(args.cache);
  const all = calibrations.flatMap((set, s) =>
    recipes.map((recipe, r) => {
      const name = set.name ? `${recipe.name} (${set.name})` : recipe.name;
      const out = args.out && `${args.out}/${name.replace(/[^a-z0-9_.-]+/g, "-")}`;
      return { set: s, recipe: r, name, out, key: "" };
    })
  );
  const found = new Map<Job, { result: Measured | JobError; cached: boolean }>();
  const waiting: typeof all = [];
  for (const job of all) {
    const recipe = recipes[job.recipe];
    try {
      const windows = calibrations[job.set].windows;
      const calibration = await calibrationOf(lowbit, model, recipe, windows);
      job.key = EntryCache.key({
        files,
        recipe,
        calibration: calibration && hashWindows(calibration),
        windows: hashWindows(text.windows),
        from: text.from,
        tensor: setup.tensor.id,
        kernels: lowbit.kernels.name,
      });
      const result = await cache.get(job.key);
      if (result) found.set(job, { result, cached: true });
      else waiting.push(job);
    } catch (error) {
      found.set(job, { result: errorOfRecipe(error), cached: false });
    }
  }
  const running = new Set<string>();
  const told = {
    begin(job: Job) {
      running.add((job as typeof all[number]).name);
      args.progress?.(found.size, all.length, [...running].join(", "));
    },
    async done(job: Job, result: Measured | JobError) {
      const { key, name } = job as typeof all[number];
      running.delete(name);
      if (!(result instanceof JobError)) await cache.set(key, result);
      found.set(job, { result, cached: false });
    },
  };
  if (jobs && setup.jobs > 1) {
    await runJobs(jobs.start, { ...setup, argv: jobs.argv }, waiting, told);
  } else await runHere(args, model, setup, waiting, told);
  args.progress?.(all.length, all.length, "");
  const failures: Comparison["failures"] = [];
  const measured = all.flatMap((job) => {
    const { name, key } = job, { result, cached } = found.get(job)!;
    if (result instanceof JobError) {
      failures.push({ name, error: result.line });
      return [];
    }
    const pareto = { kl: false, perplexity: false };
    const entry: Entry = { name, key, cached, ...result.entry, pareto };
    return [{ entry, losses: result.losses }];
  });
  return { measured, failures };
}

/** Measures on this thread, one recipe after the other. */
async function runHere(
  { lowbit, watch }: CompareArguments,
  model: Checkpoint,
  setup: Omit<JobSetup, "argv">,
  jobs: readonly Job[],
  told: Parameters<typeof runJobs>[3],
): Promise<void> {
  if (jobs.length === 0) return;
  using bench = await Bench.open(lowbit, watch, model, setup);
  for (const job of jobs) {
    told.begin(job);
    await told.done(job, await bench.measure(job).catch(errorOfRecipe));
  }
}

/** What a recipe is listed with; what is wrong with the machine is thrown. */
function errorOfRecipe(error: unknown): JobError {
  if (isOfRecipe(error)) return new JobError(error.line());
  throw error;
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
