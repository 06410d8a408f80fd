/** Models, outputs and files that are damaged or in the way: each one clear line. */

import { assertEquals } from "@std/assert";
import { type Make, quantize, testRefusals, withBytes, withModel, withTensor } from "./refusals.ts";
import { startCli } from "./process.ts";
import {
  changedModel,
  type Temporary,
  temporary,
  type Tensor,
  TIED,
  UNTIED,
  writeTensors,
} from "./temporary.ts";

const UP = "model.layers.0.mlp.up_proj.weight";

const set = (at: number, value: number) => (tensor: Tensor): Tensor => {
  tensor.values[at] = value;
  return tensor;
};

const notFinite = (name: string, value: number): Make => withTensor(name, set(7, value));

testRefusals([
  [
    "a model that is not there",
    /^NOT_FOUND\] DIR\/none: no such file or folder$/,
    (folder) => quantize(folder.at("none"), folder),
  ],
  ["an empty folder", /^NOT_FOUND\] DIR\/m: has no weights: neither /, (folder) => {
    Deno.mkdirSync(folder.at("m"));
    return quantize(folder.at("m"), folder);
  }],
  [
    "a file of another kind",
    /^UNSUPPORTED\] DIR\/m.bin: is neither /,
    (folder) => quantize(folder.text("m.bin", "hello hello hello"), folder),
  ],
  [
    "a tensor that is missing",
    /^NOT_FOUND\] DIR\/model: model.layers.0.mlp.up_proj.weight: is missing; its shape is \[24, 16\]/,
    withModel({ tensors: (all) => void all.delete(UP) }),
  ],
  [
    "a tensor of another shape",
    /^SHAPE\] DIR\/model: model.layers.0.mlp.up_proj.weight: has the shape \[16, 24\], expected \[24, 16\]/,
    withTensor(UP, (tensor) => ({ ...tensor, shape: [16, 24] })),
  ],
  [
    "a tensor of one dimension",
    /^SHAPE\] DIR\/model: model.layers.0.mlp.up_proj.weight: has the shape \[384\], expected /,
    withTensor(UP, (tensor) => ({ ...tensor, shape: [384] })),
  ],
  ...[UP, "model.norm.weight", "model.embed_tokens.weight", "lm_head.weight"].map((name) =>
    [
      `NaN in ${name}`,
      new RegExp(`^NON_FINITE\\] DIR/model: ${name}: a weight is NaN \\(element 7\\)`),
      notFinite(name, NaN),
    ] as const
  ),
  [
    "an infinity in a weight",
    /^NON_FINITE\] DIR\/model: model.layers.0.mlp.up_proj.weight: a weight is -Infinity \(element 7\)/,
    notFinite(UP, -Infinity),
  ],
  [
    "more layers than there are",
    /^NOT_FOUND\] DIR\/model: model.layers.2.input_layernorm.weight: is missing/,
    withModel({ config: (config) => config.num_hidden_layers = 3 }),
  ],
  [
    "another hidden size",
    /^SHAPE\] DIR\/model: model.embed_tokens.weight: has the shape \[64, 16\], expected \[64, 32\]/,
    withModel({ config: (config) => config.hidden_size = 32 }),
  ],
  [
    "another vocabulary",
    /^SHAPE\] DIR\/model: model.embed_tokens.weight: has the shape \[64, 16\], expected \[65, 16\]/,
    withModel({ config: (config) => config.vocab_size = 65 }),
  ],
  [
    "a size that is text",
    /^SCHEMA\] DIR\/model: hidden_size: must be a number, not "16"$/,
    withModel({ config: (config) => config.hidden_size = "16" }),
  ],
  [
    "a number of heads that is missing",
    /^SCHEMA\] DIR\/model: num_attention_heads: is missing from config.json/,
    withModel({ config: (config) => delete config.num_attention_heads }),
  ],
  [
    "an unknown family",
    /^UNSUPPORTED\] DIR\/model: model_type: "mamba" is not a known architecture; known: bert, .*llama/,
    withModel({
      config: (config) =>
        Object.assign(config, { architectures: ["MambaForCausalLM"], model_type: "mamba" }),
    }),
  ],
  [
    "a config.json that is no JSON",
    /^MALFORMED\] DIR\/model\/config.json: JSON ends too early/,
    withBytes("config.json", (bytes) => bytes.slice(0, 1)),
  ],
  [
    "safetensors cut in the data",
    /^TRUNCATED\] DIR\/model\/model.safetensors: model.norm.weight: its data ends at byte 30016, /,
    withBytes("model.safetensors", (bytes) => bytes.slice(0, -10)),
  ],
  [
    "safetensors cut in the header",
    /^TRUNCATED\] DIR\/model\/model.safetensors: declares a header of 2088 bytes, but only 92 /,
    withBytes("model.safetensors", (bytes) => bytes.slice(0, 100)),
  ],
  [
    "safetensors with a damaged header",
    /^MALFORMED\] DIR\/model\/model.safetensors: has a control character in a string/,
    withBytes("model.safetensors", (bytes) => bytes.with(12, 0)),
  ],
  [
    "GGUF cut in the data",
    /^TRUNCATED\] DIR\/model\/model.gguf: output.weight: its data ends at byte 31808, but the file /,
    withBytes("model.gguf", (bytes) => bytes.slice(0, -1000)),
  ],
  [
    "GGUF cut in the header",
    /^TRUNCATED\] DIR\/model\/model.gguf: declares 21 tensors, more than its 200 bytes can hold$/,
    withBytes("model.gguf", (bytes) => bytes.slice(0, 200)),
  ],
  [
    "GGUF of another version",
    /^UNSUPPORTED\] DIR\/model\/model.gguf: is of GGUF version 9; convert it /,
    withBytes("model.gguf", (bytes) => bytes.with(4, 9)),
  ],
]);

