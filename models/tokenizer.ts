/**
 * Tokenizers: text to token ids and back. The only module that sees the tokenizer library.
 *
 * @module
 */

import { Tokenizer as Library } from "@huggingface/tokenizers";
import { LowbitError, type TokenizerFiles } from "../spec/mod.ts";

/** Text to token ids and back. */
export interface Tokenizer {
  /** The number of tokens, added ones included. */
  readonly vocabulary: number;
  /** The id that begins a text, if the tokenizer has one. */
  readonly bos?: number;
  /** The id that ends a text, if the tokenizer has one. */
  readonly eos?: number;
  /** The chat template (Jinja), if there is one. */
  readonly chatTemplate?: string;
  /** The ids of a text; special tokens are only those that the text spells out. */
  encode(text: string): Int32Array;
  /** The text of ids, special tokens included. Bytes that are not UTF-8 become U+FFFD. */
  decode(ids: ArrayLike<number>): string;
  /** The id of a token, by its exact content. */
  id(token: string): number | undefined;
}

/** Kinds of tokenizers. */
const MODELS = ["BPE", "Unigram", "WordPiece"];

/** Files of a tokenizer are refused above this many tokens. */
const MOST_TOKENS = 1 << 24;

/**
 * A tokenizer from its two files. `MALFORMED` where they do not describe one.
 *
 * @example
 * ```ts
 * import { createTokenizer } from "./tokenizer.ts";
 * const tokenizer = createTokenizer({
 *   tokenizer: {
 *     added_tokens: [],
 *     normalizer: null,
 *     pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, use_regex: true },
 *     post_processor: null,
 *     decoder: { type: "ByteLevel" },
 *     model: { type: "BPE", vocab: { a: 0, b: 1, ab: 2 }, merges: [["a", "b"]] },
 *   },
 *   config: {},
 * });
 * tokenizer.encode("aba"); // Int32Array [2, 0]
 * tokenizer.decode([2, 0]); // "aba"
 * ```
 */
export function createTokenizer(files: TokenizerFiles): Tokenizer {
  const { config } = files;
  const library = open(files);
  const id = (token: string) => library.token_to_id(token);
  const special = (field: string) => {
    const content = tokenContent(config[field]);
    return content === undefined ? undefined : id(content);
  };
  const vocabulary = 1 + library.get_vocab(true).values().reduce((a, b) => Math.max(a, b), -1);
  return {
    vocabulary,
    bos: special("bos_token"),
    eos: special("eos_token"),
    chatTemplate: chatTemplate(config.chat_template),
    id,
    encode: (text) => Int32Array.from(library.encode(text, { add_special_tokens: false }).ids),
    decode: (ids) =>
      ids.length === 0 ? "" : library.decode(Array.from(ids), {
        skip_special_tokens: false,
        clean_up_tokenization_spaces: false,
      }),
  };
}

function open({ tokenizer, config }: TokenizerFiles): Library {
  const malformed = (problem: string, cause?: unknown) =>
    new LowbitError("MALFORMED", problem, { file: "tokenizer.json", cause });
  const { model } = tokenizer as { model?: { vocab?: object; type?: unknown } };
  if (typeof model !== "object" || model === null || typeof model.vocab !== "object") {
    throw malformed("has no model with a vocabulary");
  }
  if (model.type !== undefined && !MODELS.includes(String(model.type))) {
    throw malformed(`model.type must be ${MODELS.join(" or ")}, not ${JSON.stringify(model.type)}`);
  }
  if (Object.keys(model.vocab ?? {}).length > MOST_TOKENS) {
    throw new LowbitError("LIMIT", `has more than ${MOST_TOKENS} tokens`, {
      file: "tokenizer.json",
    });
  }
  const complete = {
    normalizer: null,
    post_processor: null,
    decoder: null,
    ...tokenizer,
    pre_tokenizer: withUnicodeDigits(tokenizer.pre_tokenizer ?? null),
    added_tokens: tokenizer.added_tokens ?? [],
  };
  try {
    return new Library(complete, config);
  } catch (error) {
    throw malformed((error as Error).message, error);
  }
}

/**
 * A pre-tokenizer whose steps "Digits" split at every numeral of Unicode, as the format means it; the
 * library's own step knows 0 to 9 only.
 */
function withUnicodeDigits(step: unknown): unknown {
  if (typeof step !== "object" || step === null) return step;
  const { type, pretokenizers, individual_digits } = step as Record<string, unknown>;
  if (type === "Sequence" && Array.isArray(pretokenizers)) {
    return { ...step, pretokenizers: pretokenizers.map(withUnicodeDigits) };
  }
  if (type !== "Digits") return step;
  const pattern = { Regex: individual_digits ? "\\p{N}" : "\\p{N}+" };
  return { type: "Split", pattern, behavior: "Isolated", invert: false };
}

/**
 * The content of a token as tokenizer_config.json gives it: a string, or an object with `content`.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { tokenContent } from "./tokenizer.ts";
 * assertEquals(tokenContent("</s>"), "</s>");
 * assertEquals(tokenContent({ content: "</s>", lstrip: false }), "</s>");
 * assertEquals(tokenContent(null), undefined);
 * ```
 */
export function tokenContent(token: unknown): string | undefined {
  if (typeof token === "string") return token;
  if (typeof token !== "object" || token === null) return undefined;
  const { content } = token as { content?: unknown };
  return typeof content === "string" ? content : undefined;
}

/** The default template, where there may be several. */
function chatTemplate(value: unknown): string | undefined {
  if (typeof value === "string") return value;
  if (!Array.isArray(value)) return undefined;
  const named = value as { name?: unknown; template?: unknown }[];
  const found = named.find(({ name }) => name === "default") ?? named[0];
  return typeof found?.template === "string" ? found.template : undefined;
}

/** Turns ids into text as they come. */
export interface DecodeStream {
  /** The text that an id completes; empty while a character is incomplete. */
  push(id: number): string;
  /** What is left at the end. */
  flush(): string;
}

/**
 * The text of ids as they come; the bytes of an incomplete character are held back.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { embeddedPath } from "../embedded/mod.ts";
 * import { openCheckpoint } from "../formats/open.ts";
 * import { tokenizerFiles } from "./settings.ts";
 * import { createTokenizer, decodeStream } from "./tokenizer.ts";
 * const checkpoint = await openCheckpoint(embeddedPath("model"));
 * const tokenizer = createTokenizer(tokenizerFiles(checkpoint)!);
 * const stream = decodeStream(tokenizer);
 * const pieces = [...tokenizer.encode("\u00fc")].map((id) => stream.push(id));
 * assertEquals(pieces, ["", "\u00fc"]); // the first id is half a character
 * checkpoint.close();
 * ```
 */
export function decodeStream(tokenizer: Tokenizer): DecodeStream {
  let ids: number[] = []; // since the last text that was complete, with some context before it
  let read = 0; // how many of them have been given out
  const pending = (final: boolean) => {
    const before = tokenizer.decode(ids.slice(0, read));
    const text = tokenizer.decode(ids);
    if (text.length <= before.length || (!final && text.endsWith("\ufffd"))) return "";
    ids = ids.slice(read);
    read = ids.length;
    return text.slice(before.length);
  };
  return {
    push(id) {
      ids.push(id);
      return pending(false);
    },
    flush: () => pending(true),
  };
}
