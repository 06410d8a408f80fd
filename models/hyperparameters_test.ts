import { assertEquals, assertThrows } from "@std/assert";
import { LowbitError } from "../spec/mod.ts";
import { CONFIG, METADATA } from "./_fixtures.ts";
import { architectures } from "./architecture.ts";
import {
  checkRequirements,
  evaluateSize,
  readHyperparameters,
  setting,
  type Settings,
} from "./hyperparameters.ts";

const llama = architectures().find(({ id }) => id === "llama")!;

function huggingface(changes: Record<string, unknown> = {}): Settings {
  return { name: "m", naming: "huggingface", config: { ...CONFIG, ...changes } };
}

function gguf(changes: Record<string, unknown> = {}, arrays: [string, unknown[]][] = []): Settings {
  return {
    name: "m.gguf",
    naming: "gguf",
    config: { ...METADATA, ...changes },
    gguf: new Map(arrays.map(([key, value]) => [key, { type: "array", value }])),
  };
}

function check(settings: Settings): void {
  checkRequirements(llama, settings, readHyperparameters(llama, settings));
}

Deno.test("sizes are products and quotients from left to right", () => {
  const numbers = { a: 6, b: 4 };
  assertEquals(evaluateSize("a*b", numbers), 24);
  assertEquals(evaluateSize("a*b/3*2", numbers), 16);
  assertEquals(evaluateSize("7", numbers), 7);
  assertThrows(() => evaluateSize("a/b", numbers), LowbitError, "is 1.5");
  assertThrows(() => evaluateSize("a*c", numbers), LowbitError, 'unknown name "c"');
  assertThrows(() => evaluateSize("a*1000000*1000000", numbers), LowbitError, "is 6000000000000");
});

Deno.test("both namings give the same numbers", () => {
  const expected = {
    vocab: 10,
    hidden: 8,
    intermediate: 12,
    blocks: 2,
    heads: 2,
    kv_heads: 1,
    head_size: 4,
    context: 16,
    epsilon: 1e-5,
    theta: 10000,
    rope_magnitude: 1,
    window: 0,
    windowed: 1,
    attention_bias: 0,
    output_bias: 0,
    mlp_bias: 0,
    head_norms: 0,
    tied: 0,
  };
  assertEquals(readHyperparameters(llama, huggingface()), expected);
  assertEquals(readHyperparameters(llama, gguf()), expected);
});

Deno.test("theta is found where newer configurations put it, and null is missing", () => {
  const { theta } = readHyperparameters(
    llama,
    huggingface({ rope_parameters: { rope_theta: 5000, rope_type: "default" } }),
  );
  assertEquals(theta, 5000);
  assertEquals(readHyperparameters(llama, huggingface({ head_dim: null })).head_size, 4);
  assertEquals(readHyperparameters(llama, huggingface({ head_dim: 6 })).head_size, 6);
  assertEquals(setting(huggingface({ a: { b: null } }), "a.b"), undefined);
  assertEquals(setting(huggingface(), "constructor.name"), undefined);
});

Deno.test("a GGUF file without vocab_size has as many tokens as its tokenizer", () => {
  const tokens: [string, unknown[]] = ["tokenizer.ggml.tokens", ["a", "b", "c"]];
  const settings = gguf({ "llama.vocab_size": undefined }, [tokens]);
  assertEquals(readHyperparameters(llama, settings).vocab, 3);
});

Deno.test("a number for each block must be the same number", () => {
  const key = "llama.attention.head_count_kv";
  const without = { [key]: undefined };
  assertEquals(readHyperparameters(llama, gguf(without, [[key, [1, 1]]])).kv_heads, 1);
  assertThrows(
    () => readHyperparameters(llama, gguf(without, [[key, [1, 2]]])),
    LowbitError,
    "m.gguf: attention.head_count_kv: differs from block to block",
  );
});

Deno.test("wrong values are refused with their key", () => {
  const cases: [unknown, string][] = [
    [undefined, "m: hidden_size: is missing from config.json"],
    ["8", 'm: hidden_size: must be a number, not "8"'],
    [NaN, "m: hidden_size: must be a number"],
    [8.5, "m: hidden_size: must be a positive whole number, not 8.5"],
    [-8, "m: hidden_size: must be a positive whole number, not -8"],
    [2 ** 40, "m: hidden_size: is 1099511627776, more than 2^31"],
    [7, "m: head_dim: hidden/heads is 3.5, not a whole number"],
  ];
  for (const [hidden_size, message] of cases) {
    const read = () => readHyperparameters(llama, huggingface({ hidden_size }));
    assertThrows(read, LowbitError, message);
  }
  const blocks = () => readHyperparameters(llama, huggingface({ num_hidden_layers: 1e6 }));
  assertThrows(blocks, LowbitError, "m: num_hidden_layers: is 1000000, more than 4096");
  const tied = () => readHyperparameters(llama, huggingface({ tie_word_embeddings: 1 }));
  assertThrows(tied, LowbitError, "must be true or false");
});

Deno.test("what the architecture does not cover is refused, all of it at once", () => {
  check(huggingface({ rope_scaling: null, sliding_window: null, hidden_act: "silu" }));
  check(huggingface({ rope_scaling: { rope_type: "default" }, attention_bias: false }));
  check(gguf({ "llama.rope.dimension_count": 4, "llama.expert_count": 0 }));
  const refused: [Settings, string][] = [
    [huggingface({ hidden_act: "gelu" }), 'm: hidden_act: is "gelu"'],
    [huggingface({ partial_rotary_factor: 0.5 }), "m: partial_rotary_factor: is 0.5, but only 1"],
    [gguf({ "llama.rope.dimension_count": 2 }), "m.gguf: rope.dimension_count: is 2, but only 4"],
    [gguf({ "llama.rope.scaling.type": "other" }), "m.gguf: rope.scaling.type"],
    [gguf({ "llama.expert_count": 8 }), "m.gguf: expert_count: is 8"],
  ];
  for (const [settings, message] of refused) {
    const error = assertThrows(() => check(settings), LowbitError, message);
    assertEquals(error.code, "UNSUPPORTED");
  }
  const two = () => check(huggingface({ hidden_act: "gelu", partial_rotary_factor: 0.5 }));
  assertThrows(two, LowbitError, "also partial_rotary_factor is 0.5");
});
