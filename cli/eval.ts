/**
 * `lowbit eval`
 *
 * @module
 */

import type { Protocol } from "../compare/document.ts";
import type { CacheChoice } from "../engine/cache.ts";
import type { LinearOptions } from "../engine/executor.ts";
import { VERSION } from "../engine/version.ts";
import type { Checkpoint } from "../spec/mod.ts";
import { createWorkbench, type Workbench } from "../workbench.ts";
import { Arguments, type Command } from "./arguments.ts";
import { asksForMore, measureMore, MORE_OPTIONS, moreTables } from "./eval_more.ts";
import { adapterOption, withAdapters } from "./adapter_option.ts";
import { SOURCE_OPTIONS, sourceOptions } from "./sources.ts";
import {
  activationsOf,
  activationsOption,
  cacheOf,
  cacheOptions,
  deviceOf,
  deviceOption,
  importPlugins,
  pluginOptions,
} from "./inputs.ts";
import { progressView, writeLine } from "./progress.ts";
import { table } from "./table.ts";
import { readScored, WINDOW_OPTIONS } from "./windows.ts";

/** The command. */
export const evalCommand: Command = {
  name: "eval",
  usage: "MODEL --text FILE | --ids FILE.json[#KEY] | --task FILE | --needle TEXT | --speed",
  summary: "Score a model: perplexity, divergence from a reference, tasks, needles, layers, speed.",
  positional: [1, 1],
  options: [
    ...WINDOW_OPTIONS,
    {
      name: "reference",
      type: "text",
      value: "MODEL",
      help: "full-precision model to compare with",
    },
    adapterOption,
    activationsOption,
    deviceOption,
    ...MORE_OPTIONS,
    ...SOURCE_OPTIONS,
    ...cacheOptions,
    { name: "threads", type: "integer", value: "N", help: "threads; all cores if absent" },
    ...pluginOptions,
  ],
  async run(args) {
    const view = progressView(args);
    using lowbit = await createWorkbench({
      device: deviceOf(args),
      sources: sourceOptions(args),
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
        activations: activationsOf(args),
        cache: cacheOf(args),
      });
      view.close();
      if (args.flag("json")) writeLine(JSON.stringify(result));
      else {
        const rows = evaluationRows(result);
        if (rows.length > 1) writeLine(table(["", model], rows));
        for (const more of moreTables(result)) writeLine(more);
      }
    } finally {
      view.close();
    }
  },
};

/** What an evaluation prints. */
export interface Evaluation extends Record<string, unknown> {
  /** How the windows were made, where there are any. */
  protocol?: Protocol;
}

/** Evaluates a model by path, on what `--text` or `--ids` name, or on `text`. */
export async function evaluatePaths(
  lowbit: Workbench,
  args: Arguments,
  what:
    & { model: string; reference?: string; text?: string; cache?: CacheChoice }
    & LinearOptions,
): Promise<Evaluation> {
  const started = performance.now();
  const model = await withAdapters(args, await lowbit.open(what.model));
  let reference: Checkpoint | undefined;
  try {
    reference = what.reference === undefined ? undefined : await lowbit.open(what.reference);
    if (args.text("text") === undefined && args.text("ids") === undefined && asksForMore(args)) {
      const more = await measureMore(lowbit, args, model);
      const seconds = (performance.now() - started) / 1000;
      return { ...more, seconds, lowbit: VERSION };
    }
    const scored = await readScored(withText(args, what.text), lowbit, model);
    const { windows, from, protocol } = scored;
    const figures = await lowbit.evaluate({
      model,
      windows,
      from,
      reference,
      activations: what.activations,
      cache: what.cache,
    });
    const seconds = (performance.now() - started) / 1000;
    const more = await measureMore(lowbit, args, model, { reference, windows });
    return { ...figures, protocol, ...more, seconds, lowbit: VERSION };
  } finally {
    model.close();
    reference?.close();
  }
}

/** The arguments of another command, with a text in the place of its own. */
function withText(args: Arguments, text?: string): Arguments {
  return text === undefined ? args : new Arguments([], new Map([["text", text]]));
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
