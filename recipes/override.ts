/**
 * Recipes with single values replaced, as `--set path=value` does.
 *
 * @module
 */

import { LowbitError, type Recipe, recipeSchema } from "../spec/mod.ts";

/** A value, and where it belongs. */
export interface Override {
  /** Fields from the outside in, with a dot between them: `pipeline.gptq.options.damping`. */
  path: string;
  /** The value; `undefined` takes the field away. */
  value: unknown;
}

/**
 * A recipe with values replaced, checked as a whole again. Lists take an index, and a pipeline also
 * the name of a plugin. The recipe keeps its name. Errors: `SCHEMA` (also for fields that are not
 * there to be entered).
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { presetRecipe } from "./mod.ts";
 * import { overrideRecipe } from "./override.ts";
 * const recipe = overrideRecipe(presetRecipe("gptq-w4g64"), [
 *   { path: "calibration.samples", value: 4 },
 *   { path: "pipeline.gptq.options.damping", value: 0.05 },
 * ]);
 * assertEquals(recipe.calibration.samples, 4);
 * assertEquals(recipe.pipeline[0].options.damping, 0.05);
 * ```
 */
export function overrideRecipe(recipe: Recipe, overrides: readonly Override[]): Recipe {
  if (overrides.length === 0) return recipe;
  const document = JSON.parse(JSON.stringify(recipe));
  for (const { path, value } of overrides) {
    const keys = path.split(".");
    const last = keys.pop()!;
    let node = document;
    for (const [depth, key] of keys.entries()) {
      node = enter(node, key, keys.slice(0, depth + 1).join("."), recipe.name);
    }
    const at = Array.isArray(node) ? indexOf(node, last) : last;
    if (at === undefined || FORBIDDEN.includes(last)) throw missing(path, node, recipe.name);
    if (value === undefined) delete node[at];
    else node[at] = value;
  }
  return recipeSchema.parse(document, recipe.name);
}

/** Keys that are no fields of a document. */
const FORBIDDEN = ["__proto__", "constructor", "prototype"];

// deno-lint-ignore no-explicit-any
type Node = any;

function enter(node: Node, key: string, path: string, file: string): Node {
  const at = Array.isArray(node) ? indexOf(node, key) : key;
  if (at === undefined || FORBIDDEN.includes(key)) throw missing(path, node, file);
  // A field that is left to its default has nothing to enter yet.
  if (!Array.isArray(node) && !Object.hasOwn(node, at)) node[at] = {};
  const next = node[at];
  if (typeof next !== "object" || next === null) throw missing(path, node, file);
  return next;
}

function indexOf(list: Node[], key: string): number | undefined {
  if (/^\d+$/.test(key)) return Number(key) <= list.length ? Number(key) : undefined;
  const found = list.findIndex((item) => item?.use === key);
  return found < 0 ? undefined : found;
}

function missing(path: string, node: Node, file: string): LowbitError {
  const names = Array.isArray(node)
    ? node.map((item, i) => item?.use ?? i)
    : Object.keys(node as object);
  return new LowbitError("SCHEMA", "is nothing that can be set", {
    file,
    field: path,
    advice: names.length > 0 ? `there is ${names.join(", ")}` : undefined,
  });
}
