/**
 * `lowbit compare`
 *
 * @module
 */

import { sweepNames } from "../compare/sweep.ts";
import { compareRecipes } from "../compare/run.ts";
import {
  comparisonCsv,
  comparisonMarkdown,
  comparisonNote,
  comparisonRows,
} from "../compare/tables.ts";
import { watchedWorkbench } from "../compare/measure.ts";
import { fileOutput } from "../formats/containers/output.ts";
import { reportHtml } from "../report/html.ts";
import { type Checkpoint, LowbitError, type Recipe } from "../spec/mod.ts";
import type { Workbench, WorkbenchOptions } from "../workbench.ts";
import type { Arguments, Command } from "./arguments.ts";
import { importPlugins, readFormats, readIds, readRecipe, readText } from "./inputs.ts";
import { progressView, writeError, writeLine } from "./progress.ts";
import { SOURCE_OPTIONS, sourceOptions } from "./sources.ts";
import { table } from "./table.ts";
import { readScored, WINDOW_OPTIONS } from "./windows.ts";

/** The command. */
export const compareCommand: Command = {
  name: "compare",
  usage: "MODEL --recipes A,B,C --text FILE [options]",
  summary: "Quantise a model by several recipes, score them on a text, and write a report.",
  positional: [1, 1],
  options: [
    { name: "recipes", type: "text", value: "A,B,C", help: "recipes: names or files" },
    {
      name: "sweep",
      type: "text",
      value: '"bits=3,4 group=32,64 method=rtn,gptq"',
      help: "every combination, as names of recipes; also activations=BITS and zero=sym,asym",
    },
    ...WINDOW_OPTIONS,
    {
      name: "calibration",
      type: "text",
      value: "TEXT|IDS.json[#KEY]",
      help: "calibration text or ids; given several times, each recipe is run with each of them",
      many: true,
    },
    {
      name: "report",
      type: "text",
      value: "FILE.html",
      help: "write a page that needs no network",
    },
    { name: "csv", type: "text", value: "FILE", help: "write the figures as CSV" },
    { name: "markdown", type: "text", value: "FILE", help: "write the figures as Markdown" },
    { name: "tensor", type: "text", value: "NAME", help: "the weight that the report looks at" },
    {
      name: "cache",
      type: "text",
      value: "FOLDER",
      help: "finished recipes are kept here, and not run again (lowbit-cache)",
    },
    { name: "no-cache", type: "flag", help: "keep nothing, and run every recipe" },
    { name: "out", type: "text", value: "FOLDER", help: "leave each checkpoint here, by its name" },
    {
      name: "jobs",
      type: "integer",
      value: "N",
      help: "recipes at a time, each on one thread; times and memory are then those of a crowd (1)",
    },
    ...SOURCE_OPTIONS,
    { name: "threads", type: "integer", value: "N", help: "threads; all cores if absent" },
    {
      name: "plugin",
      type: "text",
      value: "PATH",
      help: "import a plugin (runs its code)",
      many: true,
    },
    {
      name: "format",
      type: "text",
      value: "FILE.yaml",
      help: "a number format or scheme of yours",
      many: true,
    },
  ],
  async run(args) {
    const recipes = await readRecipes(args);
    const jobs = jobsOf(args);
    const view = progressView(args);
    const overall = new Overall();
    const { lowbit, watch } = await watchedWorkbench({
      ...await workbenchOptions(args),
      onEvent: (event) => {
        if (event.event !== "progress" || args.flag("events")) return view.onEvent(event);
        // Where there are no bars, a line a recipe is enough.
        if (!Deno.stderr.isTerminal()) return;
        const detail = [event.detail, overall.text].filter((part) => part).join(", ");
        view.onEvent({ ...event, detail });
      },
    });
    using _ = lowbit;
    try {
      const [path] = args.positional;
      const model = await lowbit.open(path);
      const { name, windows, from, protocol } = await readScored(args, lowbit, model);
      const calibrations = await readCalibrations(args, lowbit, model, recipes);
      model.close();
      const comparison = await compareRecipes({
        lowbit,
        watch,
        model: path,
        recipes,
        calibrations,
        text: { name, windows, from },
        protocol,
        tensor: args.text("tensor"),
        cache: args.flag("no-cache") ? undefined : args.text("cache") ?? "lowbit-cache",
        out: await folder(args.text("out")),
        jobs,
        progress(done, total, name) {
          const detail = overall.at(done, total, name);
          if (args.flag("events") || (jobs && Deno.stderr.isTerminal())) {
            return view.onEvent({ event: "progress", stage: "compare", done, total, detail });
          }
          const lines = !args.flag("quiet") && !Deno.stderr.isTerminal();
          if (lines && done < total) writeError(detail);
        },
      });
      view.close();
      await write(args.text("report"), () => reportHtml(comparison));
      await write(args.text("csv"), () => comparisonCsv(comparison));
      await write(args.text("markdown"), () => comparisonMarkdown(comparison));
      if (args.flag("json")) writeLine(JSON.stringify(comparison));
      else {
        const { head, rows } = comparisonRows(comparison);
        writeLine(table(head, rows));
        writeLine(comparisonNote(comparison));
      }
      for (const { name, error } of comparison.failures) writeError(`${name}: ${error}`);
      return comparison.failures.length > 0 ? 1 : 0;
    } finally {
      view.close();
    }
  },
};

