/**
 * What is measured on a model: `tools/quality/MODEL.yaml`.
 *
 * @module
 */

import { parse } from "@std/yaml";
import { z } from "zod";

/** A figure of another implementation, by the same protocol. */
export interface Peer {
  /** Its KL to the model in full precision, nats. */
  kl: number;
  /** Which implementation. */
  source: string;
}

/** A recipe that is measured. */
export interface Case {
  /** What the table calls it. */
  name: string;
  /** A preset, or a YAML file. */
  recipe: string;
  /** More arguments of `lowbit quantize`. */
  arguments: string[];
  /** The name of the row that it has to beat: the same schemes without the method. */
  baseline?: string;
  /** Figures of other implementations. */
  peers: Peer[];
  /** What explains the figure. */
  note?: string;
  /** Whether schemes are chosen within a budget; such rows have a table of their own. */
  budget: boolean;
}

/** A model, how it is measured, and the recipes. */
export interface Cases {
  /** The title of the table. */
  title: string;
  /** Tokens of a window, where windows are cut from the shipped text. */
  length: number;
  /** How many windows; all of them if absent. */
  windows?: number;
  /** The recipes. */
  rows: Case[];
}

const schema: z.ZodType<Cases> = z.strictObject({
  title: z.string(),
  length: z.int().positive().default(256),
  windows: z.int().positive().optional(),
  rows: z.array(
    z.strictObject({
      name: z.string().optional(),
      recipe: z.string(),
      arguments: z.array(z.string()).default([]),
      baseline: z.string().optional(),
      peers: z.array(z.strictObject({ kl: z.number().positive(), source: z.string() })).default([]),
      note: z.string().optional(),
      budget: z.boolean().default(false),
    }).transform((row) => ({ ...row, name: row.name ?? row.recipe })),
  ),
});

/** Reads what is measured; refuses baselines that are no rows, and rows of one name. */
export function parseCases(text: string): Cases {
  const cases = schema.parse(parse(text));
  const names = new Set<string>();
  for (const { name } of cases.rows) {
    if (names.has(name)) throw new Error(`two rows are called ${name}`);
    names.add(name);
  }
  for (const { name, baseline } of cases.rows) {
    if (baseline !== undefined && !names.has(baseline)) {
      throw new Error(`the baseline ${baseline} of ${name} is no row`);
    }
  }
  return cases;
}
