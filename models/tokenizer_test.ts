import { assertEquals, assertThrows } from "@std/assert";
import { type GgufValue, LowbitError, type TokenizerFiles } from "../spec/mod.ts";
import { tokenizerFromGguf, tokenizerToGguf } from "./gguf_tokenizer.ts";
import { createTokenizer, decodeStream } from "./tokenizer.ts";

interface Golden {
  made_by: string;
  tokens: string[];
  merges: string[];
  texts: string[];
  cases: Record<string, { pre_tokenizer: unknown; normalizer: unknown; ids: number[][] }>;
}

const path = new URL("../tests/golden/models/tokenizers.json", import.meta.url);
const golden: Golden = JSON.parse(await Deno.readTextFile(path));

function metadata(pre: string | undefined): Map<string, GgufValue> {
  const types = golden.tokens.map((_, id) => id < 2 ? 3 : 1);
  const entries: [string, GgufValue][] = [
    ["tokenizer.ggml.model", { type: "string", value: "gpt2" }],
    ["tokenizer.ggml.tokens", { type: "array", items: "string", value: golden.tokens }],
    ["tokenizer.ggml.token_type", { type: "array", items: "int32", value: types }],
    ["tokenizer.ggml.merges", { type: "array", items: "string", value: golden.merges }],
    ["tokenizer.ggml.bos_token_id", { type: "uint32", value: 0 }],
    ["tokenizer.ggml.eos_token_id", { type: "uint32", value: 1 }],
    ["tokenizer.ggml.add_bos_token", { type: "bool", value: false }],
    ["tokenizer.chat_template", { type: "string", value: "{{ messages }}" }],
  ];
  if (pre !== undefined) entries.push(["tokenizer.ggml.pre", { type: "string", value: pre }]);
  return new Map(entries);
}

/** The files of a tokenizer as the library that made the golden ids wrote them. */
function files(name: string): TokenizerFiles {
  const { pre_tokenizer, normalizer } = golden.cases[name];
  const token = (content: string, id: number) => ({ id, content, special: true });
  return {
    tokenizer: {
      added_tokens: golden.tokens.slice(0, 2).map(token),
      pre_tokenizer,
      normalizer,
      post_processor: null,
      decoder: { type: "ByteLevel" },
      model: {
        type: "BPE",
        vocab: Object.fromEntries(golden.tokens.map((content, id) => [content, id])),
        merges: golden.merges.map((merge) => merge.split(" ")),
        ignore_merges: name === "llama-bpe",
      },
    },
    config: { bos_token: { content: "<|start|>" }, eos_token: "<|end|>", add_bos_token: false },
  };
}

for (const [name, { ids }] of Object.entries(golden.cases)) {
  Deno.test(`ids of ${name} equal those of ${golden.made_by}, from both containers`, () => {
    for (const source of [files(name), tokenizerFromGguf(metadata(name), "m.gguf")]) {
      const tokenizer = createTokenizer(source);
      assertEquals([tokenizer.vocabulary, tokenizer.bos, tokenizer.eos], [340, 0, 1]);
      golden.texts.forEach((text, i) => {
        assertEquals([...tokenizer.encode(text)], ids[i], JSON.stringify(text));
        const same = name === "qwen2" ? text.normalize("NFC") : text;
        assertEquals(tokenizer.decode(ids[i]), same);
      });
    }
  });

  Deno.test(`${name} survives the way through GGUF metadata`, () => {
    const written = tokenizerToGguf(files(name), { vocab: 340 });
    for (const [key, value] of metadata(name)) {
      if (key !== "tokenizer.chat_template") assertEquals(written.get(key), value);
    }
  });
}

Deno.test("a GGUF file that names no pre-tokenizer has that of GPT-2", () => {
  const of = (pre?: string) => tokenizerFromGguf(metadata(pre), "m.gguf").tokenizer.pre_tokenizer;
  assertEquals(of(), of("gpt-2"));
});

Deno.test("settings of the tokenizer come out of the metadata", () => {
  const { config } = tokenizerFromGguf(metadata("smollm"), "m.gguf");
  assertEquals([config.bos_token, config.eos_token, config.add_bos_token], [
    "<|start|>",
    "<|end|>",
    false,
  ]);
  assertEquals(
    createTokenizer(tokenizerFromGguf(metadata("smollm"), "m")).chatTemplate,
    "{{ messages }}",
  );
});

