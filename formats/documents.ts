/**
 * Documents of calibration data: a text, the lines of a JSONL file, or the rows of a parquet file.
 * A document is a text, or the messages of a chat.
 *
 * @module
 */

import type { ByteSource } from "../spec/checkpoint.ts";
import { LowbitError } from "../spec/errors.ts";
import { openParquet } from "./containers/parquet.ts";

/** One message of a chat. */
export interface ChatMessage {
  /** Who speaks: system, user, assistant. */
  role: string;
  /** What is said. */
  content: string;
}

/** A text, or a chat. */
export type Document = string | ChatMessage[];

/** The documents of a file, up to as many as were asked for. */
export interface Documents {
  /** How the file holds them. */
  kind: "text" | "jsonl" | "parquet";
  /** The field or column that they are from; absent for a text. */
  field?: string;
  /** The documents, in order. */
  documents: Document[];
}

/** The fields that are looked for, if none is named. */
const FIELDS = ["text", "messages", "conversations", "content"];

/** The most bytes of a text, and of a line. */
const MOST = { text: 2 ** 28, line: 2 ** 24 };

/** Roles of ShareGPT, by their names there. */
const ROLES: Readonly<Record<string, string>> = { human: "user", gpt: "assistant" };

/**
 * Reads documents until they have `characters` characters: by the ending of the name from lines of
 * JSON (`.jsonl`, `.ndjson`), from parquet, or else as one text. `field` names the column, if it is
 * none of `text`, `messages`, `conversations` and `content`.
 *
 * Errors: `MALFORMED`, `UNKNOWN_NAME` (no such field), `LIMIT`, `CALIBRATION` (no documents).
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { memorySource } from "./containers/source.ts";
 * import { readDocuments } from "./documents.ts";
 * const bytes = new TextEncoder().encode('{"text":"one"}\n{"text":"two"}\n');
 * const read = await readDocuments(memorySource("a.jsonl", bytes), { characters: 1000 });
 * assertEquals(read, { kind: "jsonl", field: "text", documents: ["one", "two"] });
 * ```
 */
export async function readDocuments(
  source: ByteSource,
  options: { field?: string; characters: number },
): Promise<Documents> {
  if (/\.(jsonl|ndjson)$/i.test(source.name)) return await fromLines(source, options);
  if (/\.parquet$/i.test(source.name)) return await fromParquet(source, options);
  if (source.size > MOST.text) {
    throw new LowbitError("LIMIT", `has ${source.size} bytes; a text has ${MOST.text} at most`, {
      file: source.name,
      advice: "cut it, or give it as JSONL or parquet, of which only the start is read",
    });
  }
  const text = decoder(source)(await source.read(0, source.size));
  return { kind: "text", documents: [text] };
}

interface ReadOptions {
  field?: string;
  characters: number;
}

async function fromLines(source: ByteSource, options: ReadOptions): Promise<Documents> {
  const decode = decoder(source);
  let field = options.field;
  let left = options.characters;
  const documents: Document[] = [];
  let number = 0;
  for await (const bytes of lines(source)) {
    number++;
    const line = decode(bytes).trim();
    if (line === "") continue;
    const row = jsonObject(line, source, number);
    field ??= fieldOf(Object.keys(row), source);
    const document = asDocument(row[field], source, `line ${number}, ${field}`);
    documents.push(document);
    if ((left -= lengthOf(document)) <= 0) break;
  }
  return { kind: "jsonl", field, documents: some(documents, source) };
}

async function fromParquet(source: ByteSource, options: ReadOptions): Promise<Documents> {
  const parquet = await openParquet(source);
  if (options.field !== undefined && !parquet.columns.includes(options.field)) {
    throw noField(options.field, parquet.columns, source);
  }
  const field = options.field ?? fieldOf(parquet.columns, source);
  let left = options.characters;
  const documents: Document[] = [];
  for await (const values of parquet.column(field)) {
    for (const value of values) {
      const document = asDocument(value, source, `row ${documents.length}, ${field}`);
      documents.push(document);
      if ((left -= lengthOf(document)) <= 0) return { kind: "parquet", field, documents };
    }
  }
  return { kind: "parquet", field, documents: some(documents, source) };
}

/** The bytes of each line, read in pieces. */
async function* lines(source: ByteSource): AsyncGenerator<Uint8Array, void, void> {
  const piece = 2 ** 20;
  let rest = new Uint8Array();
  for (let at = 0; at < source.size; at += piece) {
    const read = await source.read(at, Math.min(piece, source.size - at));
    const bytes = new Uint8Array(rest.length + read.length);
    bytes.set(rest);
    bytes.set(read, rest.length);
    let start = 0;
    for (let end; (end = bytes.indexOf(10, start)) >= 0; start = end + 1) {
      yield bytes.subarray(start, end);
    }
    rest = bytes.slice(start);
    if (rest.length > MOST.line) {
      throw new LowbitError("LIMIT", `has a line of more than ${MOST.line} bytes`, {
        file: source.name,
      });
    }
  }
  if (rest.length > 0) yield rest;
}

function decoder(source: ByteSource): (bytes: Uint8Array) => string {
  const utf8 = new TextDecoder("utf-8", { fatal: true });
  return (bytes) => {
    try {
      return utf8.decode(bytes);
    } catch (cause) {
      throw new LowbitError("MALFORMED", "is not UTF-8", { file: source.name, cause });
    }
  };
}

function jsonObject(line: string, source: ByteSource, number: number): Record<string, unknown> {
  let problem = "is no object";
  try {
    const value: unknown = JSON.parse(line);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) {
      return value as Record<string, unknown>;
    }
  } catch (error) {
    problem = `is not JSON: ${(error as Error).message}`;
  }
  throw new LowbitError("MALFORMED", problem, { file: source.name, field: `line ${number}` });
}

function fieldOf(names: readonly string[], source: ByteSource): string {
  const found = FIELDS.find((field) => names.includes(field)) ??
    (names.length === 1 ? names[0] : undefined);
  if (found !== undefined) return found;
  throw noField(FIELDS[0], names, source);
}

function noField(field: string, names: readonly string[], source: ByteSource): LowbitError {
  return new LowbitError("UNKNOWN_NAME", `has no field ${JSON.stringify(field)}`, {
    file: source.name,
    advice: `name one with FILE#FIELD: ${names.slice(0, 20).join(", ")}`,
  });
}

function asDocument(value: unknown, source: ByteSource, place: string): Document {
  if (typeof value === "string") return value;
  if (Array.isArray(value)) {
    const messages = value.map(asMessage);
    if (messages.every((message) => message !== undefined)) return messages;
  }
  throw new LowbitError("MALFORMED", "is neither a text nor a list of messages", {
    file: source.name,
    field: place,
    advice: 'a message is { "role": "user", "content": "..." }',
  });
}

function asMessage(value: unknown): ChatMessage | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const { role, content, from, value: said } = value as Record<string, unknown>;
  const name = role ?? (typeof from === "string" ? ROLES[from] ?? from : undefined);
  const text = content ?? said;
  if (typeof name !== "string" || typeof text !== "string") return undefined;
  return { role: name, content: text };
}

function lengthOf(document: Document): number {
  return typeof document === "string"
    ? document.length
    : document.reduce((sum, { content }) => sum + content.length, 0);
}

function some(documents: Document[], source: ByteSource): Document[] {
  if (documents.length > 0) return documents;
  throw new LowbitError("CALIBRATION", "has no documents", { file: source.name });
}
