/**
 * What commands work with: kernels, codecs, checkpoints, plugins, recipes and tokens, made from the
 * arguments.
 *
 * @module
 */

import { parse } from "@std/yaml";
import { createCodecs } from "../formats/codec.ts";
import { openCheckpoint } from "../formats/open.ts";
import { loadKernels } from "../kernels-wasm/mod.ts";
import { cutWindows } from "../engine/calibration.ts";
import { openModel } from "../models/architecture.ts";
import { tokenizerFiles } from "../models/settings.ts";
import { createTokenizer, type Tokenizer } from "../models/tokenizer.ts";
import { PLUGINS } from "../plugins/mod.ts";
import { presetRecipe } from "../recipes/mod.ts";
import { embeddedPath } from "../embedded/mod.ts";
import {
  type Checkpoint,
  type Codecs,
  type Kernels,
  LowbitError,
  type Plugin,
  type Recipe,
  recipeSchema,
} from "../spec/mod.ts";
import type { Arguments } from "./arguments.ts";

/** Kernels and codecs for one command; `close` stops the threads. */
export interface Workbench {
  /** The kernels. */
  kernels: Kernels;
  /** The codecs on them. */
  codecs: Codecs;
  /** Opens a checkpoint; the name `embedded` stands for the shipped model. */
  open(path: string): Promise<Checkpoint>;
  /** Stops the threads. */
  close(): void;
}

/** Loads the kernels with the threads that the arguments ask for (all cores if none). */
export async function openWorkbench(args: Arguments): Promise<Workbench> {
  const kernels = await loadKernels({ threads: args.number("threads") ?? 0 });
  const codecs = createCodecs(kernels);
  return {
    kernels,
    codecs,
    open: (path) => openCheckpoint(modelPath(path), { kernels, codecs }),
    close: () => kernels.close(),
  };
}

/** The path of a model; `embedded` is the shipped one (`./embedded` is a folder of that name). */
export function modelPath(path: string): string {
  return path === "embedded" ? embeddedPath("model") : path;
}

/** The shipped plugins and those of `--plugin` paths, which are imported and run as code. */
export async function loadPlugins(args: Arguments): Promise<Plugin[]> {
  const plugins = [...PLUGINS];
  for (const path of args.texts("plugin")) {
    const url = /^[a-z]+:\/\//.test(path) ? path : new URL(path, `file://${Deno.cwd()}/`).href;
    let module: Record<string, unknown>;
    try {
      module = await import(url);
    } catch (cause) {
      throw new LowbitError("PLUGIN", `cannot be imported: ${(cause as Error).message}`, {
        file: path,
        cause,
      });
    }
    const found = Object.values(module).filter(isPlugin);
    if (found.length === 0) {
      throw new LowbitError("PLUGIN", "exports no plugin", {
        file: path,
        advice: "export the result of definePlugin",
      });
    }
    for (const plugin of found) {
      if (plugins.some((other) => other.meta.name === plugin.meta.name)) {
        throw new LowbitError("PLUGIN", `the name ${plugin.meta.name} is taken`, { file: path });
      }
      plugins.push(plugin);
    }
  }
  return plugins;
}

function isPlugin(value: unknown): value is Plugin {
  const plugin = value as Partial<Plugin> | null;
  return typeof plugin === "object" && plugin !== null && typeof plugin.meta === "object" &&
    typeof plugin.meta.name === "string" && typeof plugin.options === "object";
}

/** The recipe with a name, or of a YAML or JSON file. */
export async function readRecipe(name: string): Promise<Recipe> {
  if (!/[./\\]/.test(name)) return presetRecipe(name);
  const text = await readText(name);
  let document: unknown;
  try {
    document = parse(text);
  } catch (cause) {
    throw new LowbitError("SCHEMA", (cause as Error).message.split("\n")[0], { file: name, cause });
  }
  return recipeSchema.parse(document, name);
}

/** The text of a file. */
export async function readText(path: string): Promise<string> {
  try {
    return await Deno.readTextFile(path);
  } catch (cause) {
    if (cause instanceof Deno.errors.NotFound) {
      throw new LowbitError("NOT_FOUND", "there is no such file", { file: path, cause });
    }
    throw new LowbitError("IO", (cause as Error).message, { file: path, cause });
  }
}

/** The tokenizer of a checkpoint; `NOT_FOUND` if it has none. */
export function tokenizerOf(checkpoint: Checkpoint): Tokenizer {
  const files = tokenizerFiles(checkpoint);
  if (files) return createTokenizer(files);
  throw new LowbitError("NOT_FOUND", "has no tokenizer", {
    file: checkpoint.name,
    field: "tokenizer.json",
    advice: "give token ids with --ids instead of text",
  });
}

/** Windows of ids from a JSON file, `FILE[#KEY]`: `[[...], ...]`, or one list that is cut. */
export async function readIds(reference: string, length: number): Promise<Int32Array[]> {
  const [path, key] = splitKey(reference);
  let document: unknown;
  try {
    document = JSON.parse(await readText(path));
  } catch (cause) {
    if (cause instanceof LowbitError) throw cause;
    throw new LowbitError("MALFORMED", `is not JSON: ${(cause as Error).message}`, { file: path });
  }
  const value = key === undefined
    ? document
    : document !== null && typeof document === "object" && Object.hasOwn(document, key)
    ? (document as Record<string, unknown>)[key]
    : undefined;
  const isIds = (ids: unknown): ids is number[] =>
    Array.isArray(ids) && ids.every((id) => Number.isSafeInteger(id) && id >= 0 && id < 2 ** 31);
  if (isIds(value) && value.length > 0) return cutWindows(Int32Array.from(value), { length });
  if (Array.isArray(value) && value.length > 0 && value.every(isIds)) {
    return value.map((ids) => Int32Array.from(ids));
  }
  throw new LowbitError("MALFORMED", "must be a list of windows of token ids: [[1, 2, ...], ...]", {
    file: path,
    field: key,
    advice: key === undefined ? "name a key with FILE#KEY if the windows are inside" : undefined,
  });
}

function splitKey(reference: string): [path: string, key?: string] {
  const at = reference.lastIndexOf("#");
  return at < 0 ? [reference] : [reference.slice(0, at), reference.slice(at + 1)];
}

/** Windows of a text, cut from the tokens of the whole of it. */
export async function readTextWindows(
  path: string,
  tokenizer: Tokenizer,
  options: { length: number; count?: number; spread?: boolean },
): Promise<Int32Array[]> {
  return cutWindows(tokenizer.encode(await readText(path)), options);
}

/**
 * Calibration windows: `--calibration` as ids (`.json`, `.json#key`) or text, or the shipped text.
 */
export async function readCalibration(
  args: Arguments,
  checkpoint: Checkpoint,
  recipe: Recipe,
): Promise<Int32Array[]> {
  const given = args.text("calibration");
  const { samples } = recipe.calibration;
  const { context } = openModel(checkpoint).hyperparameters;
  const length = Math.min(recipe.calibration.length, context);
  if (given && /\.json(#|$)/.test(given)) {
    return (await readIds(given, length)).slice(0, samples);
  }
  const path = given ?? embeddedPath("calibration.txt");
  const spread = { length, count: samples, spread: true };
  return await readTextWindows(path, tokenizerOf(checkpoint), spread);
}