Deno.test("other tokenizers are refused by name", () => {
  const changed = (key: string, value: unknown) => () => {
    const map = metadata("smollm").set(`tokenizer.ggml.${key}`, { type: "string", value });
    return tokenizerFromGguf(map, "m.gguf");
  };
  const cases: [() => unknown, string][] = [
    [
      changed("model", "t5"),
      'm.gguf: tokenizer.ggml.model: the tokenizer "t5" is not covered',
    ],
    [changed("pre", "tekken"), 'tokenizer.ggml.pre: the tokenizer "tekken" is not covered'],
    [changed("pre", "toString"), '"toString" is not covered'],
    [changed("tokens", ["a", 1]), "tokenizer.ggml.tokens: must be a list of strings"],
    [changed("tokens", ["a", "a"]), 'tokenizer.ggml.tokens: "a" is there twice'],
    [changed("merges", ["ab"]), 'tokenizer.ggml.merges: "ab" is not a pair'],
  ];
  for (const [read, message] of cases) assertThrows(read, LowbitError, message);
});

Deno.test("a vocabulary is padded to the rows of the embedding, or does not fit", () => {
  const padded = tokenizerToGguf(files("gpt-2"), { vocab: 342 });
  const tokens = padded.get("tokenizer.ggml.tokens")!.value as string[];
  assertEquals(tokens.slice(-2), ["[PAD340]", "[PAD341]"]);
  assertEquals((padded.get("tokenizer.ggml.token_type")!.value as number[]).slice(-2), [5, 5]);
  assertThrows(
    () => tokenizerToGguf(files("gpt-2"), { vocab: 300 }),
    LowbitError,
    "has 300 tokens",
  );
  const ids = tokenizerToGguf({ ...files("gpt-2"), config: {} }, {
    vocab: 340,
    config: { eos_token_id: [7, 8] },
  });
  assertEquals(ids.get("tokenizer.ggml.eos_token_id")?.value, 7);
  const unknown = { ...files("gpt-2").tokenizer, pre_tokenizer: { type: "Whitespace" } };
  assertThrows(
    () => tokenizerToGguf({ tokenizer: unknown, config: {} }, { vocab: 340 }),
    LowbitError,
    "pre_tokenizer: has no name in GGUF",
  );
});

Deno.test("a stream holds back incomplete characters", () => {
  const tokenizer = createTokenizer(files("gpt-2"));
  const text = "na\u00efve \u4f60\u597d \u{1f600}\u{1f600} end";
  const stream = decodeStream(tokenizer);
  const pieces = [...tokenizer.encode(text)].map((id) => stream.push(id));
  assertEquals(pieces.join("") + stream.flush(), text);
  assertEquals(pieces.some((piece) => piece.includes("\ufffd")), false);
  const [first] = tokenizer.encode("\u4f60");
  assertEquals([stream.push(first), stream.flush(), stream.flush()], ["", "\ufffd", ""]);
});

Deno.test("files that describe no tokenizer are refused", () => {
  for (const tokenizer of [{}, { model: null }, { model: { vocab: {}, type: "None" } }]) {
    const error = assertThrows(() => createTokenizer({ tokenizer, config: {} }), LowbitError);
    assertEquals([error.code, error.file], ["MALFORMED", "tokenizer.json"]);
  }
});

Deno.test("the step Digits splits at every numeral of Unicode, as the library that defined it", () => {
  // The bytes of " ½" in the alphabet of byte-level BPE; the merge must not cross the split.
  const tokens = ["Ġ", "Â", "½", "ĠÂ", "Â½", "1", "11"];
  const encode = (individual_digits: boolean) => {
    const digits = { type: "Digits", individual_digits };
    const bytes = { type: "ByteLevel", add_prefix_space: false, use_regex: true };
    const model = {
      type: "BPE",
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges: [["Ġ", "Â"], ["Â", "½"], ["1", "1"]],
    };
    const pre_tokenizer = { type: "Sequence", pretokenizers: [digits, bytes] };
    const tokenizer = createTokenizer({ tokenizer: { model, pre_tokenizer }, config: {} });
    return [...tokenizer.encode(" ½11")];
  };
  assertEquals(encode(true), [0, 4, 5, 5]);
  assertEquals(encode(false), [0, 4, 6]);
});
