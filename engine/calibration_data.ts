/**
 * Calibration windows from files: documents are tokenised by the model's own tokenizer, chats by its
 * template, and windows are drawn from the tokens.
 *
 * @module
 */

import { type Document, readDocuments } from "../formats/documents.ts";
import { renderChat } from "../models/chat_template.ts";
import type { Tokenizer } from "../models/tokenizer.ts";
import {
  type ByteSource,
  type CalibrationSource,
  type CalibrationSpec,
  LowbitError,
} from "../spec/mod.ts";
import { cutWindows } from "./calibration.ts";
import { hashSources } from "./hash.ts";

/** A file of documents. */
export interface CalibrationInput {
  /** Its bytes. */
  source: ByteSource;
  /** The field or column of the documents. */
  field?: string;
}

/** Windows, and where they are from. */
export interface CalibrationData {
  /** The windows. */
  windows: Int32Array[];
  /** What the receipt says of them. */
  source: CalibrationSource;
}

/** Characters that are read for a token that is wanted: enough to draw from, and bounded. */
const CHARACTERS = 64;

/** Draws the windows of a recipe, of `length` tokens, from files. */
export async function calibrationData(args: {
  tokenizer: Tokenizer;
  calibration: CalibrationSpec;
  length: number;
  inputs: readonly CalibrationInput[];
}): Promise<CalibrationData> {
  const { tokenizer, calibration: { samples, seed }, length, inputs } = args;
  const parts: Int32Array[] = [];
  let documents = 0;
  let chats = false;
  const kinds = new Set<"text" | "jsonl" | "parquet">();
  for (const { source, field } of inputs) {
    const read = await readDocuments(source, { field, characters: CHARACTERS * samples * length });
    kinds.add(read.kind);
    documents += read.documents.length;
    chats ||= read.documents.some((document) => typeof document !== "string");
    for (const document of read.documents) {
      parts.push(tokenizer.encode(textOf(document, tokenizer, source.name)));
      // Documents are told apart as the model knows it; a text alone stays as it is.
      if (read.kind !== "text" && tokenizer.eos !== undefined) {
        parts.push(Int32Array.of(tokenizer.eos));
      }
    }
  }
  const windows = cutWindows(join(parts), { length, count: samples, spread: true, seed });
  return {
    windows,
    source: {
      kinds: [...kinds],
      files: await hashSources(inputs.map(({ source }) => source)),
      documents,
      ...(chats && { template: true }),
      samples: windows.length,
      length,
      ...(seed !== undefined && { seed }),
    },
  };
}

function textOf(document: Document, tokenizer: Tokenizer, file: string): string {
  if (typeof document === "string") return document;
  const { chatTemplate: template, bos, eos } = tokenizer;
  if (template === undefined) {
    throw new LowbitError("CALIBRATION", "has chats, but the model has no chat template", {
      file,
      advice: "give texts, or a model with a chat_template",
    });
  }
  const text = (id?: number) => id === undefined ? "" : tokenizer.decode([id]);
  return renderChat(document, { template, bos: text(bos), eos: text(eos) });
}

function join(parts: readonly Int32Array[]): Int32Array {
  const joined = new Int32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}
