/**
 * Tokenizers in GGUF: byte-level BPE and SentencePiece BPE between `tokenizer.ggml.*` metadata and
 * tokenizer.json.
 *
 * @module
 */

import { type GgufValue, LowbitError, type TokenizerFiles } from "../spec/mod.ts";
import { piecePrefix, piecesToJson, pieceType, scoresOf } from "./piece_tokenizer.ts";
import { tokenContent } from "./tokenizer.ts";

/** The type of a token in GGUF. */
const NORMAL = 1, UNKNOWN = 2, CONTROL = 3, USER_DEFINED = 4, UNUSED = 5;

const byteLevel = (use_regex: boolean) => ({
  type: "ByteLevel",
  add_prefix_space: false,
  trim_offsets: true,
  use_regex,
});

const split = (digits: string) => ({
  type: "Split",
  pattern: {
    Regex: "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" + digits +
      "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
  },
  behavior: "Isolated",
  invert: false,
});

const sequence = (...pretokenizers: unknown[]) => ({ type: "Sequence", pretokenizers });

/** What `tokenizer.ggml.pre` stands for: the parts of tokenizer.json beside vocabulary and merges. */
interface PreTokenizer {
  pre_tokenizer: unknown;
  normalizer: unknown;
  ignore_merges: boolean;
}

const PRE_TOKENIZERS: Readonly<Record<string, PreTokenizer>> = {
  "gpt-2": { pre_tokenizer: byteLevel(true), normalizer: null, ignore_merges: false },
  "smollm": {
    pre_tokenizer: sequence({ type: "Digits", individual_digits: true }, byteLevel(true)),
    normalizer: null,
    ignore_merges: false,
  },
  "llama-bpe": {
    pre_tokenizer: sequence(split("\\p{N}{1,3}"), byteLevel(false)),
    normalizer: null,
    ignore_merges: true,
  },
  "qwen2": {
    pre_tokenizer: sequence(split("\\p{N}"), byteLevel(false)),
    normalizer: { type: "NFC" },
    ignore_merges: false,
  },
};

/** The keys of special tokens: in GGUF, in tokenizer_config.json, in config.json. */
const SPECIAL = [
  ["tokenizer.ggml.bos_token_id", "bos_token", "bos_token_id"],
  ["tokenizer.ggml.eos_token_id", "eos_token", "eos_token_id"],
  ["tokenizer.ggml.unknown_token_id", "unk_token", "unk_token_id"],
  ["tokenizer.ggml.padding_token_id", "pad_token", "pad_token_id"],
] as const;

/**
 * The ids of special tokens in GGUF metadata, by their keys in config.json.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { specialIds } from "./gguf_tokenizer.ts";
 * const eos = { type: "uint32" as const, value: 2 };
 * assertEquals(specialIds(new Map([["tokenizer.ggml.eos_token_id", eos]])), { eos_token_id: 2 });
 * ```
 */
export function specialIds(gguf: ReadonlyMap<string, GgufValue>): Record<string, number> {
  return Object.fromEntries(SPECIAL.flatMap(([key, , field]) => {
    const value = gguf.get(key)?.value;
    return typeof value === "number" ? [[field, value]] : [];
  }));
}

/**
 * The files of the tokenizer in GGUF metadata. `file` names the file in errors.
 *
 * A {@linkcode LowbitError}: `UNSUPPORTED` for a tokenizer that is neither SentencePiece BPE nor
 * byte-level BPE with one of the known pre-tokenizers, `MALFORMED` for lists that are missing or do not fit each other.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import type { GgufValue } from "../spec/mod.ts";
 * import { tokenizerFromGguf } from "./gguf_tokenizer.ts";
 * import { createTokenizer } from "./tokenizer.ts";
 * const gguf = new Map<string, GgufValue>([
 *   ["tokenizer.ggml.model", { type: "string", value: "gpt2" }],
 *   ["tokenizer.ggml.tokens", { type: "array", items: "string", value: ["a", "b", "ab"] }],
 *   ["tokenizer.ggml.merges", { type: "array", items: "string", value: ["a b"] }],
 * ]);
 * const tokenizer = createTokenizer(tokenizerFromGguf(gguf, "model.gguf"));
 * assertEquals([...tokenizer.encode("aba")], [2, 0]);
 * ```
 */
