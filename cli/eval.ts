/**
 * `lowbit eval`
 *
 * @module
 */

import type { CacheChoice } from "../engine/cache.ts";
import type { LinearOptions } from "../engine/executor.ts";
import { VERSION } from "../engine/version.ts";
import { openModel } from "../models/architecture.ts";
import { type Checkpoint, LowbitError } from "../spec/mod.ts";
import { createWorkbench, DEFAULT_CONTEXT, type Workbench } from "../workbench.ts";
import type { Arguments, Command } from "./arguments.ts";
import {
  activationsOf,
  activationsOption,
  cacheOf,
  cacheOptions,
  checkFor,
  importPlugins,
  pluginOptions,
  readIds,
  readText,
} from "./inputs.ts";
import { progressView, writeLine } from "./progress.ts";
import { table } from "./table.ts";

/** The command. */
export const evalCommand: Command = {
  name: "eval",
  usage: "MODEL --text FILE | --ids FILE.json[#KEY] [options]",
  summary: "Score a model: perplexity, and with a reference KL divergence and top-1 agreement.",
  positional: [1, 1],
  options: [
    { name: "text", type: "text", value: "FILE", help: "text, tokenised as a whole" },
    { name: "ids", type: "text", value: "FILE.json[#KEY]", help: "windows of token ids" },
    {
      name: "context",
      type: "integer",
      value: "N",
      help: `tokens of a window (${DEFAULT_CONTEXT}); windows do not overlap, no BOS is added`,
    },
    { name: "windows", type: "integer", value: "N", help: "only the first N windows" },
    {
      name: "reference",
      type: "text",
      value: "MODEL",
      help: "full-precision model to compare with",
    },
    activationsOption,
    ...cacheOptions,
    { name: "threads", type: "integer", value: "N", help: "threads; all cores if absent" },
    ...pluginOptions,
  ],
  async run(args) {
    const { text, ids } = { text: args.text("text"), ids: args.text("ids") };
    if ((text === undefined) === (ids === undefined)) {
      throw new LowbitError("USAGE", "give either --text or --ids");
    }
    const view = progressView(args);
    using lowbit = await createWorkbench({
      threads: args.number("threads") ?? 0,
      plugins: await importPlugins(args),
      onEvent: view.onEvent,
    });
    try {
      const [model] = args.positional;
      const reference = args.text("reference");
      const result = await evaluatePaths(lowbit, args, {
        model,
        reference,
        text,
        ids,
        activations: activationsOf(args),
        cache: cacheOf(args),
      });
      view.close();
      if (args.flag("json")) writeLine(JSON.stringify(result));
      else writeLine(table(["", model], evaluationRows(result)));
    } finally {
      view.close();
    }
  },
};

/** What an evaluation prints. */
export interface Evaluation extends Record<string, unknown> {
  /** How the windows were made. */
  protocol: { context: number; windows: number; stride: number; bos: boolean };
}

/** Evaluates a model by path, on a text or on ids. */
export async function evaluatePaths(
  lowbit: Workbench,
  args: Arguments,
  what:
    & { model: string; reference?: string; text?: string; ids?: string; cache?: CacheChoice }
    & LinearOptions,
): Promise<Evaluation> {
  const started = performance.now();
  const model = await lowbit.open(what.model);
  let reference: Checkpoint | undefined;
  try {
    reference = what.reference === undefined ? undefined : await lowbit.open(what.reference);
    const windows = await readWindows(lowbit, args, model, what);
    const figures = await lowbit.evaluate({
      model,
      windows,
      reference,
      activations: what.activations,
      cache: what.cache,
    });
    const context = Math.max(...windows.map((window) => window.length));
    return {
      ...figures,
      protocol: { context, windows: windows.length, stride: context, bos: false },
      seconds: (performance.now() - started) / 1000,
      lowbit: VERSION,
    };
  } finally {
    model.close();
    reference?.close();
  }
}

async function readWindows(
  lowbit: Workbench,
  args: Arguments,
  model: Checkpoint,
  what: { text?: string; ids?: string },
): Promise<Int32Array[]> {
  const { context } = openModel(model).hyperparameters;
  const length = args.number("context") ?? Math.min(DEFAULT_CONTEXT, context);
  if (length < 2) throw new LowbitError("USAGE", "--context must be at least 2");
  const count = args.number("windows");
  if (count === 0) throw new LowbitError("USAGE", "--windows must be at least 1");
  const windows = what.ids !== undefined
    ? (await readIds(what.ids, length)).slice(0, count)
    : lowbit.windows(model, await readText(what.text!), { length, count });
  checkFor(model, windows, what.ids ?? what.text!);
  return windows;
}

/** The figures of an evaluation, for a table. */
export function evaluationRows(result: Evaluation): string[][] {
  const digits: Record<string, number> = { perplexity: 4, nll: 5, kl: 5, top1_agreement: 4 };
  return Object.entries(result)
    .filter(([, value]) => typeof value === "number")
    .map(([name, value]) => [
      name.replaceAll("_", " "),
      Number.isInteger(value) ? String(value) : (value as number).toFixed(digits[name] ?? 2),
    ]);
}
