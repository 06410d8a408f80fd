/**
 * Mixtures of block types, as llama.cpp names them (Q4_K_M): the preset recipes `ggml-...` that say
 * what becomes of the embedding, applied to the tensors of a conversion.
 *
 * @module
 */

import { blockColumns, type Codecs, type LinearInfo, type Recipe } from "../../spec/mod.ts";
import { architectures } from "../../models/architecture.ts";
import { assignSchemes } from "../assign.ts";
import type { ConvertItem } from "./items.ts";

/** Recipes by the names that `--to gguf:NAME` takes. */
export function mixturesOf(recipes: Iterable<Recipe>): Map<string, Recipe> {
  const mixtures = [...recipes].filter(({ name, embedding }) =>
    embedding && name.startsWith("ggml-")
  );
  return new Map(mixtures.map((recipe) => [recipe.name.slice("ggml-".length), recipe]));
}

/** The scheme of every tensor of a mixture; undefined for those that stay as they are. */
export function mixtureTypes(
  recipe: Recipe,
  items: readonly ConvertItem[],
  codecs: Codecs,
): (item: ConvertItem) => string | undefined {
  const names = standardNames();
  const linears = items.flatMap((item) => linearOf(item, names) ?? []);
  const embedding = linears.find(({ id }) => id === "embedding");
  const tied = !linears.some(({ id }) => id === "head");
  const head: LinearInfo[] = tied && embedding ? [{ ...embedding, id: "head", role: "head" }] : [];
  const schemes = assignSchemes({
    recipe,
    linears: [...linears.filter((linear) => linear !== embedding), ...head],
    embedding,
    tied,
    codecs,
  });
  return (item) => {
    const linear = linearOf(item, names);
    const scheme = linear && schemes.get(linear.id)?.weight;
    return scheme && linear.columns % blockColumns(scheme) === 0 ? scheme.id : undefined;
  };
}

/** The names in GGUF of the parameters of all architectures, for files of an unknown one. */
function standardNames(): Map<string, string> {
  return new Map(
    architectures().flatMap(({ parameters }) => parameters).map(({ name, gguf }) => [gguf, name]),
  );
}

function linearOf(
  { id, name, linear, tensor: { shape } }: ConvertItem,
  names: ReadonlyMap<string, string>,
): LinearInfo | undefined {
  if (shape.length !== 2) return undefined;
  const match = /^blk\.(\d+)\./.exec(name);
  const role = match ? names.get(name.replace(/^blk\.\d+\./, "blk.{i}.")) : names.get(name);
  const known = id ?? (role && (match ? `blocks.${match[1]}.${role}` : role));
  if (known === undefined || (id && !linear && id !== "embedding")) return undefined;
  const inside = /^blocks\.(\d+)\.(.+)$/.exec(known);
  const [rows, columns] = shape;
  return {
    ...{ id: known, role: inside?.[2] ?? known, rows, columns, input: "" },
    ...(inside && { block: Number(inside[1]) }),
  };
}
