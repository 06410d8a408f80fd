/**
 * `lowbit eval`
 *
 * @module
 */

import { evaluateModel } from "../engine/evaluate.ts";
import { VERSION } from "../engine/version.ts";
import { openModel } from "../models/architecture.ts";
import { type Checkpoint, type EventSink, LowbitError } from "../spec/mod.ts";
import type { Arguments, Command } from "./arguments.ts";
import { progressView, writeLine } from "./progress.ts";
import { table } from "./table.ts";
import {
  loadPlugins,
  openWorkbench,
  readIds,
  readTextWindows,
  tokenizerOf,
  type Workbench,
} from "./workbench.ts";

/** Tokens of a window, if nothing else is said. */
const CONTEXT = 512;

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
      help: `tokens of a window (${CONTEXT}); windows do not overlap, no BOS is added`,
    },
    { name: "windows", type: "integer", value: "N", help: "only the first N windows" },
    {
      name: "reference",
      type: "text",
      value: "MODEL",
      help: "full-precision model to compare with",
    },
    { name: "threads", type: "integer", value: "N", help: "threads; all cores if absent" },
    {
      name: "plugin",
      type: "text",
      value: "PATH",
      help: "import a plugin (runs its code)",
      many: true,
    },
  ],
  async run(args) {
    const { text, ids } = { text: args.text("text"), ids: args.text("ids") };
    if ((text === undefined) === (ids === undefined)) {
      throw new LowbitError("USAGE", "give either --text or --ids");
    }
    const bench = await openWorkbench(args);
    const view = progressView(args);
    try {
      const result = await evaluatePaths(bench, args, {
        model: args.positional[0],
        reference: args.text("reference"),
        text,
        ids,
        onEvent: view.onEvent,
      });
      view.close();
      if (args.flag("json")) writeLine(JSON.stringify(result));
      else writeLine(table(["", args.positional[0]], evaluationRows(result)));
    } finally {
      view.close();
      bench.close();
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
  bench: Workbench,
  args: Arguments,
  what: { model: string; reference?: string; text?: string; ids?: string; onEvent: EventSink },
): Promise<Evaluation> {
  const started = performance.now();
  const checkpoint = await bench.open(what.model);
  const reference = what.reference === undefined ? undefined : await bench.open(what.reference);
  try {
    const windows = await readWindows(args, checkpoint, what);
    const { kernels, codecs } = bench;
    const plugins = await loadPlugins(args);
    const figures = await evaluateModel({
      checkpoint,
      reference,
      windows,
      plugins,
      kernels,
      codecs,
      onEvent: what.onEvent,
    });
    const context = Math.max(...windows.map((window) => window.length));
    return {
      ...figures,
      protocol: { context, windows: windows.length, stride: context, bos: false },
      seconds: (performance.now() - started) / 1000,
      lowbit: VERSION,
    };
  } finally {
    checkpoint.close();
    reference?.close();
  }
}

async function readWindows(
  args: Arguments,
  checkpoint: Checkpoint,
  what: { text?: string; ids?: string },
): Promise<Int32Array[]> {
  const { context } = openModel(checkpoint).hyperparameters;
  const length = args.number("context") ?? Math.min(CONTEXT, context);
  if (length < 2) throw new LowbitError("USAGE", "--context must be at least 2");
  const count = args.number("windows");
  if (count === 0) throw new LowbitError("USAGE", "--windows must be at least 1");
  return what.ids !== undefined
    ? (await readIds(what.ids, length)).slice(0, count)
    : await readTextWindows(what.text!, tokenizerOf(checkpoint), { length, count });
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
