/**
 * What `lowbit eval` measures beside likelihood: tasks, needles, layers and speed.
 *
 * @module
 */

import process from "node:process";
import { joulesBetween, readEnergy } from "../compare/energy.ts";
import { scoreChoices } from "../engine/choices.ts";
import { layerFigures } from "../engine/layers.ts";
import { findNeedles } from "../engine/needle.ts";
import { openModel } from "../models/architecture.ts";
import { type Checkpoint, LowbitError } from "../spec/mod.ts";
import type { Workbench } from "../workbench.ts";
import type { Arguments, Option } from "./arguments.ts";
import { readText } from "./inputs.ts";
import { table } from "./table.ts";
import { readTask } from "./task.ts";

/** The options. */
export const MORE_OPTIONS: readonly Option[] = [
  {
    name: "task",
    type: "text",
    value: "FILE.jsonl|FILE.yaml",
    help: "multiple choice: lines of query, choices and gold, or a task of lm-evaluation-harness",
    many: true,
  },
  {
    name: "needle",
    type: "text",
    value: "TEXT",
    help: "hide needles in this text and ask for them",
  },
  {
    name: "needle-lengths",
    type: "text",
    value: "N,N",
    help: "tokens (a half and all of the context)",
  },
  { name: "needle-depths", type: "text", value: "X,X", help: "places, 0 to 1 (0,0.25,0.5,0.75,1)" },
  { name: "needle-trials", type: "integer", value: "N", help: "needles a cell (8)" },
  { name: "seed", type: "integer", value: "N", help: "of the needles (0)" },
  {
    name: "layers",
    type: "flag",
    help: "outliers of inputs by linear; with --reference also error by block and linear",
  },
  { name: "speed", type: "flag", help: "tokens a second, latency, memory, energy" },
];

/** Whether anything is asked for that needs no text. */
export function asksForMore(args: Arguments): boolean {
  return args.texts("task").length > 0 || args.text("needle") !== undefined || args.flag("speed");
}

/** Measures what the arguments ask for, as parts of the document of `eval`. */
export async function measureMore(
  lowbit: Workbench,
  args: Arguments,
  model: Checkpoint,
  scored?: { reference?: Checkpoint; windows: readonly Int32Array[] },
): Promise<Record<string, unknown>> {
  const { context } = openModel(model).hyperparameters;
  const evaluate = (what: Omit<Parameters<Workbench["evaluate"]>[0], "model">) =>
    lowbit.evaluate({ model, ...what });
  const result: Record<string, unknown> = {};
  if (args.texts("task").length > 0) {
    const tasks = [];
    for (const path of args.texts("task")) {
      const { name, items } = await readTask(path);
      const tokenizer = lowbit.tokenizer(model);
      tasks.push({ name, ...await scoreChoices({ items, tokenizer, context, evaluate }) });
    }
    result.tasks = tasks;
  }
  const haystack = args.text("needle");
  if (haystack !== undefined) {
    const tokenizer = lowbit.tokenizer(model);
    const lengths = numbers(args, "needle-lengths") ?? [context >> 1, context];
    const depths = numbers(args, "needle-depths") ?? [0, 0.25, 0.5, 0.75, 1];
    if (lengths.some((n) => n < 64 || n > context) || depths.some((d) => d < 0 || d > 1)) {
      throw new LowbitError("USAGE", `needles need 64 to ${context} tokens, and depths of 0 to 1`, {
        advice: "change --needle-lengths or --needle-depths",
      });
    }
    const seed = args.number("seed") ?? 0;
    result.needle = {
      seed,
      chance: 1 / 8,
      cells: await findNeedles({
        ...{ haystack: await readText(haystack), lengths, depths, seed, tokenizer, context },
        trials: args.number("needle-trials") ?? 8,
        decode: (ids) => tokenizer.decode(ids),
        evaluate,
      }),
    };
  }
  if (args.flag("layers") && scored) {
    const { kernels, codecs } = lowbit;
    const windows = scored.windows.slice(0, 4);
    const { reference } = scored;
    result.layers = await layerFigures({ checkpoint: model, reference, windows, kernels, codecs });
  }
  if (args.flag("speed")) result.speed = await measureSpeed(lowbit, model);
  return result;
}

