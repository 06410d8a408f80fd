import { assertEquals, assertThrows } from "@std/assert";
import { type GgufValue, LowbitError } from "../spec/mod.ts";
import { checkpointOf, CONFIG, METADATA } from "./_fixtures.ts";
import { openModel } from "./architecture.ts";
import { ggufMetadata, huggingfaceConfig, tokenizerFiles } from "./settings.ts";

function plain(metadata: ReadonlyMap<string, GgufValue>): Record<string, unknown> {
  return Object.fromEntries([...metadata].map(([key, { value }]) => [key, value]));
}

Deno.test("metadata of GGUF from config.json", () => {
  const metadata = ggufMetadata(openModel(checkpointOf({ ...CONFIG, head_dim: 6 })));
  assertEquals(metadata.get("general.architecture"), { type: "string", value: "llama" });
  assertEquals(metadata.get("llama.block_count"), { type: "uint32", value: 2 });
  assertEquals(metadata.get("llama.rope.freq_base"), { type: "float32", value: 10000 });
  for (const key of ["attention.key_length", "attention.value_length", "rope.dimension_count"]) {
    assertEquals(metadata.get(`llama.${key}`), { type: "uint32", value: 6 });
  }
  const { value } = metadata.get("llama.attention.layer_norm_rms_epsilon")!;
  assertEquals(value, Math.fround(1e-5));
});

Deno.test("config.json from metadata of GGUF, and back to the same model", () => {
  const gguf = new Map<string, GgufValue>([
    ["tokenizer.ggml.bos_token_id", { type: "uint32", value: 1 }],
    ["tokenizer.ggml.eos_token_id", { type: "uint32", value: 2 }],
  ]);
  const model = openModel(checkpointOf(METADATA, "gguf", gguf));
  const config = huggingfaceConfig(model);
  for (const [key, value] of Object.entries(CONFIG)) assertEquals(config[key], value, key);
  assertEquals([config.head_dim, config.rope_theta, config.tie_word_embeddings], [4, 10000, false]);
  assertEquals([config.bos_token_id, config.eos_token_id, config.rope_scaling], [1, 2, null]);
  const again = openModel(checkpointOf(config));
  assertEquals(again.hyperparameters, model.hyperparameters);
  assertEquals(plain(ggufMetadata(again)), plain(ggufMetadata(model)));
});

Deno.test("config.json of a Hugging Face checkpoint stays as it is", () => {
  const config = { ...CONFIG, torch_dtype: "bfloat16" };
  const copied = huggingfaceConfig(openModel(checkpointOf(config)));
  assertEquals(copied, config);
});

Deno.test("the files of a tokenizer, or none", () => {
  const checkpoint = checkpointOf(CONFIG);
  assertEquals(tokenizerFiles(checkpoint), undefined);
  assertEquals(tokenizerFiles(checkpointOf(METADATA, "gguf", new Map())), undefined);
  const withFiles = (files: Record<string, string>) => ({
    ...checkpoint,
    sidecars: new Map(Object.entries(files)),
  });
  assertEquals(
    tokenizerFiles(withFiles({ "tokenizer.json": '{"a":1}', "chat_template.jinja": "{{ x }}" })),
    { tokenizer: { a: 1 }, config: { chat_template: "{{ x }}" } },
  );
  for (const text of ["{", "[]", "null"]) {
    assertThrows(
      () => tokenizerFiles(withFiles({ "tokenizer.json": text })),
      LowbitError,
      "made-up: tokenizer.json: ",
    );
  }
});