export function tokenizerFromGguf(
  gguf: ReadonlyMap<string, GgufValue>,
  file: string,
): TokenizerFiles {
  const value = (key: string) => gguf.get(`tokenizer.ggml.${key}`)?.value;
  const unsupported = (key: string, known: string[]) =>
    new LowbitError("UNSUPPORTED", `the tokenizer ${JSON.stringify(value(key))} is not covered`, {
      file,
      field: `tokenizer.ggml.${key}`,
      advice: `covered: ${known.join(", ")}; token ids work with any model`,
    });
  if (value("model") === "llama") return pieceFiles(gguf, file);
  if (value("model") !== "gpt2") throw unsupported("model", ["gpt2", "llama"]);
  const pre = value("pre") ?? "gpt-2";
  if (typeof pre !== "string" || !Object.hasOwn(PRE_TOKENIZERS, pre)) {
    throw unsupported("pre", Object.keys(PRE_TOKENIZERS));
  }
  const { ignore_merges, ...parts } = PRE_TOKENIZERS[pre];
  const tokens = strings(gguf, "tokens", file), merges = strings(gguf, "merges", file);
  return {
    tokenizer: {
      version: "1.0",
      truncation: null,
      padding: null,
      added_tokens: addedTokens(tokens, typesOf(gguf, tokens)),
      ...parts,
      post_processor: null,
      decoder: { ...byteLevel(true), add_prefix_space: true },
      model: {
        type: "BPE",
        dropout: null,
        unk_token: null,
        continuing_subword_prefix: null,
        end_of_word_suffix: null,
        fuse_unk: false,
        byte_fallback: false,
        ignore_merges,
        vocab: vocabularyOf(tokens, file),
        merges: merges.map((merge) => splitMerge(merge, file)),
      },
    },
    config: configFromGguf(gguf, tokens),
  };
}

/** The types of tokens; normal where nothing is said. */
function typesOf(gguf: ReadonlyMap<string, GgufValue>, tokens: readonly string[]): number[] {
  const types = gguf.get("tokenizer.ggml.token_type")?.value;
  return tokens.map((_, id) => Array.isArray(types) ? Number(types[id] ?? NORMAL) : NORMAL);
}

/** Tokens that a text spells out: added ones in tokenizer.json. */
function addedTokens(tokens: readonly string[], types: readonly number[]): unknown[] {
  return tokens.flatMap((content, id) =>
    [UNKNOWN, CONTROL, USER_DEFINED].includes(types[id])
      ? [{
        id,
        content,
        single_word: false,
        lstrip: false,
        rstrip: false,
        normalized: false,
        special: types[id] !== USER_DEFINED,
      }]
      : []
  );
}

/** The files of a tokenizer of pieces with scores. */
function pieceFiles(gguf: ReadonlyMap<string, GgufValue>, file: string): TokenizerFiles {
  const tokens = strings(gguf, "tokens", file), types = typesOf(gguf, tokens);
  const field = "tokenizer.ggml.scores";
  const scores = gguf.get(field)?.value;
  if (
    !Array.isArray(scores) || scores.length !== tokens.length || !scores.every(Number.isFinite)
  ) {
    throw new LowbitError("MALFORMED", `must be ${tokens.length} numbers`, { file, field });
  }
  const prefix = gguf.get("tokenizer.ggml.add_space_prefix")?.value !== false;
  const tokenizer = piecesToJson({ tokens, types, scores: scores as number[], prefix });
  return {
    tokenizer: { ...tokenizer, added_tokens: addedTokens(tokens, types) },
    config: configFromGguf(gguf, tokens),
  };
}

function vocabularyOf(tokens: string[], file: string): Record<string, number> {
  const vocabulary: Record<string, number> = Object.create(null);
  tokens.forEach((token, id) => {
    if (token in vocabulary) {
      throw new LowbitError("MALFORMED", `${JSON.stringify(token)} is there twice`, {
        file,
        field: "tokenizer.ggml.tokens",
      });
    }
    vocabulary[token] = id;
  });
  return vocabulary;
}

function strings(gguf: ReadonlyMap<string, GgufValue>, key: string, file: string): string[] {
  const field = `tokenizer.ggml.${key}`;
  const value = gguf.get(field)?.value;
  if (Array.isArray(value) && value.every((item) => typeof item === "string")) return value;
  throw new LowbitError("MALFORMED", "must be a list of strings", { file, field });
}

