/**
 * What commands read: text, token ids, recipes and plugins, from the arguments.
 *
 * @module
 */

import { checkWindows, cutWindows } from "../engine/calibration.ts";
import { openModel } from "../models/architecture.ts";
import type { UserFormats } from "../formats/lookup.ts";
import { type FormatFile, readUserFormats } from "../formats/user_formats.ts";
import { presetRecipe } from "../recipes/mod.ts";
import {
  checkManifest,
  type Checkpoint,
  LowbitError,
  type Plugin,
  type Recipe,
} from "../spec/mod.ts";
import { parseRecipe, type WorkbenchOptions } from "../workbench.ts";
import type { CacheChoice } from "../engine/cache.ts";
import type { LinearOptions } from "../engine/executor.ts";
import { openSandbox } from "../sandbox/mod.ts";
import type { Arguments, Option } from "./arguments.ts";

/** The option of commands that run a model. */
export const activationsOption: Option = {
  name: "activations",
  type: "text",
  value: "f32|f32-grouped|int8",
  help: "how integer weights are multiplied: exactly, scaled by group (faster), in integers (f32)",
};

/** The option of commands that may run a model on a GPU. */
export const deviceOption: Option = {
  name: "device",
  type: "text",
  value: "cpu|webgpu",
  help: "where packed weights are multiplied (cpu)",
};

/** What `--device` says. */
export function deviceOf(args: Arguments): WorkbenchOptions["device"] {
  const wanted = args.text("device");
  if (wanted === undefined || wanted === "cpu" || wanted === "webgpu") return wanted;
  throw new LowbitError("USAGE", `--device must be cpu or webgpu, not ${wanted}`, {
    advice: "leave it out for cpu",
  });
}

/** What `--activations` says. */
export function activationsOf(args: Arguments): LinearOptions["activations"] {
  const wanted = args.text("activations");
  if (wanted === undefined) return undefined;
  const known = (["f32", "f32-grouped", "int8"] as const).find((value) => value === wanted);
  if (known) return known;
  throw new LowbitError("USAGE", `--activations must be f32, f32-grouped or int8, not ${wanted}`, {
    advice: "leave it out for f32",
  });
}

/** The options of commands that can run a model with the cache of a plugin. */
export const cacheOptions: readonly Option[] = [
  {
    name: "cache",
    type: "text",
    value: "PLUGIN",
    help: "key/value cache by a plugin, such as kivi",
  },
  { name: "cache-options", type: "text", value: "JSON", help: "options of that plugin" },
];

/** What `--cache` and `--cache-options` say. */
export function cacheOf(args: Arguments): CacheChoice | undefined {
  const use = args.text("cache");
  const options = readObject(args, "cache-options");
  if (use === undefined && options) {
    throw new LowbitError("USAGE", "--cache-options need --cache", {
      advice: "name the cache, as in --cache kivi",
    });
  }
  return use === undefined ? undefined : { use, options };
}

/** The JSON object of an option. */
export function readObject(args: Arguments, name: string): Record<string, unknown> | undefined {
  const text = args.text(name);
  if (text === undefined) return undefined;
  try {
    const value = JSON.parse(text);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value;
  } catch { /* said below */ }
  throw new LowbitError("USAGE", `--${name} must be a JSON object, not ${JSON.stringify(text)}`, {
    advice: `as in --${name} '{"bits": 4}'`,
  });
}

/** The options of commands that run plugins. */
export const pluginOptions: readonly Option[] = [
  {
    name: "plugin",
    type: "text",
    value: "PATH",
    help: "import a plugin (runs its code)",
    many: true,
  },
  {
    name: "sandbox",
    type: "flag",
    help: "run plugins of --plugin in a Worker without permissions",
  },
  {
    name: "sandbox-seconds",
    type: "number",
    value: "S",
    help: "the longest that a call of a plugin in the sandbox may take (60)",
  },
  {
    name: "sandbox-memory",
    type: "bytes",
    value: "SIZE",
    help: "the most memory that a plugin in the sandbox may take (1GiB)",
  },
];

