/**
 * Multiple-choice tasks from files: JSON lines, or a task of lm-evaluation-harness that names them.
 *
 * @module
 */

import type { ChoiceItem } from "../engine/choices.ts";
import { LowbitError } from "../spec/mod.ts";
import { parse } from "@std/yaml";
import { readText } from "./inputs.ts";
import {
  type Document,
  itemsOf,
  type Line,
  malformed,
  PLAIN,
  type Shots,
  type Templates,
} from "./task_prompts.ts";

/** What a YAML task may say beside its templates without changing a score. */
const WITHOUT_EFFECT = [
  ...["task", "tag", "group", "dataset_path", "dataset_kwargs", "test_split", "validation_split"],
  ...["training_split", "output_type", "metric_list", "metadata", "dataset_name"],
  ...["num_fewshot", "fewshot_split", "fewshot_config"],
];

/** The questions of a task file. */
export async function readTask(path: string): Promise<{ name: string; items: ChoiceItem[] }> {
  const name = path.split(/[\\/]/).at(-1)!.replace(/\.[a-z]+$/, "");
  if (!/\.ya?ml$/.test(path)) return { name, items: itemsOf(await readLines(path), PLAIN) };
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
    if (WITHOUT_EFFECT.includes(key)) continue;
    if (!Object.hasOwn(templates, key)) throw wrong(key, "is not known, and could change scores");
    Object.assign(templates, { [key]: value });
  }
  const { data_files } = task.dataset_kwargs as { data_files: string | Record<string, string> };
  const lines = async (split: string): Promise<Line[]> => {
    const file = typeof data_files === "string" ? data_files : data_files?.[split];
    if (typeof file !== "string") throw wrong("dataset_kwargs.data_files", `has no ${split}`);
    return await readLines(
      /^([/\\]|[A-Za-z]:)/.test(file) ? file : path.replace(/[^/\\]*$/, "") + file,
    );
  };
  const split = String(task.test_split ?? task.validation_split ?? "train");
  const shots = await fewShot(task, split, lines, wrong);
  const items = itemsOf(await lines(split), templates as Templates, shots);
  return { name: String(task.task ?? name), items };
}

/** The examples before each question: how many, how they are chosen, and out of which lines. */
async function fewShot(
  task: Document,
  split: string,
  lines: (split: string) => Promise<Line[]>,
  wrong: (field: string, problem: string) => LowbitError,
): Promise<Shots | undefined> {
  const count = Number(task.num_fewshot ?? 0);
  if (!Number.isSafeInteger(count) || count < 0) throw wrong("num_fewshot", "must be 0 or more");
  if (count === 0) return undefined;
  const { sampler = "default", samples, split: own, ...rest } =
    (task.fewshot_config ?? {}) as Document;
  const [more] = Object.keys(rest);
  if (more !== undefined) throw wrong(`fewshot_config.${more}`, "is not known");
  if (sampler !== "default" && sampler !== "first_n") {
    throw wrong("fewshot_config.sampler", "must be default or first_n");
  }
  if (samples !== undefined && !Array.isArray(samples)) {
    throw wrong("fewshot_config.samples", "must be a list of examples");
  }
  const named = own ?? task.fewshot_split;
  const from = named ??
    (samples ? undefined : task.training_split ?? task.validation_split ?? split);
  const pool = from === undefined
    ? (samples as Document[]).map((document, i) => ({ document, place: `example ${i + 1}` }))
    : await lines(String(from));
  // A question is no example of itself, where both are of one split.
  const apart = named !== undefined && named === task.test_split;
  if (pool.length < count + (apart ? 1 : 0)) {
    throw wrong("num_fewshot", `asks for more examples than ${pool.length} lines have`);
  }
  return { count, pool, apart, first: sampler === "first_n" };
}

/** The lines of a file of questions. */
async function readLines(path: string): Promise<Line[]> {
  const lines: Line[] = [];
  for (const [i, line] of (await readText(path)).split(/\r?\n/).entries()) {
    if (line.trim() === "") continue;
    const place = `${path}:${i + 1}`;
    try {
      lines.push({ document: JSON.parse(line), place });
    } catch (cause) {
      throw malformed(place, `is not JSON: ${(cause as Error).message}`);
    }
  }
  if (lines.length > 0) return lines;
  throw new LowbitError("MALFORMED", "has no questions", {
    file: path,
    advice: "it must hold one JSON object a line: query, choices, gold",
  });
}
