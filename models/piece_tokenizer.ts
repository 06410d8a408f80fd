/**
 * SentencePiece BPE in GGUF (`tokenizer.ggml.model` is `llama`): pieces with scores and types, between
 * `tokenizer.ggml.*` metadata and the BPE with byte fallback of tokenizer.json.
 *
 * The piece of the highest score is merged first, so merges in the order of scores are the same
 * tokenizer.
 *
 * @module
 */

import { LowbitError } from "../spec/mod.ts";

/** The mark that stands for a space. */
const SPACE = "\u2581";
const BYTE = /^<0x[0-9A-F]{2}>$/;

/** The type of a piece in GGUF. */
const NORMAL = 1, UNKNOWN = 2, BYTE_TYPE = 6;

/** Pieces as GGUF has them. */
export interface Pieces {
  /** The pieces by id. */
  tokens: readonly string[];
  /** Their scores; the highest is merged first. */
  scores: readonly number[];
  /** Their types. */
  types: readonly number[];
  /** Whether a text begins with a space. */
  prefix: boolean;
}

/**
 * The parts of tokenizer.json that say what pieces with scores say: everything but added tokens.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { piecesToJson } from "./piece_tokenizer.ts";
 * import { createTokenizer } from "./tokenizer.ts";
 * const tokens = ["<unk>", "\u2581", "a", "b", "ab", "\u2581a"];
 * const pieces = { tokens, scores: [0, -9, -9, -9, -1, -2], types: [2, 1, 1, 1, 1, 1], prefix: true };
 * const tokenizer = createTokenizer({ tokenizer: piecesToJson(pieces), config: {} });
 * assertEquals([...tokenizer.encode("ab")], [1, 4]);
 * ```
 */
export function piecesToJson({ tokens, scores, types, prefix }: Pieces): Record<string, unknown> {
  const vocabulary: Record<string, number> = Object.create(null);
  // Of two pieces of one text the first has it.
  tokens.forEach((token, id) => vocabulary[token] ??= id);
  const unknown = types.indexOf(UNKNOWN);
  const replace = { type: "Replace", pattern: { String: " " }, content: SPACE };
  const back = { type: "Replace", pattern: { String: SPACE }, content: " " };
  return {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: [],
    normalizer: prefix
      ? { type: "Sequence", normalizers: [{ type: "Prepend", prepend: SPACE }, replace] }
      : replace,
    pre_tokenizer: null,
    post_processor: null,
    decoder: {
      type: "Sequence",
      decoders: [
        back,
        { type: "ByteFallback" },
        { type: "Fuse" },
        ...(prefix ? [{ type: "Strip", content: " ", start: 1, stop: 0 }] : []),
      ],
    },
    model: {
      type: "BPE",
      dropout: null,
      unk_token: unknown < 0 ? null : tokens[unknown],
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: true,
      byte_fallback: tokens.some((token, id) => types[id] === BYTE_TYPE && BYTE.test(token)),
      ignore_merges: false,
      vocab: vocabulary,
      merges: mergesOf(tokens, scores, types, vocabulary),
    },
  };
}

/** Every way to make a piece of two, the pieces of the highest scores first. */
function mergesOf(
  tokens: readonly string[],
  scores: readonly number[],
  types: readonly number[],
  vocabulary: Readonly<Record<string, number>>,
): [string, string][] {
  const normal = tokens.flatMap((token, id) =>
    types[id] === NORMAL && vocabulary[token] === id ? [id] : []
  ).sort((a, b) => scores[b] - scores[a] || a - b);
  return normal.flatMap((id) => {
    const token = tokens[id];
    const pairs: [string, string][] = [];
    for (let at = 1; at < token.length; at++) {
      const left = token.slice(0, at), right = token.slice(at);
      if (left in vocabulary && right in vocabulary) pairs.push([left, right]);
    }
    return pairs.sort((a, b) =>
      vocabulary[a[0]] - vocabulary[b[0]] || vocabulary[a[1]] - vocabulary[b[1]]
    );
  });
}

