/**
 * Valid files that the fuzzer changes: small ones of the golden values, written by other
 * programs, and a receipt, which no other program writes.
 *
 * @module
 */

import type { Files } from "./readers.ts";

const ROOT = new URL("../../", import.meta.url);

/** The seeds of each reader: the files, and which of them are changed. */
export interface Seed {
  /** The files. */
  files: Files;
  /** The names of those that are changed. */
  change: string[];
}

const golden = (path: string) => Deno.readFileSync(new URL(`tests/golden/${path}`, ROOT));

function files(paths: Record<string, string>, change = Object.keys(paths)): Seed {
  return {
    files: new Map(Object.entries(paths).map(([name, path]) => [name, golden(path)])),
    change,
  };
}

const one = (path: string, name = path.replace(/^.*\//, "")) => files({ [name]: path });

function text(name: string, content: string): Seed {
  return { files: new Map([[name, new TextEncoder().encode(content)]]), change: [name] };
}

const dialect = (name: string) =>
  files({
    "config.json": `dialects/${name}/config.json`,
    "model.safetensors": `dialects/${name}/model.safetensors`,
  });

const root = (path: string) => Deno.readTextFileSync(new URL(path, ROOT));

const TINY_TOKENIZER = {
  version: "1.0",
  model: {
    type: "BPE",
    vocab: { t: 0, h: 1, e: 2, " ": 3, w: 4, o: 5, r: 6, d: 7, th: 8, the: 9 },
    merges: ["t h", "th e"],
  },
  added_tokens: [{ id: 10, content: "<s>", special: true }],
};

/** A tokenizer beside the weights of a tiny model. */
function withTokenizer(): Seed {
  const { files: model } = files({ "config.json": "models/untied/config.json" });
  const weights = golden("containers/dtypes.safetensors");
  const json = new TextEncoder().encode(JSON.stringify(TINY_TOKENIZER));
  const all = new Map([...model, ["model.safetensors", weights], ["tokenizer.json", json]]);
  return { files: all, change: ["tokenizer.json"] };
}

/** The seeds by reader. */
export function seeds(): Record<string, Seed[]> {
  const shards = {
    "config.json": "tensors/sharded/config.json",
    "pytorch_model.bin.index.json": "tensors/sharded/pytorch_model.bin.index.json",
    "pytorch_model-00001-of-00002.bin": "tensors/sharded/pytorch_model-00001-of-00002.bin",
    "pytorch_model-00002-of-00002.bin": "tensors/sharded/pytorch_model-00002-of-00002.bin",
  };
  const model = {
    "config.json": "models/untied/config.json",
    "model.safetensors": "models/untied/model.safetensors",
  };
  return {
    safetensors: [one("containers/dtypes.safetensors")],
    gguf: [one("containers/golden.gguf")],
    onnx: ["inline", "external", "numbers", "qdq4"].map((name) =>
      name === "external"
        ? files({
          "model.onnx": "onnx/external.onnx",
          "external.bin": "onnx/external.bin",
          "config.json": "tensors/sharded/config.json",
        }, ["model.onnx"])
        : one(`onnx/${name}.onnx`)
    ),
    npy: ["f4_c", "f8_big", "i2_big_fortran", "scalar", "bool"].map((n) => one(`tensors/${n}.npy`)),
    npz: [one("tensors/stored.npz"), one("tensors/deflated.npz")],
    pickle: ["zip", "legacy", "module", "nested", "protocol4"].map((n) => one(`tensors/${n}.pt`)),
    index: [files(shards, ["pytorch_model.bin.index.json", "config.json"])],
    packed: [
      ...["gptq_4_asym_v1", "hqq_4_axis1", "bitsandbytes_nf4_nested", "quanto_qint8"],
      ...["ct_int3", "ct_nvfp4", "fp8"],
    ].map(dialect),
    config: [files(model, ["config.json"])],
    tokenizer: [withTokenizer()],
    gguf_tokenizer: [one("models/untied/model.gguf"), one("containers/golden.gguf")],
    recipe: ["gptq-w4g128", "smoothquant-w8a8", "quarot-gptq-w4a4"].map((name) =>
      text("recipe.yaml", root(`recipes/${name}.yaml`))
    ),
    receipt: [text("receipt.json", root("tests/hostile/receipt.json"))],
    format: ["formats/numbers/nf4", "formats/schemes/q4_k", "formats/numbers/float8_e4m3fn"].map((
      name,
    ) => text("format.yaml", root(`${name}.yaml`).replace(/^id: /m, "id: my_"))),
  };
}
