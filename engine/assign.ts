/**
 * Which scheme a recipe gives each linear, and the embedding.
 *
 * @module
 */

import {
  blockColumns,
  type Codecs,
  inBlocks,
  type LinearInfo,
  type LinearSchemes,
  type Recipe,
  type SchemeReference,
  selects,
} from "../spec/mod.ts";
import type { ModelGraph } from "../models/architecture.ts";

/** The embedding, as a matrix that a recipe may give a scheme. */
export function embeddingOf({ parameters }: ModelGraph): LinearInfo | undefined {
  const found = parameters.find(({ id }) => id === "embedding");
  if (!found) return undefined;
  const [rows, columns] = found.shape;
  return { id: found.id, role: found.name, rows, columns, input: "" };
}

/** What assigning needs. */
export interface AssignArguments {
  /** The recipe. */
  recipe: Recipe;
  /** The linears of the model. */
  linears: readonly LinearInfo[];
  /** The embedding, if it may have a scheme. */
  embedding?: LinearInfo;
  /** Whether the head shares the weight of the embedding. */
  tied?: boolean;
  /** To look up schemes. */
  codecs: Pick<Codecs, "resolve" | "resolveVector">;
}

/**
 * The schemes that the recipe gives each linear; later assignments win, part by part. Where the head
 * shares the weight of an embedding that has a scheme, this has that of the head.
 */
export function assignSchemes(args: AssignArguments): Map<string, LinearSchemes> {
  const { recipe, linears, codecs, embedding, tied } = args;
  const schemes = new Map<string, LinearSchemes>();
  const blocks = 1 + Math.max(-1, ...linears.map(({ block }) => block ?? -1));
  const give = (linear: LinearInfo, asked: Recipe["assign"][number], place: string) => {
    const parts = resolveParts(codecs, asked, place);
    const whole = asked.otherwise === undefined || !parts.weight ||
      linear.columns % blockColumns(parts.weight) === 0;
    const chosen = whole
      ? parts
      : resolveParts(codecs, { ...asked, weight: asked.otherwise }, place);
    schemes.set(linear.id, { ...schemes.get(linear.id), ...chosen });
  };
  for (const [index, assignment] of recipe.assign.entries()) {
    const place = `${recipe.name}: assign.${index}`;
    resolveParts(codecs, assignment, place);
    for (const linear of linears) {
      if (!selects(assignment.select, linear)) continue;
      if (assignment.blocks && !inBlocks(assignment.blocks, linear.block, blocks)) continue;
      give(linear, assignment, place);
    }
  }
  if (!recipe.embedding || !embedding) return schemes;
  const head = tied ? schemes.get("head") : undefined;
  if (head) {
    schemes.delete("head");
    schemes.set(embedding.id, head);
  } else give(embedding, { select: [], ...recipe.embedding }, `${recipe.name}: embedding`);
  return schemes;
}

/** What references name; a weight has a scheme or a vector format, and replaces both. */
export function resolveParts(
  codecs: AssignArguments["codecs"],
  { weight, activation }: { weight?: SchemeReference; activation?: SchemeReference },
  place?: string,
): LinearSchemes {
  const parts: LinearSchemes = {};
  if (weight !== undefined) {
    const field = place && `${place}.weight`;
    parts.vector = codecs.resolveVector(weight, field);
    parts.weight = parts.vector ? undefined : codecs.resolve(weight, field);
  }
  if (activation !== undefined) {
    parts.activation = codecs.resolve(activation, place && `${place}.activation`);
  }
  return parts;
}
