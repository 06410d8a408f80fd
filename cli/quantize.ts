/**
 * `lowbit quantize`
 *
 * @module
 */

import process from "node:process";
import type { UserFormats } from "../formats/lookup.ts";
import { withUnnamedFormats } from "../formats/user_formats.ts";
import { LowbitError, type Plan, type Recipe } from "../spec/mod.ts";
import { beforeCalibration } from "../engine/preflight.ts";
import { createWorkbench } from "../workbench.ts";
import type { BudgetPlan } from "../engine/budget.ts";
import type { Arguments, Command } from "./arguments.ts";
import { SOURCE_OPTIONS, sourceOptions } from "./sources.ts";
import { BUDGET_OPTIONS, withBudget } from "./budget.ts";
import { evaluatePaths, type Evaluation, evaluationRows } from "./eval.ts";
import { calibrationOption, readCalibration } from "./calibration.ts";
import {
  importanceOption,
  readImportances,
  saveImportance,
  saveImportanceOption,
} from "./importance.ts";
import { importPlugins, nameRecipeFile, pluginOptions, readFormats, readRecipe } from "./inputs.ts";
import { setOption, withSettings } from "./recipe_options.ts";
import { progressView, writeError, writeLine } from "./progress.ts";
import { formatBytes, table } from "./table.ts";

/** The command. */
export const quantizeCommand: Command = {
  name: "quantize",
  usage: "MODEL OUT --recipe RECIPE [options]",
  summary: "Quantise a checkpoint by a recipe and write it for a target.",
  positional: [2, 2],
  options: [
    { name: "recipe", type: "text", value: "FILE|NAME", help: "the recipe (required)" },
    setOption,
    calibrationOption,
    importanceOption,
    saveImportanceOption,
    { name: "eval", type: "text", value: "TEXT", help: "score the result on a text, beside MODEL" },
    {
      name: "to",
      type: "text",
      value: "TARGET",
      help: "lowbit, compressed-tensors, gptq, awq, bitsandbytes, gguf or onnx",
    },
    ...BUDGET_OPTIONS,
    ...SOURCE_OPTIONS,
    { name: "threads", type: "integer", value: "N", help: "threads; all cores if absent" },
    {
      name: "max-memory",
      type: "bytes",
      value: "SIZE",
      help: "keep within it: activations go to disk; what needs more is refused",
    },
    ...pluginOptions,
    {
      name: "format",
      type: "text",
      value: "FILE.yaml",
      help:
        "a number format or scheme of yours; one that the recipe does not name replaces its elements",
      many: true,
    },
    { name: "overwrite", type: "flag", help: "replace OUT if it is there" },
    { name: "dry-run", type: "flag", help: "print the plan and every conflict; write nothing" },
  ],
  async run(args) {
    const started = performance.now();
    const name = args.text("recipe");
    if (name === undefined) {
      throw new LowbitError("USAGE", "--recipe is missing", { advice: "see `lowbit recipes`" });
    }
    const formats = await readFormats(args);
    const asked = withBudget(
      withUnnamedFormats(withSettings(await readRecipe(name), args), formats),
      args,
    );
    const saves = args.text("save-importance") !== undefined;
    const recipe = saves ? { ...asked, importance: true } : asked;
    try {
      return await quantize(args, recipe, formats, started);
    } catch (error) {
      throw nameRecipeFile(error, recipe, name);
    }
  },
};

