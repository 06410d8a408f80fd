/**
 * A strict JSON parser with limits, for headers of files that nobody has checked yet.
 *
 * `JSON.parse` keeps the last of two equal keys and knows no limit of depth or count. Here objects
 * are `Map`s (so that `__proto__` is a name like any other) and equal keys are refused at every
 * level. Numbers are f64, as in JavaScript; whoever reads counts checks that they are safe integers.
 *
 * @module
 */

import { LowbitError } from "../../spec/errors.ts";

/** A JSON value whose objects are maps. */
export type JsonValue =
  | null
  | boolean
  | number
  | string
  | JsonValue[]
  | Map<string, JsonValue>;

/** Limits of {@linkcode parseJson}. */
export interface JsonOptions {
  /** What the document is called in errors. */
  file?: string;
  /** Deepest nesting of arrays and objects. 64 if absent. */
  maxDepth?: number;
  /** Most values in the document. 4 million if absent. */
  maxValues?: number;
}

/**
 * Parses a JSON document from bytes (UTF-8, checked) or text.
 *
 * Errors: `MALFORMED` with the byte or character offset, `LIMIT`.
 *
 * @example
 * ```ts
 * import { parseJson } from "./json.ts";
 * const value = parseJson('{"a": [1, 2]}') as Map<string, unknown>;
 * value.get("a"); // [1, 2]
 * ```
 */
export function parseJson(input: Uint8Array | string, options: JsonOptions = {}): JsonValue {
  const file = options.file;
  let text: string;
  if (typeof input === "string") text = input;
  else {
    try {
      text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(input);
    } catch (cause) {
      throw new LowbitError("MALFORMED", "is not valid UTF-8", { file, cause });
    }
  }
  return new Parser(text, file, options.maxDepth ?? 64, options.maxValues ?? 4_000_000).document();
}

/** A JSON value as plain objects. `__proto__` becomes an own property like any other. */
export function toPlain(value: JsonValue): unknown {
  if (Array.isArray(value)) return value.map(toPlain);
  if (!(value instanceof Map)) return value;
  const object: Record<string, unknown> = {};
  for (const [key, item] of value) {
    Object.defineProperty(object, key, {
      value: toPlain(item),
      writable: true,
      enumerable: true,
      configurable: true,
    });
  }
  return object;
}

/**
 * JSON with sorted keys at every level, so that equal values give equal bytes.
 *
 * @example
 * ```ts
 * import { sortedJson } from "./json.ts";
 * sortedJson({ b: 1, a: [true, -0] }); // '{"a":[true,-0],"b":1}'
 * ```
 */
export function sortedJson(value: unknown, indent?: number): string {
  const text = JSON.stringify(sorted(value), undefined, indent);
  return text.includes(NEGATIVE_ZERO) ? text.replaceAll(`"${NEGATIVE_ZERO}"`, "-0") : text;
}

/** Stands for -0, which JSON can say and JSON.stringify cannot; no code point of its own. */
const NEGATIVE_ZERO = "\u{10fffe}-0";

function sorted(value: unknown): unknown {
  if (Object.is(value, -0)) return NEGATIVE_ZERO;
  if (Array.isArray(value)) return value.map(sorted);
  if (value === null || typeof value !== "object") return value;
  // A prototype-free object keeps "__proto__" as a name; keys that look like array indices come
  // first in every engine, in ascending order, so the result is still determined.
  const out: Record<string, unknown> = Object.create(null);
  for (const key of Object.keys(value).sort(byCodeUnits)) {
    out[key] = sorted((value as Record<string, unknown>)[key]);
  }
  return out;
}

