/**
 * What is measured on a model: `tools/quality/MODEL.yaml`.
 *
 * @module
 */

import { parse } from "@std/yaml";

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

/** The fields of a row. */
const FIELDS = ["name", "recipe", "arguments", "baseline", "peers", "note", "budget"];

/** Reads what is measured; refuses unknown fields, baselines that are no rows, and equal names. */
export function parseCases(text: string): Cases {
  const { title, length = 256, windows, rows } = parse(text) as Cases;
  const cases: Cases = { title, length, windows, rows: rows.map(readCase) };
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

function readCase(row: Partial<Case>): Case {
  const { recipe, name = recipe } = row;
  if (!recipe || !name) throw new Error("a row has no recipe");
  const unknown = Object.keys(row).find((field) => !FIELDS.includes(field));
  if (unknown) throw new Error(`${name} has an unknown field ${unknown}`);
  return { arguments: [], peers: [], budget: false, ...row, name, recipe };
}