/** Plans, calibrates, quantises, evaluates and prints, as the arguments say. */
async function quantize(
  args: Arguments,
  recipe: Recipe,
  formats: UserFormats,
  started: number,
): Promise<number | void> {
  const [modelName, out] = args.positional;
  const plugins = await importPlugins(args);
  const view = progressView(args);
  const { onEvent } = view;
  using lowbit = await createWorkbench({
    sources: sourceOptions(args),
    threads: args.number("threads") ?? 0,
    plugins,
    formats,
    onEvent,
  });
  const model = await lowbit.open(modelName);
  try {
    const to = args.text("to");
    const importance = await readImportances(args);
    const { conflicts } = lowbit.plan({ model, recipe, to, importance });
    const refused = beforeCalibration(conflicts).length > 0;
    // Planned without calibration, a recipe that needs it has just this conflict.
    const data = !refused && conflicts.length > 0
      ? await readCalibration(args, lowbit, model, recipe)
      : undefined;
    const maxMemory = args.number("max-memory");
    const calibration = data?.windows;
    const common = {
      ...{ model, recipe, to, calibration, calibrationSource: data?.source },
      ...{ importance, maxMemory },
    };
    if (args.flag("dry-run")) {
      const plan = lowbit.plan(common);
      // Without calibration only because of other conflicts: that is none of its own.
      return printPlan(
        args,
        refused ? { ...plan, conflicts: beforeCalibration(plan.conflicts) } : plan,
      );
    }
    if (calibration && args.texts("calibration").length === 0 && modelName !== "embedded") {
      const message = "calibrating on the shipped text; give your own with --calibration";
      onEvent({ event: "warning", message });
    }
    onEvent({ event: "start", command: "quantize", model: modelName, recipe: recipe.name });
    const budget = recipe.budget && await lowbit.planBudget(common);
    const chosen = budget?.recipe ?? recipe;
    const { signal, release } = abortOnSignals();
    const overwrite = args.flag("overwrite");
    const { plan, receipt, importance: used } = await lowbit.quantize({
      ...common,
      recipe: chosen,
      out,
      overwrite,
      signal,
    })
      .finally(release);
    const saved = args.text("save-importance");
    if (saved !== undefined && used) await saveImportance(saved, used);
    const seconds = (performance.now() - started) / 1000;
    const text = args.text("eval");
    const evaluation = text === undefined
      ? undefined
      : await evaluatePaths(lowbit, args, { model: out, reference: modelName, text });
    onEvent({ event: "end", seconds });
    view.close();
    printResult(args, {
      recipe: recipe.name,
      target: receipt.target,
      output: out,
      bits_per_weight: plan.bits_per_weight,
      bytes: receipt.output.reduce((sum, file) => sum + file.bytes, 0),
      peak_rss_bytes: peakMemory(),
      seconds,
      warnings: receipt.warnings,
      ...(evaluation && { evaluation }),
      ...(budget && { budget }),
      tensors: receipt.tensors,
    });
  } finally {
    view.close();
    model.close();
  }
}

interface Result extends Record<string, unknown> {
  recipe: string;
  target: string;
  output: string;
  bits_per_weight: number;
  bytes: number;
  peak_rss_bytes: number;
  seconds: number;
  evaluation?: Evaluation;
  budget?: BudgetPlan;
}

function printResult(args: Arguments, result: Result): void {
  if (args.flag("json")) return writeLine(JSON.stringify(result));
  writeLine(table(["", result.output], [
    ["recipe", result.recipe],
    ["target", result.target],
    ["bits a weight", result.bits_per_weight.toFixed(3)],
    ["size", formatBytes(result.bytes)],
    ["peak memory", formatBytes(result.peak_rss_bytes)],
    ["seconds", result.seconds.toFixed(1)],
    ...(result.budget
      ? [["bits of planned weights", result.budget.chosen.bits.toFixed(3)]] as [string, string][]
      : []),
    ...(result.evaluation ? evaluationRows(result.evaluation) : []),
  ]));
}

function printPlan(args: Arguments, plan: Plan): number {
  const exit = plan.conflicts.length > 0 ? 1 : 0;
  if (args.flag("json")) {
    writeLine(JSON.stringify(plan));
    return exit;
  }
  writeLine(table(
    ["tensor", "shape", "scheme", "layout", "plugin", "bytes", "bits"],
    plan.tensors.map((t) => [
      t.name,
      t.shape.join(" x "),
      t.scheme,
      t.layout ?? "-",
      t.plugin ?? "-",
      t.bytes,
      t.bits_per_weight.toFixed(3),
    ]),
  ));
  writeLine(
    `${plan.recipe} to ${plan.target}: ${plan.bits_per_weight.toFixed(3)} bits a weight, ` +
      `${formatBytes(plan.bytes)}, about ${formatBytes(plan.memory_bytes)} of memory`,
  );
  const groups = Map.groupBy(plan.conflicts, ({ code, problem }) => `${code} ${problem}`);
  for (const [{ code, where, problem, advice }, ...more] of groups.values()) {
    const places = more.length > 0 ? ` (and ${more.length} more like it)` : "";
    writeError(`conflict[${code}] ${where}: ${problem}${places}; ${advice}`);
  }
  return exit;
}

/** Stops the run in order on the first interrupt, and at once on the second. */
export function abortOnSignals(): { signal: AbortSignal; release(): void } {
  const controller = new AbortController();
  const stop = () => {
    if (controller.signal.aborted) Deno.exit(130);
    controller.abort(
      new LowbitError("IO", "interrupted", { advice: "nothing was written" }),
    );
  };
  const signals: Deno.Signal[] = Deno.build.os === "windows" ? ["SIGINT"] : ["SIGINT", "SIGTERM"];
  for (const name of signals) Deno.addSignalListener(name, stop);
  return {
    signal: controller.signal,
    release() {
      for (const name of signals) Deno.removeSignalListener(name, stop);
    },
  };
}

/** The most memory that the process has held, bytes. Needs no permission, unlike files of /proc. */
export function peakMemory(): number {
  return process.resourceUsage().maxRSS * 1024;
}
