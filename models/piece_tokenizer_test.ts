import { assertEquals, assertThrows } from "@std/assert";
import { openCheckpoint } from "../formats/open.ts";
import { type GgufValue, LowbitError, type TokenizerFiles } from "../spec/mod.ts";
import { tokenizerFromGguf, tokenizerToGguf } from "./gguf_tokenizer.ts";
import { createTokenizer } from "./tokenizer.ts";

interface Golden {
  made_by: string;
  texts: string[];
  cases: Record<string, { prefix: boolean; ids: number[][]; special: number[][] }>;
}

const FOLDER = `${import.meta.dirname}/../tests/golden/sentencepiece`;
const golden: Golden = JSON.parse(Deno.readTextFileSync(`${FOLDER}/expected.json`));

function json(path: string): Record<string, unknown> {
  return JSON.parse(Deno.readTextFileSync(`${FOLDER}/${path}`));
}

async function metadata(name: string): Promise<ReadonlyMap<string, GgufValue>> {
  const checkpoint = await openCheckpoint(`${FOLDER}/${name}/vocabulary.gguf`);
  checkpoint.close();
  return checkpoint.gguf!;
}

for (const [name, { ids, special, prefix }] of Object.entries(golden.cases)) {
  Deno.test(`SentencePiece ${name}: ids of ${golden.made_by}, from GGUF and back`, async () => {
    const gguf = await metadata(name);
    const files = tokenizerFromGguf(gguf, "m.gguf");
    const again = tokenizerToGguf(files, { vocab: 700 });
    assertEquals(again.get("tokenizer.ggml.model")?.value, "llama");
    assertEquals(again.get("tokenizer.ggml.add_space_prefix")?.value, prefix);
    for (const key of ["tokens", "token_type", "bos_token_id", "unknown_token_id"]) {
      const at = `tokenizer.ggml.${key}`;
      assertEquals(again.get(at)?.value, gguf.get(at)?.value, key);
    }
    for (const source of [files, tokenizerFromGguf(again, "m.gguf")]) {
      const tokenizer = createTokenizer(source);
      golden.texts.forEach((text, i) => {
        // Special tokens that a text spells out are tokens here, as llama.cpp parses them.
        const wanted = /<\/?s>/.test(text) ? special[i] : ids[i];
        assertEquals([...tokenizer.encode(text)], wanted, text);
        if (!/<\/?s>/.test(text)) assertEquals(tokenizer.decode(wanted), text);
      });
    }
  });

  Deno.test(`tokenizer.json of transformers for ${name} becomes pieces of the same order`, async () => {
    const gguf = await metadata(name);
    const files: TokenizerFiles = {
      tokenizer: json(`${name}/tokenizer.json`),
      config: json(`${name}/tokenizer_config.json`),
    };
    const made = tokenizerToGguf(files, { vocab: 700 });
    const get = (key: string, map: ReadonlyMap<string, GgufValue>) =>
      map.get(`tokenizer.ggml.${key}`)?.value as number[];
    assertEquals(get("tokens", made), get("tokens", gguf));
    assertEquals(get("token_type", made).slice(0, 2), get("token_type", gguf).slice(0, 2));
    const order = (scores: number[]) =>
      scores.map((score, id) => [score, id]).slice(259).sort((a, b) => b[0] - a[0]).map(([, id]) =>
        id
      ).slice(0, 300);
    assertEquals(order(get("scores", made)), order(get("scores", gguf)));
  });
}

Deno.test("pieces that do not fit are refused", async () => {
  const gguf = await metadata("prefix");
  const changed = (key: string, value: unknown) =>
    new Map(gguf).set(key, { ...gguf.get(key)!, value } as GgufValue);
  assertThrows(
    () => tokenizerFromGguf(changed("tokenizer.ggml.scores", [1]), "m.gguf"),
    LowbitError,
    "tokenizer.ggml.scores: must be 700 numbers",
  );
  assertThrows(
    () => tokenizerFromGguf(changed("tokenizer.ggml.tokens", [1]), "m.gguf"),
    LowbitError,
    "must be a list of strings",
  );
  const tokenizer = json("prefix/tokenizer.json");
  assertThrows(
    () =>
      tokenizerToGguf({ tokenizer: { ...tokenizer, normalizer: { type: "NFKC" } }, config: {} }, {
        vocab: 700,
      }),
    LowbitError,
    "prepares its text by NFKC",
  );
});
