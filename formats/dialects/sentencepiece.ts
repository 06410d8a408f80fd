/**
 * Reading `tokenizer.model`: the pieces of SentencePiece, as GGUF metadata say them.
 *
 * @module
 */

import { type ByteSource, type Checkpoint, type GgufValue, LowbitError } from "../../spec/mod.ts";
import { type WireField, WireReader } from "../containers/protobuf.ts";
import type { Folder } from "./folder.ts";

/** The file of a SentencePiece model. */
const FILE = "tokenizer.model";

/** Models are refused above this many pieces, and above these bytes. */
const MOST_PIECES = 1 << 24, MOST_BYTES = 1 << 28;

/** Kinds of models by their number, as GGUF calls them: unigram and BPE. */
const KINDS: Readonly<Record<number, string>> = { 1: "t5", 2: "llama", 3: "word", 4: "char" };

/** The checkpoint of a folder, with its SentencePiece model where there is no tokenizer.json. */
export async function withPieces(folder: Folder, checkpoint: Checkpoint): Promise<Checkpoint> {
  const wanted = checkpoint.naming === "huggingface" && folder.names.includes(FILE) &&
    !folder.names.includes("tokenizer.json");
  if (!wanted) return checkpoint;
  const source = await folder.open(FILE);
  try {
    return { ...checkpoint, pieces: await readPieces(source) };
  } catch (error) {
    throw error instanceof LowbitError ? error.in(source.name) : error;
  } finally {
    source.close();
  }
}

/**
 * The pieces of a SentencePiece model under `tokenizer.ggml.*`. Errors: `MALFORMED`, `TRUNCATED`,
 * `LIMIT`.
 */
export async function readPieces(source: ByteSource): Promise<Map<string, GgufValue>> {
  if (source.size > MOST_BYTES) throw new LowbitError("LIMIT", `has ${source.size} bytes`);
  const reader = new WireReader(source, 8 * MOST_PIECES);
  const tokens: string[] = [], scores: number[] = [], types: number[] = [];
  const trainer = new Map<number, number>(), normalizer = new Map<number, number>();
  for await (const field of reader.fields(0, source.size)) {
    if (field.number === 1) await piece(field);
    else if (field.number === 2) await numbers(field, trainer);
    else if (field.number === 3) await numbers(field, normalizer);
  }
  if (tokens.length === 0) throw new LowbitError("MALFORMED", "has no pieces");
  const result = new Map<string, GgufValue>([
    ["tokenizer.ggml.model", { type: "string", value: KINDS[trainer.get(3) ?? 1] ?? "unknown" }],
    ["tokenizer.ggml.tokens", { type: "array", items: "string", value: tokens }],
    ["tokenizer.ggml.scores", { type: "array", items: "float32", value: scores }],
    ["tokenizer.ggml.token_type", { type: "array", items: "int32", value: types }],
    ["tokenizer.ggml.add_space_prefix", { type: "bool", value: normalizer.get(3) !== 0 }],
  ]);
  for (const [name, field, usual] of SPECIAL) {
    const id = trainer.get(field) ?? usual;
    if (id < 0 || id >= tokens.length) continue;
    result.set(`tokenizer.ggml.${name}_token_id`, { type: "uint32", value: id });
  }
  return result;

  async function piece({ start, length }: WireField): Promise<void> {
    let text: string | undefined, score = 0, type = 1;
    for await (const field of reader.fields(start, start + length)) {
      if (field.number === 1) text = await reader.text(field);
      else if (field.number === 2 && field.value !== undefined) score = float(field.value);
      else if (field.number === 3 && field.value !== undefined) type = Number(field.value);
    }
    if (text === undefined || !Number.isFinite(score) || type < 1 || type > 6) {
      throw new LowbitError("MALFORMED", `piece ${tokens.length} has no text, score or type`);
    }
    if (tokens.length >= MOST_PIECES) throw new LowbitError("LIMIT", "has too many pieces");
    tokens.push(text);
    scores.push(score);
    types.push(type);
  }

  async function numbers({ start, length }: WireField, into: Map<number, number>): Promise<void> {
    for await (const { number, value } of reader.fields(start, start + length)) {
      if (value !== undefined) into.set(number, Number(BigInt.asIntN(32, value)));
    }
  }
}

/** Fields of the trainer's settings that hold ids of special pieces, and their usual values. */
const SPECIAL: readonly [name: string, field: number, usual: number][] = [
  ["unknown", 40, 0],
  ["bos", 41, 1],
  ["eos", 42, 2],
  ["padding", 43, -1],
];

function float(bits: bigint): number {
  return new Float32Array(Uint32Array.of(Number(BigInt.asUintN(32, bits))).buffer)[0];
}