/** The workbench of a comparison, and of each of its jobs. */
export async function workbenchOptions(args: Arguments): Promise<WorkbenchOptions> {
  return {
    sources: sourceOptions(args),
    threads: args.number("threads") ?? 0,
    plugins: await importPlugins(args),
    formats: await readFormats(args),
  };
}

/** What `--jobs` says; the Workers read the same command line. */
function jobsOf(args: Arguments): Parameters<typeof compareRecipes>[0]["jobs"] {
  const count = args.number("jobs") ?? 1;
  if (count === 0) {
    throw new LowbitError("USAGE", "--jobs must be at least 1", { advice: "leave it out for 1" });
  }
  if (count > 1 && args.number("threads") !== undefined) {
    throw new LowbitError("USAGE", "--jobs and --threads cannot both be given", {
      advice: "each job has one thread; leave --threads out",
    });
  }
  const start = () => new Worker(new URL("./compare_job.ts", import.meta.url), { type: "module" });
  return count > 1 ? { count, start, argv: args.argv } : undefined;
}

/** How far a comparison is, and how long the rest may take at the pace so far. */
class Overall {
  readonly #started = performance.now();
  /** For the line of a bar. */
  text = "";

  at(done: number, total: number, name: string): string {
    const left = (performance.now() - this.#started) / 1000 * (total - done) / Math.max(1, done);
    const minutes = Math.floor(left / 60), seconds = Math.ceil(left % 60);
    const rest = done === 0 || done === total ? "" : `, about ${minutes} min ${seconds} s left`;
    return this.text = done === total ? "" : `recipe ${done + 1} of ${total}, ${name}${rest}`;
  }
}

/** The recipes of `--recipes` and `--sweep`, each once. */
async function readRecipes(args: Arguments): Promise<Recipe[]> {
  const listed = (args.text("recipes") ?? "").split(",").map((name) => name.trim());
  const sweep = args.text("sweep");
  const names = [...listed.filter((name) => name !== ""), ...sweep ? sweepNames(sweep) : []];
  if (names.length === 0) {
    throw new LowbitError("USAGE", "--recipes or --sweep is missing", {
      advice: "see `lowbit recipes`",
    });
  }
  const recipes: Recipe[] = [];
  for (const name of new Set(names)) recipes.push(await readRecipe(name));
  const twice = recipes.find(({ name }, i) => recipes.findIndex((r) => r.name === name) < i);
  if (twice) {
    throw new LowbitError("USAGE", `two recipes have the name ${twice.name}`, {
      advice: "change the name inside one of the files",
    });
  }
  return recipes;
}

/** The calibration sets of `--calibration`, by file; undefined if there are none. */
async function readCalibrations(
  args: Arguments,
  lowbit: Workbench,
  model: Checkpoint,
  recipes: readonly Recipe[],
): Promise<{ name: string; windows: Int32Array[] }[] | undefined> {
  const given = args.texts("calibration");
  if (given.length === 0) return undefined;
  const [recipe] = recipes;
  const sets = [];
  for (const file of given) {
    const windows = /\.json(#|$)/.test(file)
      ? await readIds(file, recipe.calibration.length)
      : await lowbit.calibration(model, recipe, await readText(file));
    sets.push({ name: given.length > 1 ? file.split(/[\\/]/).at(-1)! : "", windows });
  }
  return sets;
}

async function folder(path?: string): Promise<string | undefined> {
  if (path !== undefined) await Deno.mkdir(path, { recursive: true });
  return path;
}

/** Writes a file as a whole, or not at all. */
async function write(path: string | undefined, text: () => string): Promise<void> {
  if (path === undefined) return;
  const output = await fileOutput(path, { overwrite: true });
  const sink = await output.file(path);
  await sink.write(new TextEncoder().encode(text()));
  await sink.close();
  await output.commit();
}