/** Compares by UTF-16 code units: the same order on every machine and in every locale. */
export function byCodeUnits(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
// deno-lint-ignore no-control-regex
const PLAIN_STRING = /[^"\\\u0000-\u001f]*/y;
const ESCAPES: Record<string, string> = {
  '"': '"',
  "\\": "\\",
  "/": "/",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
};

class Parser {
  private at = 0;
  private values = 0;

  constructor(
    private readonly text: string,
    private readonly file: string | undefined,
    private readonly maxDepth: number,
    private readonly maxValues: number,
  ) {}

  document(): JsonValue {
    this.space();
    const value = this.value(0);
    this.space();
    if (this.at < this.text.length) this.fail("has text after the end of the JSON document");
    return value;
  }

  private fail(problem: string): never {
    throw new LowbitError("MALFORMED", `${problem} (at ${this.at})`, { file: this.file });
  }

  private space(): void {
    for (;; this.at++) {
      const c = this.text.charCodeAt(this.at);
      if (c !== 0x20 && c !== 0x0a && c !== 0x0d && c !== 0x09) return;
    }
  }

  private value(depth: number): JsonValue {
    if (++this.values > this.maxValues) {
      throw new LowbitError("LIMIT", `has more than ${this.maxValues} values`, { file: this.file });
    }
    const c = this.text[this.at];
    if (c === "{" || c === "[") {
      if (depth >= this.maxDepth) {
        throw new LowbitError("LIMIT", `is nested deeper than ${this.maxDepth}`, {
          file: this.file,
        });
      }
      return c === "{" ? this.object(depth + 1) : this.array(depth + 1);
    }
    if (c === '"') return this.string();
    for (const [word, value] of [["true", true], ["false", false], ["null", null]] as const) {
      if (this.text.startsWith(word, this.at)) {
        this.at += word.length;
        return value;
      }
    }
    return this.number();
  }

  private number(): number {
    NUMBER.lastIndex = this.at;
    const match = NUMBER.exec(this.text);
    if (!match) {
      this.fail(this.at >= this.text.length ? "JSON ends too early" : "is not valid JSON");
    }
    const value = Number(match[0]);
    if (!Number.isFinite(value)) this.fail("has a number that is too large");
    this.at += match[0].length;
    return value;
  }

  private object(depth: number): Map<string, JsonValue> {
    const map = new Map<string, JsonValue>();
    this.at++;
    this.space();
    if (this.text[this.at] === "}") {
      this.at++;
      return map;
    }
    for (;;) {
      if (this.text[this.at] !== '"') {
        this.fail(this.at >= this.text.length ? "JSON ends too early" : "expects a key in quotes");
      }
      const key = this.string();
      if (map.has(key)) {
        throw new LowbitError("MALFORMED", "the key occurs twice", { file: this.file, field: key });
      }
      this.space();
      this.expect(":");
      this.space();
      map.set(key, this.value(depth));
      this.space();
      if (this.text[this.at] === "}") {
        this.at++;
        return map;
      }
      this.expect(",");
      this.space();
    }
  }

  private array(depth: number): JsonValue[] {
    const items: JsonValue[] = [];
    this.at++;
    this.space();
    if (this.text[this.at] === "]") {
      this.at++;
      return items;
    }
    for (;;) {
      items.push(this.value(depth));
      this.space();
      if (this.text[this.at] === "]") {
        this.at++;
        return items;
      }
      this.expect(",");
      this.space();
    }
  }

  private expect(character: string): void {
    if (this.text[this.at] !== character) {
      this.fail(
        this.at >= this.text.length
          ? "JSON ends too early"
          : `expects ${JSON.stringify(character)}`,
      );
    }
    this.at++;
  }

  private string(): string {
    let result = "";
    this.at++;
    for (;;) {
      PLAIN_STRING.lastIndex = this.at;
      const run = PLAIN_STRING.exec(this.text)![0];
      result += run;
      this.at += run.length;
      const c = this.text[this.at];
      if (c === '"') {
        this.at++;
        return result;
      }
      if (c === undefined) this.fail("JSON ends inside a string");
      if (c !== "\\") this.fail("has a control character in a string");
      result += this.escape();
    }
  }

  private escape(): string {
    const letter = this.text[this.at + 1] ?? "";
    const simple = Object.hasOwn(ESCAPES, letter) ? ESCAPES[letter] : undefined;
    if (simple !== undefined) {
      this.at += 2;
      return simple;
    }
    const digits = this.text.slice(this.at + 2, this.at + 6);
    if (letter !== "u" || !/^[0-9a-fA-F]{4}$/.test(digits)) this.fail("has an invalid escape");
    this.at += 6;
    return String.fromCharCode(parseInt(digits, 16));
  }
}
