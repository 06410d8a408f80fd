/**
 * `lowbit recipes`, `lowbit schema`: what there is, and how it is written.
 *
 * @module
 */

import { PLUGINS } from "../plugins/mod.ts";
import { stringify } from "@std/yaml";
import { presetRecipe, presetRecipes } from "../recipes/mod.ts";
import {
  architectureSchema,
  layoutSchema,
  LowbitError,
  numberFormatSchema,
  recipeSchema,
  type Schema,
  schemeSchema,
  unknownName,
  vectorFormatSchema,
} from "../spec/mod.ts";
import type { Arguments, Command } from "./arguments.ts";
import { setOption, withPluginOptions, withSettings } from "./recipe_options.ts";
import { writeLine } from "./progress.ts";
import { table } from "./table.ts";

/** The command `recipes`. */
export const recipesCommand: Command = {
  name: "recipes",
  usage: "[list | show NAME | schema]",
  summary: "Preset recipes; METHOD-wBITS[aBITS][gGROUP][-sym|-asym] gives any combination.",
  positional: [0, 2],
  options: [setOption],
  run(args) {
    const [action = "list", name] = args.positional;
    if (action === "schema" && name === undefined) return printRecipeSchema();
    const recipes = [...presetRecipes().values()];
    if (action === "list") {
      return print(
        args,
        recipes,
        () => table(["recipe", "what it does"], recipes.map((r) => [r.name, r.summary])),
      );
    }
    checkAction(action, name, ["list", "show", "schema"]);
    const recipe = withSettings(presetRecipe(name), args);
    print(args, recipe, () => stringify(plain(recipe)).trimEnd());
  },
};

/** The schema of recipes, with the options of the shipped plugins. */
function printRecipeSchema(): void {
  const options = new Map(PLUGINS.map((p) => [p.meta.name, p.options.jsonSchema()] as const));
  writeLine(JSON.stringify(withPluginOptions(recipeSchema.jsonSchema(), options), null, 2));
}

const SCHEMAS: Record<string, Schema<unknown>> = {
  recipe: recipeSchema,
  format: numberFormatSchema,
  "vector-format": vectorFormatSchema,
  scheme: schemeSchema,
  layout: layoutSchema,
  architecture: architectureSchema,
};

/** The command `schema`. */
export const schemaCommand: Command = {
  name: "schema",
  usage: Object.keys(SCHEMAS).join(" | "),
  summary: "Print the JSON Schema of a kind of document, for editors that complete YAML.",
  positional: [1, 1],
  options: [],
  run(args) {
    const [kind] = args.positional;
    if (kind === "recipe") return printRecipeSchema();
    const schema = Object.hasOwn(SCHEMAS, kind) ? SCHEMAS[kind] : undefined;
    if (!schema) throw unknownName("schema", kind, Object.keys(SCHEMAS));
    writeLine(JSON.stringify(schema.jsonSchema(), null, 2));
  },
};

/** Refuses everything but `show NAME`. */
export function checkAction(
  action: string,
  name: string | undefined,
  actions: readonly string[] = ["list", "show"],
): asserts name is string {
  if (action !== "show") {
    const error = unknownName("action", action, actions);
    throw new LowbitError("USAGE", error.problem, { advice: error.advice });
  }
  if (name === undefined) {
    throw new LowbitError("USAGE", "show needs a name", { advice: "leave show out for the list" });
  }
}

/** Prints JSON or text, as the arguments ask. */
export function print(args: Arguments, document: unknown, text: () => string): void {
  writeLine(args.flag("json") ? JSON.stringify(document) : text());
}

/** Without `undefined`, which YAML cannot say. */
export function plain(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value));
}