function numbers(args: Arguments, name: string): number[] | undefined {
  const values = args.text(name)?.split(",").map(Number);
  if (values?.every(Number.isFinite)) return values;
  if (values === undefined) return undefined;
  throw new LowbitError("USAGE", `--${name} must be numbers with commas between them`, {
    advice: `as in --${name} 0.25,0.5`,
  });
}

/** Prompt and new tokens of a measurement of speed. */
const [PROMPT, NEW] = [128, 32];

/** How fast a model reads and writes; the same prompt for every model of a vocabulary. */
async function measureSpeed(lowbit: Workbench, model: Checkpoint) {
  const { vocab, context } = openModel(model).hyperparameters;
  const length = Math.min(PROMPT, context - NEW);
  const prompt = Int32Array.from({ length }, (_, i) => (i * 7919 + 13) % vocab);
  const started = performance.now();
  using language = await lowbit.load(model);
  const loaded = performance.now(), before = readEnergy();
  const moments: number[] = [];
  for await (const _ of language.generate({ prompt, tokens: NEW })) moments.push(performance.now());
  const joules = joulesBetween(before, readEnergy());
  const steps = moments.slice(1).map((at, i) => at - moments[i]).sort((a, b) => a - b);
  const decode = steps.reduce((a, b) => a + b, 0) / 1000;
  return {
    prompt_tokens: length,
    new_tokens: moments.length,
    threads: lowbit.kernels.threads,
    load_seconds: (loaded - started) / 1000,
    first_token_seconds: (moments[0] - loaded) / 1000,
    prompt_tokens_per_second: 1000 * length / (moments[0] - loaded),
    tokens_per_second: steps.length / decode,
    latency_ms_median: steps[steps.length >> 1],
    latency_ms_p99: steps[Math.ceil(0.99 * steps.length) - 1],
    weight_bytes: language.bytes,
    peak_rss_bytes: process.resourceUsage().maxRSS * 1024,
    ...(joules !== undefined && { joules_per_token: joules / moments.length }),
  };
}

/** The same for people. */
// deno-lint-ignore no-explicit-any
export function moreTables(result: any): string[] {
  const tables: string[] = [];
  const number = (x?: number, digits = 3) => x === undefined ? "-" : x.toFixed(digits);
  if (result.tasks) {
    tables.push(table(
      ["task", "questions", "acc", "+-", "acc_norm", "+-"],
      // deno-lint-ignore no-explicit-any
      result.tasks.map((t: any) => [
        ...[t.name, t.items, number(t.acc), number(t.acc_stderr)],
        ...[number(t.acc_norm), number(t.acc_norm_stderr)],
      ]),
    ));
  }
  if (result.needle) {
    tables.push(table(
      ["tokens", "depth", "found", "of"],
      // deno-lint-ignore no-explicit-any
      result.needle.cells.map((c: any) => [c.length, c.depth, number(c.found), c.trials]),
    ));
  }
  if (result.layers) {
    tables.push(table(
      ["output of", "SQNR dB", "kurtosis of inputs", "largest channel / median"],
      // deno-lint-ignore no-explicit-any
      result.layers.map((l: any) => [
        ...[l.id, number(l.sqnr_db, 2), number(l.kurtosis, 2), number(l.max_over_median, 2)],
      ]),
    ));
  }
  if (result.speed) {
    const rows = Object.entries(result.speed as Record<string, number>);
    tables.push(table(
      ["speed", ""],
      rows.map(([k, v]) => [
        k.replaceAll("_", " "),
        Number.isInteger(v) ? v : v.toFixed(3),
      ]),
    ));
  }
  return tables;
}
