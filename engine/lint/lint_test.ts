/** Every rule of the linter, with a checkpoint that triggers it and one that does not. */

import { assert, assertEquals, assertGreater } from "@std/assert";
import type { PlainType } from "../../spec/mod.ts";
import { directoryOutput } from "../../formats/containers/output.ts";
import { writeSafetensors } from "../../formats/containers/safetensors.ts";
import { encodePlain, encodeUint32 } from "../../formats/containers/plain.ts";
import { LINT_RULES, lintCheckpoint } from "./lint.ts";

interface Part {
  type: PlainType;
  shape: number[];
  bytes: Uint8Array;
}

type Parts = Record<string, Part>;

interface Files {
  config?: Record<string, unknown>;
  files: Record<string, Parts>;
  index?: Record<string, string>;
  /** Changes files after they are written. */
  after?: (folder: string) => Promise<void>;
}

const size = (shape: number[]) => shape.reduce((a, b) => a * b, 1);

function floats(shape: number[], value: (i: number) => number = (i) => (i % 7) - 3): Part {
  const values = Float32Array.from({ length: size(shape) }, (_, i) => value(i));
  return { type: "float32", shape, bytes: encodePlain("float32", values) };
}

function halves(shape: number[], value: (i: number) => number = (i) => 0.5 + i / 512): Part {
  const values = Float32Array.from({ length: size(shape) }, (_, i) => value(i));
  return { type: "float16", shape, bytes: encodePlain("float16", values) };
}

function words(shape: number[], value: (i: number) => number = (i) => i * 2654435761): Part {
  const values = Uint32Array.from({ length: size(shape) }, (_, i) => value(i) >>> 0);
  return { type: "int32", shape, bytes: encodeUint32(values) };
}

/** A GPTQ weight of 64 x 128 in groups of 32, with some parts replaced. */
function gptq(changes: Parts = {}): Parts {
  return {
    "a.qweight": words([16, 64]),
    "a.qzeros": words([4, 8], () => 0x77777777),
    "a.scales": halves([4, 64]),
    "a.g_idx": words([128], (i) => Math.floor(i / 32)),
    ...changes,
  };
}

const SETTINGS = {
  quant_method: "gptq",
  checkpoint_format: "gptq",
  bits: 4,
  group_size: 32,
  sym: true,
  desc_act: false,
};

const packed = (changes: Parts = {}, settings: Record<string, unknown> = {}): Files => ({
  config: { quantization_config: { ...SETTINGS, ...settings } },
  files: { "model.safetensors": gptq(changes) },
});

const plain = (tensors: Parts, config: Record<string, unknown> = {}): Files => ({
  config,
  files: { "model.safetensors": tensors },
});

/** The smallest Llama: one block, hidden size 4, with some tensors replaced or more of them. */
function llama(changes: Record<string, Part | undefined> = {}, config = {}): Files {
  const block = "model.layers.0.";
  const tensors: Record<string, Part | undefined> = {
    "model.embed_tokens.weight": floats([8, 4]),
    "model.norm.weight": floats([4]),
    "lm_head.weight": floats([8, 4]),
    [`${block}input_layernorm.weight`]: floats([4]),
    [`${block}post_attention_layernorm.weight`]: floats([4]),
    ...Object.fromEntries(
      ["q", "k", "v", "o"].map((name) => [`${block}self_attn.${name}_proj.weight`, floats([4, 4])]),
    ),
    [`${block}mlp.gate_proj.weight`]: floats([6, 4]),
    [`${block}mlp.up_proj.weight`]: floats([6, 4]),
    [`${block}mlp.down_proj.weight`]: floats([4, 6]),
    ...changes,
  };
  const there = Object.entries(tensors).filter((entry): entry is [string, Part] => !!entry[1]);
  return plain(Object.fromEntries(there), {
    model_type: "llama",
    hidden_size: 4,
    intermediate_size: 6,
    num_hidden_layers: 1,
    num_attention_heads: 2,
    num_key_value_heads: 2,
    vocab_size: 8,
    rms_norm_eps: 1e-5,
    max_position_embeddings: 16,
    tie_word_embeddings: false,
    ...config,
  });
}

const shards = (more: Partial<Files> = {}): Files => ({
  config: {},
  files: {
    "m-1.safetensors": { "a.weight": floats([2, 4]) },
    "m-2.safetensors": { "b.weight": floats([2, 4]) },
  },
  index: { "a.weight": "m-1.safetensors", "b.weight": "m-2.safetensors" },
  ...more,
});

