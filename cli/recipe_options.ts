/**
 * Recipes of the arguments: `--recipe`, with what `--set` replaces.
 *
 * @module
 */

import { parse } from "@std/yaml";
import { overrideRecipe } from "../recipes/override.ts";
import { LowbitError, type Recipe } from "../spec/mod.ts";
import type { Arguments, Option } from "./arguments.ts";

/** The option that replaces a value of a recipe. */
export const setOption: Option = {
  name: "set",
  type: "text",
  value: "PATH=VALUE",
  help: "replace a value of the recipe: calibration.samples=32, pipeline.gptq.options.damping=0.1",
  many: true,
};

/** A recipe with the values of `--set`, which are YAML. */
export function withSettings(recipe: Recipe, args: Arguments): Recipe {
  const overrides = args.texts("set").map((text) => {
    const at = text.indexOf("=");
    if (at < 1) {
      throw new LowbitError("USAGE", `--set must be PATH=VALUE, not ${JSON.stringify(text)}`, {
        advice: "as in --set pipeline.gptq.options.damping=0.02",
      });
    }
    const path = text.slice(0, at);
    try {
      return { path, value: at + 1 === text.length ? undefined : parse(text.slice(at + 1)) };
    } catch (cause) {
      const problem = (cause as Error).message.split("\n")[0];
      throw new LowbitError("USAGE", `--set ${path}: the value is no YAML: ${problem}`, {
        cause,
        advice: "quote it for the shell and for YAML",
      });
    }
  });
  return overrideRecipe(recipe, overrides);
}

/** A JSON Schema in which every step of a pipeline has the options of its plugin. */
export function withPluginOptions(
  schema: Record<string, unknown>,
  options: ReadonlyMap<string, Record<string, unknown>>,
): Record<string, unknown> {
  const document = structuredClone(schema) as Node;
  const step = document.properties.pipeline.items;
  document.properties.pipeline.items = {
    ...step,
    // A plugin of one's own may have any options; those that are shipped have theirs.
    allOf: [...options].map(([name, { $schema: _, ...own }]) => ({
      if: { properties: { use: { const: name } } },
      then: { properties: { options: own } },
    })),
  };
  return document;
}

// deno-lint-ignore no-explicit-any
type Node = any;