/** The two parts of a merge; the space between them is not the first character of either. */
function splitMerge(merge: string, file: string): [string, string] {
  const at = merge.indexOf(" ", 1);
  if (at > 0 && at < merge.length - 1) return [merge.slice(0, at), merge.slice(at + 1)];
  throw new LowbitError("MALFORMED", `${JSON.stringify(merge)} is not a pair`, {
    file,
    field: "tokenizer.ggml.merges",
  });
}

function configFromGguf(
  gguf: ReadonlyMap<string, GgufValue>,
  tokens: string[],
): Record<string, unknown> {
  const config: Record<string, unknown> = {
    tokenizer_class: "PreTrainedTokenizerFast",
    add_prefix_space: false,
    clean_up_tokenization_spaces: false,
  };
  for (const side of ["bos", "eos"]) {
    const add = gguf.get(`tokenizer.ggml.add_${side}_token`)?.value;
    if (typeof add === "boolean") config[`add_${side}_token`] = add;
  }
  for (const [key, name] of SPECIAL) {
    const id = gguf.get(key)?.value;
    if (typeof id === "number" && tokens[id] !== undefined) config[name] = tokens[id];
  }
  const template = gguf.get("tokenizer.chat_template")?.value;
  if (typeof template === "string") config.chat_template = template;
  return config;
}

/** What {@linkcode tokenizerToGguf} needs beside the files. */
export interface ToGgufOptions {
  /** Rows of the embedding; ids that no token has become unused tokens. */
  vocab: number;
  /** config.json, for ids of special tokens that the tokenizer's files do not name. */
  config?: Readonly<Record<string, unknown>>;
}

/**
 * The metadata of a byte-level or SentencePiece BPE tokenizer for a GGUF file, in the order in which it is written.
 *
 * A {@linkcode LowbitError}: `UNSUPPORTED` for a tokenizer of another kind or with a pre-tokenizer that
 * GGUF has no name for here, `CONFLICT` for more tokens than the model has.
 *
 * @example
 * ```ts
 * import { tokenizerFromGguf, tokenizerToGguf } from "./gguf_tokenizer.ts";
 * const model = { type: "BPE", vocab: { a: 0, b: 1, ab: 2 }, merges: [["a", "b"]] };
 * const pre_tokenizer = { type: "ByteLevel", add_prefix_space: false, use_regex: true };
 * const files = { tokenizer: { model, pre_tokenizer }, config: {} };
 * const gguf = tokenizerToGguf(files, { vocab: 3 });
 * gguf.get("tokenizer.ggml.pre")?.value; // "gpt-2"
 * tokenizerFromGguf(gguf, "model.gguf").tokenizer.added_tokens; // []
 * ```
 */
export function tokenizerToGguf(
  files: TokenizerFiles,
  options: ToGgufOptions,
): Map<string, GgufValue> {
  const { tokenizer, config } = files;
  const model = (tokenizer.model ?? {}) as Record<string, unknown>;
  const prefix = piecePrefix(tokenizer);
  const pieces = prefix !== undefined;
  const pre = pieces ? "default" : preTokenizerName(tokenizer, model);
  const unk_token = model.unk_token ?? tokenContent(config.unk_token);
  const { tokens, types, ids } = tokenLists(tokenizer, { ...model, unk_token }, options.vocab);
  const merges = pieces
    ? []
    : (model.merges as (string | [string, string])[]).map((merge) =>
      typeof merge === "string" ? merge : merge.join(" ")
    );
  const text = (value: string): GgufValue => ({ type: "string", value });
  const list = (items: "string" | "int32" | "float32", value: unknown[]): GgufValue => ({
    type: "array",
    items,
    value,
  });
  const result = new Map<string, GgufValue>([
    ["tokenizer.ggml.model", text(pieces ? "llama" : "gpt2")],
    ["tokenizer.ggml.pre", text(pre)],
    ["tokenizer.ggml.tokens", list("string", tokens)],
    ["tokenizer.ggml.token_type", list("int32", types)],
  ]);
  if (pieces) {
    const scores = scoresOf(tokens, model.merges as string[]);
    result.set("tokenizer.ggml.scores", list("float32", scores));
  } else result.set("tokenizer.ggml.merges", list("string", merges));
  for (const [key, name, field] of SPECIAL) {
    const id = ids.get(tokenContent(config[name]) ?? "") ?? firstId(options.config?.[field]);
    if (id !== undefined && id < tokens.length) result.set(key, { type: "uint32", value: id });
  }
  for (const side of ["bos", "eos"]) {
    const add = config[`add_${side}_token`];
    if (typeof add !== "boolean") continue;
    result.set(`tokenizer.ggml.add_${side}_token`, { type: "bool", value: add });
  }
  result.set("tokenizer.ggml.add_space_prefix", { type: "bool", value: prefix ?? false });
  const template = config.chat_template;
  if (typeof template === "string") result.set("tokenizer.chat_template", text(template));
  return result;
}

