/**
 * Preset recipes: those of the catalog, and every combination of bits and group size that their
 * methods have.
 *
 * A name is `METHOD-wBITS[aBITS][gGROUP][-sym|-asym]`. Where the catalog has no such recipe, the
 * one of the same method is taken and its schemes are replaced. 8 bits are symmetric and fewer
 * asymmetric, unless the name says otherwise.
 *
 * @module
 */

import {
  LowbitError,
  type Recipe,
  recipeSchema,
  type SchemeReference,
  unknownName,
} from "../spec/mod.ts";
import { RECIPES } from "./catalog.ts";

let loaded: Map<string, Recipe> | undefined;

/**
 * The recipes of the catalog, by name.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { presetRecipes } from "./mod.ts";
 * assertEquals(presetRecipes().get("gptq-w4g128")?.pipeline.map(({ use }) => use), ["gptq"]);
 * ```
 */
export function presetRecipes(): ReadonlyMap<string, Recipe> {
  return loaded ??= new Map(
    RECIPES.map((document) => recipeSchema.parse(document)).map((r) => [r.name, r] as const),
  );
}

/** What a name of a preset says. */
interface PresetName {
  method: string;
  bits: number;
  activationBits?: number;
  group?: number;
  symmetric: boolean;
}

/**
 * The recipe with a name, of the catalog or derived from one. `UNKNOWN_NAME` if there is none.
 *
 * @example
 * ```ts
 * import { presetRecipe } from "./mod.ts";
 * presetRecipe("gptq-w3g64").pipeline[0].use; // "gptq"
 * ```
 */
export function presetRecipe(name: string): Recipe {
  const presets = presetRecipes();
  const exact = presets.get(name);
  if (exact) return exact;
  const parsed = parseName(name);
  const base = parsed && [...presets.values()].find((r) => methodOf(r.name) === parsed.method);
  if (!parsed || !base) {
    const methods = new Set([...presets.keys()].flatMap((preset) => methodOf(preset) ?? []));
    const rest = parsed && name.slice(parsed.method.length);
    const derived = rest === undefined ? [] : [...methods].map((method) => method + rest);
    throw unknownName("recipe", name, [...presets.keys(), ...derived], {
      advice: "`lowbit recipes list` shows them; or give the path of a YAML file",
    });
  }
  const { bits, activationBits, group, symmetric } = parsed;
  if (bits < 2 || bits > 8 || (activationBits !== undefined && activationBits > 8)) {
    throw new LowbitError("FORMAT", "integers have 2 to 8 bits", { file: name });
  }
  const weight: SchemeReference = {
    base: symmetric ? "int8_channel_sym" : "int8_channel_asym",
    element: `${symmetric ? "int" : "uint"}${bits}`,
    granularity: group ? { kind: "group", size: group } : { kind: "channel" },
  };
  const activation = activationBits === undefined
    ? undefined
    : { base: "int8_token", element: `int${activationBits}` };
  return {
    ...base,
    name,
    summary: `${base.summary.split(",")[0]}, as the name says`,
    assign: base.assign.map(({ select }) => ({
      select,
      weight,
      ...(activation && { activation }),
    })),
  };
}

const NAME = /^([a-z0-9-]+?)-w(\d+)(?:a(\d+))?(?:g(\d+))?(-sym|-asym)?$/;

function parseName(name: string): PresetName | undefined {
  const match = NAME.exec(name);
  if (!match) return undefined;
  const [, method, bits, activation, group, symmetry] = match;
  return {
    method,
    bits: Number(bits),
    ...(activation && { activationBits: Number(activation) }),
    ...(group && { group: Number(group) }),
    symmetric: symmetry ? symmetry === "-sym" : Number(bits) >= 8,
  };
}

function methodOf(name: string): string | undefined {
  return NAME.exec(name)?.[1];
}
