/**
 * YAML that people write, with the line of every error.
 *
 * @module
 */

import { parse } from "@std/yaml";
import { LowbitError, type Schema } from "../spec/mod.ts";

/** The longest document, in UTF-16 units. */
const MOST_TEXT = 1 << 20;
/** The deepest nesting. */
const MOST_DEPTH = 64;
/** The most values, those of aliases counted each time. */
const MOST_VALUES = 100_000;

/**
 * Parses one YAML or JSON document and checks it by a schema. An error is a
 * {@linkcode LowbitError} that names file, line and field: `SCHEMA` for what the schema refuses,
 * `MALFORMED` for what is no YAML (also duplicate keys), `LIMIT` for documents that are too long,
 * nested too deeply, or grow by aliases.
 *
 * @example
 * ```ts
 * import { assertThrows } from "@std/assert";
 * import { LowbitError, numberFormatSchema } from "../spec/mod.ts";
 * import { parseYaml } from "./yaml.ts";
 * const text = "id: x\nsummary: x\nfamily: int\nbits: 0\nsigned: true\n";
 * assertThrows(() => parseYaml(text, numberFormatSchema, "x.yaml"), LowbitError, "x.yaml:4: bits");
 * ```
 */
export function parseYaml<T>(text: string, schema: Schema<T>, file: string): T {
  const { document, lineOf } = readYaml(text, file);
  try {
    return schema.parse(document, file);
  } catch (error) {
    if (!(error instanceof LowbitError) || error.field === undefined) throw error;
    const { code, problem, field, advice } = error;
    throw new LowbitError(code, problem, { file: `${file}:${lineOf(field)}`, field, advice });
  }
}

/** A parsed document, and the line on which a field stands. */
export interface YamlDocument {
  /** The value. */
  document: unknown;
  /** The line (from 1) of a field such as `assign.0.weight`, or of its closest parent. */
  lineOf(field: string): number;
}

/**
 * Parses one YAML document without a schema; see {@linkcode parseYaml} for the errors.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { readYaml } from "./yaml.ts";
 * const { document, lineOf } = readYaml("a:\n  b: [1, 2]\n", "x.yaml");
 * assertEquals(document, { a: { b: [1, 2] } });
 * assertEquals(lineOf("a.b.1"), 2);
 * ```
 */
export function readYaml(text: string, file: string): YamlDocument {
  if (text.length > MOST_TEXT) {
    throw new LowbitError("LIMIT", `has ${text.length} characters; ${MOST_TEXT} are allowed`, {
      file,
    });
  }
  checkDepth(text, file);
  let document: unknown;
  try {
    document = parse(text);
  } catch (cause) {
    const { message } = cause as Error;
    const at = /^(.*?) at line (\d+), column/s.exec(message.split("\n")[0]);
    throw new LowbitError("MALFORMED", at?.[1] ?? message.split("\n")[0], {
      file: at ? `${file}:${at[2]}` : file,
      cause,
    });
  }
  if (countValues(document) > MOST_VALUES) {
    throw new LowbitError("LIMIT", `has more than ${MOST_VALUES} values`, {
      file,
      advice: "write it without aliases that repeat each other",
    });
  }
  const paths = linesOf(text);
  const lineOf = (field: string): number =>
    paths.get(field) ?? (field.includes(".") ? lineOf(field.replace(/\.[^.]*$/, "")) : 1);
  return { document, lineOf };
}

/** The values of a document, counted until there are too many; aliases may repeat or contain them. */
function countValues(root: unknown): number {
  const open = [root];
  let count = 0;
  while (open.length > 0 && count <= MOST_VALUES) {
    const value = open.pop();
    count++;
    if (typeof value === "object" && value !== null) open.push(...Object.values(value));
  }
  return count;
}

/** The lines of fields in block style, by path; what is inside `[]` and `{}` has its parent's. */
function linesOf(text: string): Map<string, number> {
  const paths = new Map<string, number>();
  const open: { indent: number; name: string; items: number }[] = [];
  text.split("\n").forEach((row, index) => {
    let [indent, rest] = [row.search(/\S/), row.trim()];
    while (rest !== "" && !rest.startsWith("#")) {
      const dash = /^-(?:\s+|$)/.exec(rest);
      const key = /^("[^"]*"|'[^']*'|[^\s"'{[#&*!|>%@`-][^:#]*?)\s*:(?:\s|$)/.exec(rest);
      if (!dash && !key) return;
      const closed = (at: number) => dash ? at > indent : at >= indent;
      while (open.length > 0 && closed(open.at(-1)!.indent)) open.pop();
      const parent = open.at(-1);
      const name = dash ? String(parent ? parent.items++ : 0) : key![1].replace(/^["']|["']$/g, "");
      open.push({ indent: dash ? indent + 0.5 : indent, name, items: 0 });
      const path = open.map((entry) => entry.name).join(".");
      if (!paths.has(path)) paths.set(path, index + 1);
      if (!dash) return;
      indent += dash[0].length;
      rest = rest.slice(dash[0].length);
    }
  });
  return paths;
}

/**
 * Refuses documents that nest too deeply before a parser recurses into them: by brackets, by
 * indentation, and by several dashes or question marks on one line.
 */
function checkDepth(text: string, file: string): void {
  let [flow, deepest, line] = [0, 0, 0];
  for (const row of text.split("\n")) {
    line++;
    const [lead] = /^[ ]*(?:[-?:][ \t]+)*/.exec(row)!;
    for (const char of row) {
      if (char === "[" || char === "{") deepest = Math.max(deepest, ++flow);
      else if (char === "]" || char === "}") flow--;
    }
    const marks = lead.replaceAll(/[ \t]/g, "").length;
    if (deepest > MOST_DEPTH || marks > MOST_DEPTH || lead.length > 8 * MOST_DEPTH) {
      throw new LowbitError("LIMIT", `nests deeper than ${MOST_DEPTH} levels`, {
        file: `${file}:${line}`,
      });
    }
  }
}