/** config.json may give one id or several. */
function firstId(value: unknown): number | undefined {
  const first = Array.isArray(value) ? value[0] : value;
  return Number.isInteger(first) && first >= 0 ? first : undefined;
}

/** The name that GGUF has for a pre-tokenizer and normaliser. */
function preTokenizerName(
  tokenizer: Record<string, unknown>,
  model: Record<string, unknown>,
): string {
  const unsupported = (field: string, problem: string) =>
    new LowbitError("UNSUPPORTED", problem, {
      file: "tokenizer.json",
      field,
      advice: `a GGUF file can hold SentencePiece BPE, and byte-level BPE with ${
        Object.keys(PRE_TOKENIZERS).join(", ")
      }`,
    });
  if (model.type !== "BPE" || !Array.isArray(model.merges)) {
    throw unsupported("model.type", "is neither byte-level nor SentencePiece BPE");
  }
  const wanted = canonical(tokenizer.pre_tokenizer);
  for (const [name, known] of Object.entries(PRE_TOKENIZERS)) {
    const same = canonical(known.pre_tokenizer) === wanted &&
      canonical(known.normalizer) === canonical(tokenizer.normalizer ?? null);
    if (same) return name;
  }
  throw unsupported("pre_tokenizer", "has no name in GGUF that this version knows");
}

/** A pre-tokenizer as text, without what makes no difference to the ids. */
function canonical(part: unknown): string {
  if (typeof part !== "object" || part === null) return "null";
  const { type, pretokenizers, normalizers, pattern, use_regex, add_prefix_space, ...rest } =
    part as Record<string, unknown>;
  const list = pretokenizers ?? normalizers;
  if (Array.isArray(list)) {
    return list.length === 1 ? canonical(list[0]) : `[${list.map(canonical).join()}]`;
  }
  const regex = (pattern as { Regex?: string } | undefined)?.Regex;
  const details = type === "ByteLevel"
    ? [use_regex ?? true, add_prefix_space ?? true]
    : type === "Split"
    ? [regex, rest.behavior, rest.invert ?? false]
    : type === "Digits"
    ? [rest.individual_digits]
    : [];
  return JSON.stringify([type, ...details]);
}

/** Tokens and types by id, and the ids by content. */
function tokenLists(
  tokenizer: Record<string, unknown>,
  model: Record<string, unknown>,
  vocab: number,
): { tokens: string[]; types: number[]; ids: Map<string, number> } {
  const ids = new Map(Object.entries(model.vocab as Record<string, number>));
  const added = (tokenizer.added_tokens ?? []) as {
    id: number;
    content: string;
    special?: boolean;
  }[];
  for (const { id, content } of added) ids.set(content, id);
  const tokens = Array.from({ length: vocab }, (_, id) => `[PAD${id}]`);
  const types = new Array<number>(vocab).fill(UNUSED);
  for (const [content, id] of ids) {
    if (!Number.isInteger(id) || id < 0 || id >= vocab) {
      throw new LowbitError("CONFLICT", `token ${JSON.stringify(content)} has the id ${id}`, {
        file: "tokenizer.json",
        advice: `the model has ${vocab} tokens`,
      });
    }
    tokens[id] = content;
    types[id] = model.byte_fallback === true ? pieceType(content, model.unk_token) : NORMAL;
  }
  for (const { id, special } of added) {
    if (types[id] !== UNKNOWN) types[id] = special ? CONTROL : USER_DEFINED;
  }
  return { tokens, types, ids };
}