/** The plugins of `--plugin` paths, which are imported and run as code. */
export async function importPlugins(args: Arguments): Promise<Plugin[]> {
  const plugins: Plugin[] = [];
  const limits = {
    seconds: args.number("sandbox-seconds") ?? 60,
    bytes: args.number("sandbox-memory") ?? 2 ** 30,
  };
  for (const path of args.texts("plugin")) {
    if (!args.flag("sandbox")) plugins.push(...await importPlugin(path));
    // The Worker ends with the process.
    else plugins.push(...(await openSandbox(await readText(path), path, limits)).plugins);
  }
  for (const plugin of plugins) checkManifest(plugin);
  return plugins;
}

/** The plugins that a module exports. */
export async function importPlugin(path: string): Promise<Plugin[]> {
  const url = /^[a-z]+:\/\//.test(path) ? path : new URL(path, `file://${Deno.cwd()}/`).href;
  let module: Record<string, unknown>;
  try {
    module = await import(url);
  } catch (cause) {
    throw new LowbitError("PLUGIN", `cannot be imported: ${(cause as Error).message}`, {
      file: path,
      cause,
      advice: "run with --debug for the whole error, or `lowbit plugins test`",
    });
  }
  const found = [...new Set(Object.values(module).filter(isPlugin))];
  if (found.length > 0) return found;
  throw new LowbitError("PLUGIN", "exports no plugin", {
    file: path,
    advice: "export the result of definePlugin",
  });
}

function isPlugin(value: unknown): value is Plugin {
  const plugin = value as Partial<Plugin> | null;
  return typeof plugin === "object" && plugin !== null && typeof plugin.meta === "object" &&
    typeof plugin.meta.name === "string" && typeof plugin.options === "object";
}

/** The recipe with a name, or of a YAML or JSON file. */
export async function readRecipe(name: string): Promise<Recipe> {
  return isPath(name) ? parseRecipe(await readText(name), name) : presetRecipe(name);
}

function isPath(recipe: string): boolean {
  return /[/\\]|\.(ya?ml|json)$/.test(recipe);
}

/** An error that names a recipe, with the file that the recipe came from in its place. */
export function nameRecipeFile(error: unknown, recipe: Recipe, source: string): unknown {
  if (!(error instanceof LowbitError) || !isPath(source)) return error;
  const { code, problem, field, advice, cause, file = "" } = error;
  if (file !== recipe.name && !file.startsWith(`${recipe.name}: `)) return error;
  const named = source + file.slice(recipe.name.length);
  return new LowbitError(code, problem, { file: named, field, advice, cause });
}

/** The formats of `--format` files. */
export async function readFormats(args: Arguments): Promise<UserFormats> {
  const files: FormatFile[] = [];
  for (const file of args.texts("format")) files.push({ file, text: await readText(file) });
  return readUserFormats(files);
}

/** The text of a file. */
export async function readText(path: string): Promise<string> {
  try {
    return await Deno.readTextFile(path);
  } catch (cause) {
    if (cause instanceof Deno.errors.NotFound) {
      throw new LowbitError("NOT_FOUND", "there is no such file", {
        file: path,
        cause,
        advice: "check the path; it is taken from the current folder",
      });
    }
    throw new LowbitError("IO", (cause as Error).message, {
      file: path,
      cause,
      advice: "check that it is a file that may be read",
    });
  }
}

/** Windows of ids from a JSON file, `FILE[#KEY]`: `[[...], ...]`, or one list that is cut. */
export async function readIds(reference: string, length: number): Promise<Int32Array[]> {
  const [path, key] = splitKey(reference);
  let document: unknown;
  const text = await readText(path);
  try {
    document = JSON.parse(text);
  } catch (cause) {
    throw new LowbitError("MALFORMED", `is not JSON: ${(cause as Error).message}`, {
      file: path,
      advice: "it must hold windows of token ids: [[1, 2, ...], ...]",
    });
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

/** `FILE#KEY` in its parts. */
export function splitKey(reference: string): [path: string, key?: string] {
  const at = reference.lastIndexOf("#");
  return at < 0 ? [reference] : [reference.slice(0, at), reference.slice(at + 1)];
}

/** Checks windows against the model that they are for; `file` names their origin. */
export function checkFor(model: Checkpoint, windows: readonly Int32Array[], file: string): void {
  const { vocab: vocabulary, context } = openModel(model).hyperparameters;
  checkWindows(windows, { vocabulary, context }, file);
}
