/**
 * Multiple-choice tasks from files: JSON lines, or a task of lm-evaluation-harness that names them.
 *
 * @module
 */

import type { ChoiceItem } from "../engine/choices.ts";
import { LowbitError } from "../spec/mod.ts";
import { parse } from "@std/yaml";
import { readText } from "./inputs.ts";

/** What a task says of its lines: names of fields, or texts with `{{field}}` in them. */
interface Templates {
  doc_to_text: string;
  doc_to_choice: string | string[];
  doc_to_target: string | number;
  target_delimiter: string;
}

/** How lines of `query`, `choices` and `gold` are read, as most tasks of the harness have them. */
const PLAIN: Templates = {
  doc_to_text: "{{query}}",
  doc_to_choice: "choices",
  doc_to_target: "gold",
  target_delimiter: " ",
};

/** What a YAML task may say beside its templates without changing a score. */
const WITHOUT_EFFECT = [
  ...["task", "tag", "group", "dataset_path", "dataset_kwargs", "test_split", "validation_split"],
  ...["training_split", "output_type", "metric_list", "metadata", "dataset_name"],
];

type Document = Record<string, unknown>;

/** The questions of a task file. */
export async function readTask(path: string): Promise<{ name: string; items: ChoiceItem[] }> {
  const name = path.split(/[\\/]/).at(-1)!.replace(/\.[a-z]+$/, "");
  if (!/\.ya?ml$/.test(path)) return { name, items: await readLines(path, PLAIN) };
  const task = parse(await readText(path)) as Document;
  const wrong = (field: string, problem: string) =>
    new LowbitError("UNSUPPORTED", problem, {
      file: path,
      field,
      advice: "change the task, or write its questions as JSON lines of query, choices and gold",
    });
  if (task?.output_type !== "multiple_choice") {
    throw wrong("output_type", "only multiple_choice is scored");
  }
  if (task.dataset_path !== "json") throw wrong("dataset_path", "must be json: files of yours");
  const templates = { ...PLAIN, doc_to_target: "label" };
  for (const [key, value] of Object.entries(task)) {
    if (key === "num_fewshot" && value === 0) continue;
    if (WITHOUT_EFFECT.includes(key)) continue;
    if (!Object.hasOwn(templates, key)) throw wrong(key, "is not known, and could change scores");
    Object.assign(templates, { [key]: value });
  }
  const { data_files } = task.dataset_kwargs as { data_files: string | Record<string, string> };
  const split = String(task.test_split ?? task.validation_split ?? "train");
  const file = typeof data_files === "string" ? data_files : data_files?.[split];
  if (typeof file !== "string") throw wrong("dataset_kwargs.data_files", `has no ${split}`);
  const beside = /^([/\\]|[A-Za-z]:)/.test(file) ? file : path.replace(/[^/\\]*$/, "") + file;
  return { name: String(task.task ?? name), items: await readLines(beside, templates) };
}

async function readLines(path: string, templates: Templates): Promise<ChoiceItem[]> {
  const items: ChoiceItem[] = [];
  for (const [i, line] of (await readText(path)).split(/\r?\n/).entries()) {
    if (line.trim() === "") continue;
    const wrong = (problem: string) =>
      new LowbitError("MALFORMED", problem, {
        file: `${path}:${i + 1}`,
        advice: "a line is one JSON object; see docs/tutorials/ci-engineer.md",
      });
    let document: Document;
    try {
      document = JSON.parse(line);
    } catch (cause) {
      throw wrong(`is not JSON: ${(cause as Error).message}`);
    }
    items.push(itemOf(document, templates, wrong));
  }
  if (items.length === 0) {
    throw new LowbitError("MALFORMED", "has no questions", {
      file: path,
      advice: "it must hold one JSON object a line: query, choices, gold",
    });
  }
  return items;
}

function itemOf(
  document: Document,
  { doc_to_text, doc_to_choice, doc_to_target, target_delimiter }: Templates,
  wrong: (problem: string) => LowbitError,
): ChoiceItem {
  const fill = (template: string): unknown => {
    if (Object.hasOwn(document, template)) return document[template];
    const whole = /^\{\{\s*(\w+)\s*\}\}$/.exec(template)?.[1];
    const text = (field: string) => {
      if (Object.hasOwn(document, field)) return document[field];
      throw wrong(`has no field ${field}`);
    };
    if (whole !== undefined) return text(whole);
    const filled = template.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, field) => String(text(field)));
    if (/\{[{%]/.test(filled)) throw wrong(`cannot fill ${template}: only {{field}} is known`);
    return filled;
  };
  const choices = typeof doc_to_choice === "string" ? fill(doc_to_choice) : doc_to_choice;
  if (
    !Array.isArray(choices) || choices.length < 2 || !choices.every((c) => typeof c === "string")
  ) {
    throw wrong("must have at least two choices, all texts");
  }
  const target = typeof doc_to_target === "string" ? fill(doc_to_target) : doc_to_target;
  const gold = typeof target === "number"
    ? target
    : /^\d+$/.test(String(target))
    ? Number(target)
    : choices.indexOf(String(target));
  if (!Number.isInteger(gold) || gold < 0 || gold >= choices.length) {
    throw wrong(`${JSON.stringify(target)} is none of the choices`);
  }
  return {
    context: String(fill(doc_to_text)),
    choices: choices.map((choice) => target_delimiter + choice),
    lengths: choices.map((choice: string) => choice.length),
    gold,
  };
}