const CASES: Record<string, { bad: Files[]; good: Files }> = {
  "missing-shard": {
    bad: [shards({ after: (folder) => Deno.remove(`${folder}/m-2.safetensors`) })],
    good: shards(),
  },
  "index-mismatch": {
    bad: [
      shards({ index: { "a.weight": "m-2.safetensors", "b.weight": "m-2.safetensors" } }),
      shards({
        index: {
          "a.weight": "m-1.safetensors",
          "b.weight": "m-2.safetensors",
          "c.weight": "m-2.safetensors",
        },
      }),
    ],
    good: shards(),
  },
  "file-size": {
    bad: [
      { ...plain({ "a.weight": floats([4, 4]) }), after: (folder) => resize(folder, -3) },
      { ...plain({ "a.weight": floats([4, 4]) }), after: (folder) => resize(folder, 5) },
    ],
    good: plain({ "a.weight": floats([4, 4]) }),
  },
  "tied-embedding": {
    bad: [llama({}, { tie_word_embeddings: true })],
    good: llama({ "lm_head.weight": undefined }, { tie_word_embeddings: true }),
  },
  "divisibility": {
    bad: [{
      config: { quantization_config: SETTINGS },
      files: {
        "model.safetensors": gptq({
          "a.qweight": words([12, 64]),
          "a.qzeros": words([3, 8], () => 0x77777777),
          "a.scales": halves([3, 64]),
          "a.g_idx": words([96], (i) => Math.floor(i / 32)),
        }),
      },
    }],
    good: packed(),
  },
  "config-mismatch": {
    bad: [
      packed({}, { group_size: 64 }),
      packed({ "a.qzeros": words([4, 8], () => 0x66666666) }, { bits: 8, group_size: 16 }),
      plain({ "a.weight": floats([4, 4]) }, { quantization_config: SETTINGS }),
      { config: {}, files: { "model.safetensors": gptq() } },
    ],
    good: packed(),
  },
  "missing-tensor": {
    bad: [llama({ "model.norm.weight": undefined }), {
      ...packed(),
      files: { "model.safetensors": omit(gptq(), "a.scales") },
    }],
    good: llama(),
  },
  "unused-tensor": {
    bad: [llama({ "model.layers.0.self_attn.extra.weight": floats([4, 4]) })],
    good: llama({ "model.layers.0.self_attn.rotary_emb.inv_freq": floats([1]) }),
  },
  "unreadable": {
    bad: [{ config: {}, files: {} }],
    good: packed(),
  },
  "scale-not-finite": {
    bad: [
      packed({ "a.scales": halves([4, 64], (i) => i === 5 ? NaN : 1 + i / 512) }),
      packed({ "a.scales": halves([4, 64], (i) => i === 9 ? Infinity : 1 + i / 512) }),
    ],
    good: packed(),
  },
  "scale-constant": {
    bad: [packed({ "a.scales": halves([4, 64], () => 1) })],
    good: packed(),
  },
  "words-constant": {
    bad: [packed({ "a.qweight": words([16, 64], () => 0) })],
    good: packed(),
  },
  "weight-not-finite": {
    bad: [plain({ "a.weight": floats([4, 4], (i) => i === 3 ? -Infinity : i) })],
    good: plain({ "a.weight": floats([4, 4]) }),
  },
  "never-written": {
    bad: [plain({ "a.weight": floats([16, 16], () => 0) })],
    good: plain({ "a.weight": floats([16, 16]), "a.bias": floats([256], () => 0) }),
  },
  "zero-point-convention": {
    bad: [
      packed({ "a.qzeros": words([4, 8], () => 0x88888888) }),
      packed({}, { checkpoint_format: "gptq_v2" }),
    ],
    good: packed({ "a.qzeros": words([4, 8], () => 0x88888888) }, {
      checkpoint_format: "gptq_v2",
    }),
  },
};

function omit(parts: Parts, name: string): Parts {
  const { [name]: _omitted, ...rest } = parts;
  return rest;
}

async function resize(folder: string, by: number): Promise<void> {
  const path = `${folder}/model.safetensors`;
  await Deno.truncate(path, (await Deno.stat(path)).size + by);
}

async function write(folder: string, { config = {}, files, index, after }: Files): Promise<void> {
  const output = await directoryOutput(folder);
  const json = async (name: string, value: unknown) => {
    const sink = await output.file(name);
    await sink.write(new TextEncoder().encode(JSON.stringify(value)));
    await sink.close();
  };
  await json("config.json", config);
  if (index) await json("model.safetensors.index.json", { weight_map: index });
  for (const [name, parts] of Object.entries(files)) {
    const entries = Object.entries(parts).map(([name, part]) => ({ name, ...part }));
    const writer = await writeSafetensors(await output.file(name), entries);
    for (const { name, bytes } of entries) await writer.write(name, bytes);
    await writer.finish();
  }
  await output.commit();
  await after?.(folder);
}

async function lint(files: Files) {
  const folder = await Deno.makeTempDir();
  try {
    await write(`${folder}/model`, files);
    return await lintCheckpoint(`${folder}/model`);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("lint: there are cases for every rule, and a public bug behind each", () => {
  assertEquals(Object.keys(CASES).sort(), LINT_RULES.map(({ code }) => code).sort());
  for (const { code, bugs } of LINT_RULES) {
    assertGreater(bugs.length, 0, code);
    for (const { url } of bugs) assert(/^https:\/\/github\.com\/.+\/(issues|pull)\/\d+$/.test(url));
  }
});

for (const [code, { bad, good }] of Object.entries(CASES)) {
  Deno.test(`lint: ${code}`, async () => {
    for (const files of bad) {
      const { findings } = await lint(files);
      const codes = findings.map((finding) => finding.code);
      assert(codes.includes(code), `${code} is not among [${codes}]`);
    }
    const { findings } = await lint(good);
    assertEquals(findings.filter((finding) => finding.code === code), []);
  });
}

Deno.test("lint: a good model has no findings, and the summary counts", async () => {
  assertEquals((await lint(llama())).findings, []);
  const { summary, tensors } = await lint(packed({ "a.scales": halves([4, 64], () => 1) }));
  assertEquals(summary, { error: 0, warning: 1, note: 0 });
  assertEquals(tensors, 4);
});