/**
 * Whether tokenizer.json is BPE with byte fallback over marks of spaces, and if so whether a text
 * begins with one. `UNSUPPORTED` for such a tokenizer that prepares its text in another way.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { piecePrefix } from "./piece_tokenizer.ts";
 * const model = { type: "BPE", byte_fallback: true };
 * const pre_tokenizer = { type: "Metaspace", prepend_scheme: "first", split: false };
 * assertEquals(piecePrefix({ model, pre_tokenizer }), true);
 * assertEquals(piecePrefix({ model: { type: "BPE" } }), undefined);
 * ```
 */
export function piecePrefix(tokenizer: Readonly<Record<string, unknown>>): boolean | undefined {
  const model = (tokenizer.model ?? {}) as Record<string, unknown>;
  if (model.type !== "BPE" || model.byte_fallback !== true) return undefined;
  const steps = [tokenizer.normalizer, tokenizer.pre_tokenizer].flatMap(flat);
  const names = steps.map(nameOf);
  const known = PREPARATIONS.find(([wanted]) => wanted.join() === names.join());
  if (known) return known[1];
  throw new LowbitError("UNSUPPORTED", `prepares its text by ${names.join(", ") || "nothing"}`, {
    file: "tokenizer.json",
    field: "normalizer",
    advice: "a GGUF file can hold SentencePiece BPE that only turns spaces into marks",
  });
}

/** How texts are prepared, and whether that begins them with a space. */
const PREPARATIONS: readonly [steps: string[], prefix: boolean][] = [
  [["Prepend", "Replace"], true],
  [["Replace"], false],
  [["Replace", "Split"], false],
  [["Metaspace first"], true],
  [["Metaspace always"], true],
  [["Metaspace never"], false],
];

type Step = Record<string, unknown>;

function flat(step: unknown): Step[] {
  if (typeof step !== "object" || step === null) return [];
  const { normalizers, pretokenizers } = step as Step;
  const list = normalizers ?? pretokenizers;
  return Array.isArray(list) ? list.flatMap(flat) : [step as Step];
}

function nameOf(
  { type, prepend_scheme, add_prefix_space, split, pattern, content, prepend }: Step,
) {
  const from = (pattern as { String?: string } | undefined)?.String;
  if (type === "Metaspace") {
    const scheme = prepend_scheme ?? (add_prefix_space === false ? "never" : "always");
    return split === true ? `Metaspace ${scheme} with splits` : `Metaspace ${scheme}`;
  }
  const plain = type === "Replace"
    ? from === " " && content === SPACE
    : type === "Prepend"
    ? prepend === SPACE
    : type === "Split" && from === " ";
  return plain ? String(type) : `${type} of its own`;
}

/**
 * Scores that merge in the order of `merges`: 0 for what is never merged, and the negative rank of the
 * first merge that makes it for any other.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { scoresOf } from "./piece_tokenizer.ts";
 * assertEquals(scoresOf(["a", "b", "ab"], [["a", "b"]]), [-2, -2, -1]);
 * ```
 */
export function scoresOf(
  tokens: readonly string[],
  merges: readonly (string | readonly [string, string])[],
): number[] {
  const ranks = new Map<string, number>();
  merges.forEach((merge, rank) => {
    const piece = typeof merge === "string" ? merge.replace(" ", "") : merge.join("");
    if (!ranks.has(piece)) ranks.set(piece, rank + 1);
  });
  const last = merges.length + 1;
  return tokens.map((token) => -(ranks.get(token) ?? last));
}

/**
 * The type of a token that is not an added one: a byte, what stands for the unknown, or normal.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { pieceType } from "./piece_tokenizer.ts";
 * assertEquals([pieceType("<0x0A>"), pieceType("<unk>", "<unk>"), pieceType("a")], [6, 2, 1]);
 * ```
 */
export function pieceType(token: string, unknown?: unknown): number {
  return token === unknown ? UNKNOWN : BYTE.test(token) ? BYTE_TYPE : NORMAL;
}