/** Casts a file of one tensor. */
const encode = (id: string, values: Tensor["values"], out = "y.safetensors"): Make => async (f) => {
  await writeTensors(f.at("x.safetensors"), new Map([["x", { shape: [values.length], values }]]));
  return ["formats", "encode", id, f.at("x.safetensors"), f.at(out)];
};

/** Evaluates on ids. */
const evaluate = (model: string, ids: unknown, ...more: string[]): Make => (folder) => [
  ...["eval", model, "--ids", folder.text("ids.json", JSON.stringify(ids))],
  ...more,
];

const inTheWay = (folder: Temporary, ...files: string[]) => {
  Deno.mkdirSync(folder.at("out"));
  for (const file of files) folder.text(`out/${file}`, "keep me");
};

testRefusals([
  [
    "an output that is there",
    /^EXISTS\] DIR\/out: the output is already there; choose /,
    (folder) => {
      inTheWay(folder);
      return quantize(UNTIED, folder);
    },
  ],
  [
    "overwriting what is no checkpoint",
    /^EXISTS\] DIR\/out: is not a checkpoint, so --overwrite does not replace it; choose /,
    (folder) => {
      inTheWay(folder, "mine.txt");
      return quantize(UNTIED, folder, "--overwrite");
    },
  ],
  ["an output below a file", /^IO\] DIR\/file\/out: is not in a folder$/, (folder) => [
    ...["quantize", UNTIED, `${folder.text("file", "")}/out`, "--recipe", "rtn-w8"],
  ]],
  [
    "an output in a folder that is not there",
    /^IO\] DIR\/none\/out: its folder does not exist; create the folder first$/,
    (folder) => ["quantize", UNTIED, folder.at("none/out"), "--recipe", "rtn-w8"],
  ],
  ["a cast onto a file that is there", /^EXISTS\] DIR\/y.safetensors: the output is /, (folder) => {
    folder.text("y.safetensors", "");
    return encode("nf4", new Float32Array(2))(folder);
  }],
  [
    "NaN cast by a scheme",
    /^NON_FINITE\] DIR\/x.safetensors: x: element 1 is NaN$/,
    encode("int4_g32_sym", Float32Array.of(1, NaN)),
  ],
  [
    "NaN cast to a format without it",
    /^NON_FINITE\] DIR\/x.safetensors: x: element 1 is NaN, which has no code$/,
    encode("nf4", Float32Array.of(1, NaN)),
  ],
  [
    "a cast of a file without F32",
    /^NOT_FOUND\] DIR\/x.safetensors: has no F32, F16 or BF16 tensor$/,
    encode("nf4", new Uint8Array(2)),
  ],
  [
    "eval on ids beyond the vocabulary",
    /^CALIBRATION\] DIR\/ids.json: window 0: token 2 is 99, but the vocabulary has 64; /,
    evaluate(UNTIED, [[1, 2, 99]]),
  ],
  [
    "eval beside a model of another vocabulary",
    /^CONFLICT\] reference: has 60 tokens, the model 64/,
    evaluate(UNTIED, [[1, 2]], "--reference", TIED),
  ],
  [
    "eval of a model with NaN",
    /^NON_FINITE\] DIR\/model: model.norm.weight: a weight is NaN \(element 1\)/,
    async (folder) => {
      const tensors = (all: Map<string, Tensor>) => void set(1, NaN)(all.get("model.norm.weight")!);
      return evaluate(await changedModel(folder.at("model"), { tensors }), [[1, 2]])(folder);
    },
  ],
  [
    "eval on text without a tokenizer",
    /^NOT_FOUND\] ROOT\/tests\/golden\/models\/untied: tokenizer.json: has no tokenizer; /,
    (folder) => ["eval", UNTIED, "--text", folder.text("t.txt", "text")],
  ],
  [
    "eval on a text that is too short",
    /^CALIBRATION\] DIR\/t.txt: is too short for one window; /,
    (folder) => ["eval", "embedded", "--text", folder.text("t.txt", "Too short.")],
  ],
  [
    "generation without a tokenizer",
    /^NOT_FOUND\] ROOT\/tests\/golden\/models\/untied: tokenizer.json: has no tokenizer; /,
    () => ["generate", UNTIED, "--prompt", "hello"],
  ],
  [
    "generation beyond the context",
    /^LIMIT\] ROOT\/embedded\/model: context: 3 tokens and 100000 more are over 512; ask for at most /,
    () => ["generate", "embedded", "--prompt", "hello", "--tokens", "100000"],
  ],
  ["inspecting what is not there", /^NOT_FOUND\] DIR\/none: no such file or folder$/, (folder) => [
    ...["inspect", folder.at("none")],
  ]],
]);

