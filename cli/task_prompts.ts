/**
 * Questions of a task as texts, as lm-evaluation-harness makes them: templates, and examples before.
 *
 * @module
 */

import type { ChoiceItem } from "../engine/choices.ts";
import { renderTemplate } from "../models/chat_template.ts";
import { LowbitError } from "../spec/mod.ts";
import { PythonRandom } from "./python_random.ts";

/** What a line holds. */
export type Document = Record<string, unknown>;

/** A line, and where it stands. */
export interface Line {
  /** What it holds. */
  document: Document;
  /** File and line. */
  place: string;
}

/** What a task says of its lines: names of fields, or templates in Jinja. */
export interface Templates {
  description: string;
  doc_to_text: string;
  doc_to_choice: string | string[];
  doc_to_target: string | number;
  target_delimiter: string;
  fewshot_delimiter: string;
}

/** How lines of `query`, `choices` and `gold` are read, as most tasks of the harness have them. */
export const PLAIN: Templates = {
  description: "",
  doc_to_text: "{{query}}",
  doc_to_choice: "choices",
  doc_to_target: "gold",
  target_delimiter: " ",
  fewshot_delimiter: "\n\n",
};

/** Examples before each question. */
export interface Shots {
  /** How many. */
  count: number;
  /** What they are chosen from. */
  pool: readonly Line[];
  /** Whether the question itself is left out. */
  apart: boolean;
  /** The first ones, instead of a sample. */
  first: boolean;
}

/** The seed of examples that the harness has, if nothing else is said. */
const SEED = 1234;

/** An error about a line. */
export function malformed(place: string, problem: string): LowbitError {
  return new LowbitError("MALFORMED", problem, {
    file: place,
    advice: "a line is one JSON object; see docs/tutorials/ci-engineer.md",
  });
}

/** The questions of lines, with examples before each if there are any. */
export function itemsOf(
  lines: readonly Line[],
  templates: Templates,
  shots?: Shots,
): ChoiceItem[] {
  const random = new PythonRandom(SEED);
  return lines.map((line) => {
    const { text, choices, gold } = question(line, templates);
    const { target_delimiter, fewshot_delimiter, description } = templates;
    const examples = shots ? chosen(shots, line, random) : [];
    const before = examples.map((example) => {
      const { text, choices, gold } = question(example, templates);
      return text + target_delimiter + choices[gold] + fewshot_delimiter;
    });
    return {
      context: [fill(description, line), ...before, text].join(""),
      choices: choices.map((choice) => target_delimiter + choice),
      lengths: choices.map((choice) => choice.length),
      gold,
    };
  });
}

/** The examples of a question. As in the harness, every question draws on from the one before. */
function chosen({ count, pool, apart, first }: Shots, line: Line, random: PythonRandom): Line[] {
  const same = JSON.stringify(line.document);
  const other = ({ document }: Line) => !apart || JSON.stringify(document) !== same;
  if (first) return pool.filter(other).slice(0, count);
  const drawn = random.sample(pool, count + (apart ? 1 : 0)).filter(other).slice(0, count);
  // Lines that are repeated may leave too few.
  return drawn.length === count ? drawn : random.sample(pool.filter(other), count);
}

function question(
  line: Line,
  { doc_to_text, doc_to_choice, doc_to_target }: Templates,
): { text: string; choices: string[]; gold: number } {
  const { place } = line;
  const choices = typeof doc_to_choice === "string" ? listOf(doc_to_choice, line) : doc_to_choice;
  if (
    !Array.isArray(choices) || choices.length < 2 || !choices.every((c) => typeof c === "string")
  ) {
    throw malformed(place, "must have at least two choices, all texts");
  }
  const target = typeof doc_to_target === "string" ? valueOf(doc_to_target, line) : doc_to_target;
  const gold = typeof target === "number"
    ? target
    : /^\d+$/.test(String(target))
    ? Number(target)
    : choices.indexOf(String(target));
  if (!Number.isInteger(gold) || gold < 0 || gold >= choices.length) {
    throw malformed(place, `${JSON.stringify(target)} is none of the choices`);
  }
  return { text: String(valueOf(doc_to_text, line)), choices, gold };
}

/** The value of a field, or the text of a template. */
function valueOf(template: string, line: Line): unknown {
  if (Object.hasOwn(line.document, template)) return line.document[template];
  return fill(template, line);
}

/** A list in a field, or in a template that is one expression. */
function listOf(template: string, line: Line): unknown {
  if (Object.hasOwn(line.document, template)) return line.document[template];
  const expression = /^\s*\{\{([^{}]*)\}\}\s*$/.exec(template)?.[1];
  if (expression === undefined) {
    throw malformed(line.place, `${template} must be a field or one expression in {{ }}`);
  }
  try {
    return JSON.parse(fill(`{{ (${expression}) | tojson }}`, line));
  } catch (error) {
    if (error instanceof LowbitError) throw error;
    throw malformed(line.place, `${template} gives no list`);
  }
}

/** The text of a template; a name that the line does not have is an error, as in the harness. */
function fill(template: string, { document, place }: Line): string {
  for (const [, name] of template.matchAll(/\{\{\s*(\w+)\s*[}.|[]/g)) {
    if (!Object.hasOwn(document, name)) throw malformed(place, `has no field ${name}`);
  }
  try {
    return renderTemplate(template, document);
  } catch (error) {
    throw malformed(place, `${template} ${(error as Error).message}`);
  }
}
