/**
 * Formats of the user: number formats and schemes in YAML files of their own.
 *
 * @module
 */

import {
  type Layout,
  layoutSchema,
  LowbitError,
  type NumberFormat,
  numberFormatSchema,
  type Recipe,
  type Schema,
  type Scheme,
  type SchemeReference,
  schemeSchema,
  VECTOR_FAMILIES,
  type VectorFormat,
  vectorFormatSchema,
} from "../spec/mod.ts";
import {
  layouts,
  numberFormats,
  resolveScheme,
  schemes,
  type UserFormats,
  vectorFormats,
} from "./lookup.ts";
import { parseYaml, readYaml } from "./yaml.ts";

/** A file that a user brings. */
export interface FormatFile {
  /** Its name, for errors. */
  file: string;
  /** Its text. */
  text: string;
}

/**
 * Reads number formats and vector formats (documents with a `family`), schemes (documents with a
 * `granularity`) and layouts (documents with a `unit`).
 *
 * Errors name file, line and field: what {@linkcode parseYaml} throws, and `CONFLICT` for an id that
 * the catalog or another file has.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { readUserFormats } from "./user_formats.ts";
 * const text = "id: e2m2\nsummary: 5 bits\nfamily: float\nbits: 5\nexponent: 2\nmantissa: 2\nbias: 1\n";
 * const { numbers } = readUserFormats([{ file: "e2m2.yaml", text }]);
 * assertEquals([...numbers.keys()], ["e2m2"]);
 * ```
 */
export function readUserFormats(files: readonly FormatFile[]): UserFormats {
  const numbers = new Map<string, NumberFormat>();
  const found = new Map<string, Scheme>();
  const vectors = new Map<string, VectorFormat>();
  const own = new Map<string, Layout>();
  const taken = [numberFormats, schemes, vectorFormats, layouts, numbers, found, vectors, own];
  for (const { file, text } of files) {
    const { document, lineOf } = readYaml(text, file);
    const free = ({ id }: { id: string }) => {
      if (!taken.some((ids) => ids.has(id))) return;
      throw new LowbitError("CONFLICT", `${id} is taken, and an id never changes its bytes`, {
        file: `${file}:${lineOf("id")}`,
        field: "id",
        advice: "choose another id",
      });
    };
    const read = <T extends { id: string }>(schema: Schema<T>, into: Map<string, T>) => {
      const entry = parseYaml(text, schema, file);
      free(entry);
      into.set(entry.id, entry);
    };
    if (has(document, "unit")) read(layoutSchema, own);
    else if (has(document, "granularity")) read(schemeSchema, found);
    else if (isVectorDocument(document)) read(vectorFormatSchema, vectors);
    else read(numberFormatSchema, numbers);
  }
  return { numbers, schemes: found, vectors, layouts: own };
}

function has<K extends string>(document: unknown, key: K): document is Record<K, unknown> {
  return typeof document === "object" && document !== null && Object.hasOwn(document, key);
}

function isVectorDocument(document: unknown): boolean {
  const families: readonly unknown[] = VECTOR_FAMILIES;
  return has(document, "family") && families.includes(document.family);
}

/**
 * A recipe whose weights use another number format: the granularity of every weight scheme stays,
 * its element becomes `format` with an f32 absmax scale.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { recipeSchema } from "../spec/mod.ts";
 * import { withFormat } from "./user_formats.ts";
 * const recipe = recipeSchema.parse({
 *   name: "r",
 *   assign: [{ select: ["*"], weight: "int4_g64_asym" }],
 *   pipeline: [{ use: "rtn" }],
 * });
 * const [{ weight }] = withFormat(recipe, "nf4").assign;
 * assertEquals(weight, {
 *   base: "int8_channel_sym",
 *   element: "nf4",
 *   granularity: { kind: "group", size: 64 },
 * });
 * ```
 */
export function withFormat(recipe: Recipe, format: string, user?: UserFormats): Recipe {
  const replace = (reference: SchemeReference): SchemeReference => ({
    base: "int8_channel_sym",
    element: format,
    granularity: resolveScheme(reference, user).granularity,
  });
  return {
    ...recipe,
    name: `${recipe.name}-${format.replaceAll("_", "-")}`,
    assign: recipe.assign.map((assignment) => ({
      ...assignment,
      ...(assignment.weight !== undefined && { weight: replace(assignment.weight) }),
    })),
  };
}

/** A recipe whose weights are in a vector format. */
function withVectorFormat(recipe: Recipe, format: string): Recipe {
  return {
    ...recipe,
    name: `${recipe.name}-${format.replaceAll("_", "-")}`,
    assign: recipe.assign.map((assignment) => ({
      ...assignment,
      ...(assignment.weight !== undefined && { weight: format }),
    })),
  };
}

/**
 * A recipe with the formats of the user in it: a number format that the recipe does not name takes
 * the place of the elements of all its weights, a vector format that of their schemes. `CONFLICT` if
 * there are several of those.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { presetRecipe } from "../recipes/mod.ts";
 * import { readUserFormats, withUnnamedFormats } from "./user_formats.ts";
 * const text = "id: pairs\nsummary: 2 values\nfamily: codebook\nbits: 1\nvalues: [-1, 1]\n";
 * const user = readUserFormats([{ file: "pairs.yaml", text }]);
 * assertEquals(withUnnamedFormats(presetRecipe("rtn-w4g64"), user).name, "rtn-w4g64-pairs");
 * ```
 */
export function withUnnamedFormats(recipe: Recipe, user: UserFormats): Recipe {
  const named = JSON.stringify(recipe.assign);
  const inVectors = JSON.stringify([...user.vectors.values()]);
  const isNamed = (id: string) =>
    [named, inVectors].some((text) => text.includes(JSON.stringify(id)));
  const vectors = [...user.vectors.keys()].filter((id) => !named.includes(JSON.stringify(id)));
  const numbers = [...user.numbers.keys()].filter((id) => !isNamed(id));
  const unnamed = [...numbers, ...vectors];
  if (unnamed.length === 0) return recipe;
  if (unnamed.length === 1) {
    const [id] = unnamed;
    return vectors.length === 1 ? withVectorFormat(recipe, id) : withFormat(recipe, id, user);
  }
  throw new LowbitError("CONFLICT", `does not say which of ${unnamed.join(", ")} is used where`, {
    file: recipe.name,
    field: "assign",
    advice: "name them as elements of schemes in the recipe",
  });
}