/** Starts a long run and waits until its first block is being worked on. */
async function midway(folder: Temporary) {
  const args = ["quantize", "embedded", folder.at("out"), "--recipe", "gptq-w4g128", "--events"];
  const child = startCli(args);
  const [watched, kept] = child.stderr.tee();
  const text = new Response(kept).text();
  for await (const line of watched.pipeThrough(new TextDecoderStream())) {
    if (line.includes('"calibrate"')) break;
  }
  return { child, text };
}

Deno.test("SIGTERM midway: one line, and no file is left", async () => {
  using folder = temporary();
  const { child, text } = await midway(folder);
  assertEquals(folder.names().length, 1, "the work is under another name");
  child.kill("SIGTERM");
  const { code } = await child.status;
  const lines = (await text).trimEnd().split("\n").filter((line) => !line.startsWith("{"));
  assertEquals([code, lines], [1, ["error[IO] interrupted; nothing was written"]]);
  assertEquals(folder.names(), []);
  await child.stdout.cancel();
});

Deno.test("SIGKILL midway: nothing under the final name", async () => {
  using folder = temporary();
  const { child } = await midway(folder);
  child.kill("SIGKILL");
  await child.status;
  assertEquals(folder.names().filter((name) => !name.startsWith("out.work")), []);
  await child.stdout.cancel();
});
