/**
 * `lowbit quantize`
 *
 * @module
 */

import { directoryOutput, fileOutput } from "../formats/containers/output.ts";
import { planRun, quantizeModel } from "../engine/quantize.ts";
import { receiptText } from "../engine/receipt.ts";
import { createTargets } from "../formats/targets.ts";
import { LowbitError, type Plan, type Target, unknownName } from "../spec/mod.ts";
import type { Arguments, Command } from "./arguments.ts";
import { evaluatePaths, evaluationRows } from "./eval.ts";
import { progressView, writeError, writeLine } from "./progress.ts";
import { formatBytes, table } from "./table.ts";
import {
  loadPlugins,
  openWorkbench,
  readCalibration,
  readRecipe,
  type Workbench,
} from "./workbench.ts";

/** The command. */
export const quantizeCommand: Command = {
  name: "quantize",
  usage: "MODEL OUT --recipe RECIPE [options]",
  summary: "Quantise a checkpoint by a recipe and write it for a target.",
  positional: [2, 2],
  options: [
    { name: "recipe", type: "text", value: "FILE|NAME", help: "the recipe (required)" },
    {
      name: "calibration",
      type: "text",
      value: "TEXT|IDS.json[#KEY]",
      help: "calibration text or token ids; the shipped text if absent",
    },
    { name: "eval", type: "text", value: "TEXT", help: "score the result on a text, beside MODEL" },
    { name: "to", type: "text", value: "TARGET", help: "lowbit, compressed-tensors or gguf" },
    { name: "threads", type: "integer", value: "N", help: "threads; all cores if absent" },
    { name: "max-memory", type: "bytes", value: "SIZE", help: "refuse a run that needs more" },
    {
      name: "plugin",
      type: "text",
      value: "PATH",
      help: "import a plugin (runs its code)",
      many: true,
    },
    { name: "overwrite", type: "flag", help: "replace OUT if it is there" },
    { name: "dry-run", type: "flag", help: "print the plan and every conflict; write nothing" },
  ],
  async run(args) {
    const started = performance.now();
    const name = args.text("recipe");
    if (!name) {
      throw new LowbitError("USAGE", "--recipe is missing", { advice: "see `lowbit recipes`" });
    }
    const recipe = await readRecipe(name);
    const plugins = await loadPlugins(args);
    const bench = await openWorkbench(args);
    const view = progressView(args);
    const [modelName, outName] = args.positional;
    try {
      const target = findTarget(args.text("to") ?? "lowbit", bench);
      const checkpoint = await bench.open(modelName);
      try {
        const { kernels, codecs } = bench;
        const common = {
          checkpoint,
          recipe,
          plugins,
          target,
          kernels,
          codecs,
          maxMemory: args.number("max-memory"),
        };
        const calibration = await calibrationFor(args, common, view.onEvent);
        if (args.flag("dry-run")) return printPlan(args, planRun({ ...common, calibration }).plan);
        const overwrite = { overwrite: args.flag("overwrite") };
        const output = target.output === "directory"
          ? await directoryOutput(outName, overwrite)
          : await fileOutput(outName, overwrite);
        const { signal, release } = abortOnSignals();
        view.onEvent({
          event: "start",
          command: "quantize",
          model: modelName,
          recipe: recipe.name,
        });
        const { plan, receipt } = await quantizeModel({
          ...common,
          calibration,
          output,
          onEvent: view.onEvent,
          signal,
        }).finally(release);
        if (target.output === "file") {
          await writeReceipt(`${outName}.receipt.json`, receiptText(receipt));
        }
        const seconds = (performance.now() - started) / 1000;
        const text = args.text("eval");
        const evaluation = text && await evaluatePaths(bench, args, {
          model: outName,
          reference: modelName,
          text,
          onEvent: view.onEvent,
        });
        view.onEvent({ event: "end", seconds });
        view.close();
        const bytes = receipt.output.reduce((sum, file) => sum + file.bytes, 0);
        const peak = peakMemory();
        if (args.flag("json")) {
          writeLine(JSON.stringify({
            recipe: recipe.name,
            target: target.id,
            output: outName,
            bits_per_weight: plan.bits_per_weight,
            bytes,
            peak_rss_bytes: peak,
            seconds,
            warnings: receipt.warnings,
            ...(evaluation && { evaluation }),
            tensors: receipt.tensors,
          }));
          return;
        }
        writeLine(table(["", outName], [
          ["recipe", recipe.name],
          ["target", target.id],
          ["bits a weight", plan.bits_per_weight.toFixed(3)],
          ["size", formatBytes(bytes)],
          ["peak memory", formatBytes(peak)],
          ["seconds", seconds.toFixed(1)],
          ...(evaluation ? evaluationRows(evaluation) : []),
        ]));
      } finally {
        checkpoint.close();
      }
    } finally {
      view.close();
      bench.close();
    }
  },
};

/** The target with an id. */
export function findTarget(id: string, { kernels, codecs }: Workbench): Target {
  const targets = createTargets({ kernels, codecs });
  const found = targets.find((target) => target.id === id);
  if (found) return found;
  throw unknownName("target", id, targets.map((target) => target.id), { field: "--to" });
}

/** Calibration windows, if the pipeline needs them; says so when the shipped text is used. */
async function calibrationFor(
  args: Arguments,
  common: Omit<Parameters<typeof planRun>[0], "calibration">,
  onEvent: ReturnType<typeof progressView>["onEvent"],
): Promise<Int32Array[] | undefined> {
  const { pipeline } = planRun(common);
  if (!pipeline.needsCalibration) return undefined;
  const { checkpoint, recipe } = common;
  if (!args.text("calibration") && args.positional[0] !== "embedded") {
    onEvent({
      event: "warning",
      message: "calibrating on the shipped text; give your own with --calibration",
    });
  }
  return await readCalibration(args, checkpoint, recipe);
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
  for (const { code, where, problem, advice } of plan.conflicts) {
    writeError(`conflict[${code}] ${where}: ${problem}; ${advice}`);
  }
  return exit;
}

/** Stops the run on the first interrupt; the output is then removed in order. */
function abortOnSignals(): { signal: AbortSignal; release(): void } {
  const controller = new AbortController();
  const stop = () => {
    controller.abort(new LowbitError("IO", "interrupted; nothing was written"));
  };
  Deno.addSignalListener("SIGINT", stop);
  if (Deno.build.os !== "windows") Deno.addSignalListener("SIGTERM", stop);
  return {
    signal: controller.signal,
    release() {
      Deno.removeSignalListener("SIGINT", stop);
      if (Deno.build.os !== "windows") Deno.removeSignalListener("SIGTERM", stop);
    },
  };
}

async function writeReceipt(path: string, text: string): Promise<void> {
  const output = await fileOutput(path, { overwrite: true });
  const sink = await output.file(path);
  await sink.write(new TextEncoder().encode(text));
  await sink.close();
  await output.commit();
}

/** The most memory that the process has held, bytes. */
export function peakMemory(): number {
  try {
    const status = Deno.readTextFileSync("/proc/self/status");
    const match = /^VmHWM:\s+(\d+) kB/m.exec(status);
    if (match) return Number(match[1]) * 1024;
  } catch {
    // Not Linux, or no permission: what the process holds now is the best there is.
  }
  return Deno.memoryUsage().rss;
}
