/**
 * `lowbit verify`
 *
 * @module
 */

import { fileSource } from "../formats/containers/source.ts";
import {
  checkFiles,
  checkImportanceHash,
  checkWindowsHash,
  compareHashes,
  type FileCheck,
  parseReceipt,
} from "../engine/verify.ts";
import {
  type ByteSource,
  type Checkpoint,
  LowbitError,
  type Receipt,
  type Recipe,
} from "../spec/mod.ts";
import { createWorkbench, type Workbench } from "../workbench.ts";
import type { Arguments, Command } from "./arguments.ts";
import { calibrationOption, readCalibration } from "./calibration.ts";
import { importanceOption, readImportances } from "./importance.ts";
import { importPlugins, readFormats, readText } from "./inputs.ts";
import { type ProgressView, progressView, writeLine } from "./progress.ts";
import { SOURCE_OPTIONS, sourceOptions } from "./sources.ts";
import { table } from "./table.ts";

/** The command. */
export const verifyCommand: Command = {
  name: "verify",
  usage: "RECEIPT [--model MODEL [--rerun]] [options]",
  summary: "Hold files against a receipt; with --rerun, make them again and compare the bytes.",
  positional: [1, 1],
  options: [
    { name: "model", type: "text", value: "MODEL", help: "hash the input of the run as well" },
    { name: "rerun", type: "flag", help: "do the run again beside the output; needs --model" },
    calibrationOption,
    importanceOption,
    ...SOURCE_OPTIONS,
    { name: "threads", type: "integer", value: "N", help: "threads; all cores if absent" },
    { name: "max-memory", type: "bytes", value: "SIZE", help: "as in quantize" },
    { name: "plugin", type: "text", value: "PATH", help: "as in quantize", many: true },
    { name: "format", type: "text", value: "FILE.yaml", help: "as in quantize", many: true },
  ],
  async run(args) {
    const [path] = args.positional;
    const modelName = args.text("model");
    const rerun = args.flag("rerun");
    if (rerun && modelName === undefined) {
      throw new LowbitError("USAGE", "--rerun needs the checkpoint that was quantised", {
        advice: "give it with --model",
      });
    }
    const receipt = parseReceipt(await readText(path), path);
    const folder = /^(.*[/\\])?[^/\\]*$/.exec(path)![1] ?? "";
    const view = progressView(args);
    const checks: Check[] = tag(
      "output",
      await checkFiles(receipt.output, watched(view, (name) => fileSource(folder + name))),
    );
    view.close();
    if (modelName !== undefined) {
      checks.push(...await withModel(args, receipt, path, modelName));
    }
    const bad = checks.filter(({ state }) => state !== "same");
    writeLine(
      args.flag("json")
        ? JSON.stringify({ ok: bad.length === 0, recipe: receipt.recipe.name, checks })
        : table(["what", "file", "state"], checks.map((c) => [c.what, c.name, c.state])),
    );
    if (bad.length === 0) return;
    const [{ what, name, state }] = bad;
    const problem = what === "rerun" ? `made again, is ${state}` : `is ${state}`;
    throw new LowbitError("MISMATCH", problem, {
      file: name,
      advice: bad.length > 1 ? `and ${bad.length - 1} more` : undefined,
    });
  },
};

type Check = FileCheck & { what: "output" | "model" | "rerun" };

const tag = (what: Check["what"], checks: FileCheck[]): Check[] =>
  checks.map((check) => ({ what, ...check }));

/** Checks the input, and the output made again if that is asked for. */
async function withModel(
  args: Arguments,
  receipt: Receipt,
  path: string,
  modelName: string,
): Promise<Check[]> {
  const view = progressView(args);
  using lowbit = await createWorkbench({
    sources: sourceOptions(args),
    threads: args.number("threads") ?? 0,
    plugins: await importPlugins(args),
    formats: await readFormats(args),
    onEvent: view.onEvent,
  });
  const model = await lowbit.open(modelName);
  try {
    const checks = tag(
      "model",
      await checkFiles(receipt.model.files, watched(view, opener(model))),
    );
    const same = checks.every(({ state }) => state === "same");
    if (!args.flag("rerun") || !same) return checks;
    return [...checks, ...await again(args, lowbit, model, receipt, path)];
  } finally {
    view.close();
    model.close();
  }
}

/** Sources that show how much of them was read. */
function watched(
  view: ProgressView,
  open: (name: string) => Promise<ByteSource>,
): (name: string) => Promise<ByteSource> {
  return async (detail) => {
    const source = await open(detail);
    const { name, size } = source;
    let read = 0;
    return {
      name,
      size,
      close: () => source.close(),
      async read(at, length) {
        const bytes = await source.read(at, length);
        read += length;
        view.onEvent({ event: "progress", stage: "prove", done: read, total: size, detail });
        return bytes;
      },
    };
  };
}

/** Opens files of a checkpoint by their last names; the checkpoint closes them. */
function opener({ files }: Checkpoint): (name: string) => Promise<ByteSource> {
  // deno-lint-ignore require-await
  return async (name) => {
    const source = files.find((file) => file.name.split(/[\\/]/).at(-1) === name);
    if (!source) {
      throw new LowbitError("NOT_FOUND", "is no file of the model", {
        file: name,
        advice: "give the checkpoint that was quantised with --model",
      });
    }
    const { size } = source;
    return { name, size, read: (at, length) => source.read(at, length), close() {} };
  };
}

async function again(
  args: Arguments,
  lowbit: Workbench,
  model: Checkpoint,
  receipt: Receipt,
  path: string,
): Promise<Check[]> {
  const recipe = receipt.recipe.document as Recipe;
  let calibration: Int32Array[] | undefined;
  if (receipt.calibration) {
    calibration = (await readCalibration(args, lowbit, model, recipe)).windows;
    checkWindowsHash(receipt, calibration);
  }
  const importance = await readImportances(args);
  checkImportanceHash(receipt, importance);
  const out = `${path}.rerun`;
  const result = await lowbit.quantize({
    model,
    recipe,
    to: receipt.target,
    calibration,
    importance,
    maxMemory: args.number("max-memory"),
    out,
    overwrite: true,
  });
  await Deno.remove(out, { recursive: true });
  if (lowbit.target(receipt.target).output === "file") await Deno.remove(`${out}.receipt.json`);
  return tag("rerun", compareHashes(receipt.output, result.receipt.output));
}
