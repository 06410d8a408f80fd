/**
 * Cases of settings, indices, tokenizers, recipes and formats.
 *
 * @module
 */

import { entry, safetensors } from "./bytes.ts";
import type { Case } from "./case.ts";

const M = "error[MALFORMED]", S = "error[SCHEMA]";
const RECIPE_JSON = JSON.stringify({
  name: "a",
  assign: [{ select: ["*"], weight: "nf4_b64" }],
  pipeline: [{ use: "rtn" }],
});
const WEIGHTS = safetensors({ a: entry("F32", [1], 0, 4) }, 4);

function index(name: string, map: unknown, expect: string): Case {
  const files: Record<string, Uint8Array | string> = {
    "config.json": "{}",
    "model.safetensors.index.json": typeof map === "string"
      ? map
      : JSON.stringify({ weight_map: map }),
    "x.safetensors": WEIGHTS,
  };
  return { reader: "index", name, files, expect };
}

function config(name: string, text: string, expect: string): Case {
  const files = { "config.json": text, "model.safetensors": WEIGHTS };
  return { reader: "config", name, files, expect };
}

function receipt(name: string, text: string, expect: string): Case {
  return { reader: "receipt", name, files: { "receipt.json": text }, expect };
}

/** A whole receipt, with some of it changed. */
function receiptOf(change: Record<string, unknown>): string {
  const file = { name: "a", bytes: 1, sha256: "0".repeat(64) };
  const recipe = { name: "a", sha256: file.sha256, document: JSON.parse(RECIPE_JSON) };
  return JSON.stringify({
    ...{ receipt: 1, lowbit: "0.1.0", model: { architecture: "llama", files: [file] }, recipe },
    ...{ plugins: [], seed: 0, target: "lowbit", kernels: "k", tensors: [], warnings: [] },
    ...{ output: [file], ...change },
  });
}

function packed(name: string, settings: unknown, expect: string): Case {
  const files = {
    "config.json": JSON.stringify({ quantization_config: settings }),
    "model.safetensors": safetensors({
      "a.qweight": entry("I32", [1, 1], 0, 4),
      "b": entry("I32", [1], 4, 8),
    }, 8),
  };
  return { reader: "packed", name, files, expect };
}

const yaml =
  (reader: "recipe" | "format") => (name: string, text: string, expect: string): Case => ({
    reader,
    name,
    files: { "x.yaml": text },
    expect,
  });

/** The cases. */
export function texts(): Case[] {
  const recipe = yaml("recipe");
  const format = yaml("format");
  const R = "name: a\nassign: [{ select: ['*'], weight: nf4_b64 }]\npipeline: [{ use: rtn }]\n";
  const outside = ["../x.safetensors", "/x.safetensors", "a/x.safetensors", "a\\x.safetensors"]
    .concat(["C:x.safetensors", "..", ".", "", "%2e%2e%2fx.safetensors", "x\u0000.safetensors"]);
  const tokenizer = (name: string, text: string, expect: string): Case => ({
    reader: "tokenizer",
    name,
    files: { "config.json": "{}", "model.safetensors": WEIGHTS, "tokenizer.json": text },
    expect,
  });
  return [
    ...outside.map((shard) => index(`a shard ${JSON.stringify(shard)}`, { a: shard }, M)),
    index("a shard that is missing", { a: "y.safetensors" }, "is missing"),
    index("a shard of another kind", { a: "config.json" }, M),
    index("a shard that is a number", { a: 1 }, M),
    index("a tensor that is not in its shard", { b: "x.safetensors" }, "is not in x.safetensors"),
    index("no tensors", {}, "names no tensor"),
    index("a map that is a list", [], M),
    index("no map", "{}", M),
    index("no JSON", "{", M),
    index(
      "a tensor twice",
      '{"weight_map":{"a":"x.safetensors","a":"x.safetensors"}}',
      "occurs twice",
    ),
    index("a shard", { a: "x.safetensors" }, "a[1]=0"),
    index(
      "more keys",
      '{"metadata":{"total_size":9},"weight_map":{"a":"x.safetensors"}}',
      "a[1]=0",
    ),
    index(
      "__proto__ beside the map",
      '{"__proto__":{"x":1},"weight_map":{"a":"x.safetensors"}}',
      "a[1]=0",
    ),
    config("no JSON", "{", M),
    config("a list", "[]", M),
    config("two keys", '{"a":1,"a":2}', "occurs twice"),
    config("deep nesting", "[".repeat(20_000), "error[LIMIT]"),
    config("no model_type", "{}", S),
    config("a model_type of a number", '{"model_type":1}', S),
    config("a model_type of Object.prototype", '{"model_type":"constructor"}', "not a known"),
    config("__proto__ as settings", '{"__proto__":{"model_type":"llama"}}', S),
    config("no sizes", '{"model_type":"llama"}', S),
    config("a size of a text", '{"model_type":"llama","vocab_size":"9"}', S),
    packed("a method that is unknown", { quant_method: "x" }, "error[UNSUPPORTED]"),
    packed("a method of Object.prototype", { quant_method: "constructor" }, "error[UNSUPPORTED]"),
    packed("no method", {}, "error[UNSUPPORTED]"),
    packed("GPTQ of no bits", { quant_method: "gptq", group_size: 1 }, M),
    packed("GPTQ of a million bits", { quant_method: "gptq", bits: 1e6, group_size: 1 }, M),
    packed("GPTQ in groups of zero", { quant_method: "gptq", bits: 4, group_size: 0 }, M),
    packed("AWQ without scales", {
      quant_method: "awq",
      bits: 4,
      group_size: 128,
      zero_point: true,
    }, "error[NOT_FOUND]"),
    tokenizer("no JSON", "{", M),
    tokenizer("a list", "[]", M),
    tokenizer("no model", "{}", "error["),
    tokenizer("an unknown model", '{"model":{"type":"X"}}', "error["),
    recipe("nothing", "", "error["),
    recipe("a list", "[]", S),
    recipe("a key that is unknown", `${R}x: 1\n`, "x"),
    recipe("a key twice", `${R}name: b\n`, "error["),
    recipe("no pipeline", "name: a\nassign: []\n", S),
    recipe("a tab", "name:\n\ta: 1\n", "error["),
    recipe("an anchor that is missing", "name: *a\n", "error["),
    recipe(
      "aliases of aliases",
      ["a: &a [x,x,x,x,x,x,x,x,x]"].concat(
        [..."bcdefgh"].map((k, i) => `${k}: &${k} [${Array(9).fill(`*${"abcdefg"[i]}`)}]`),
      ).join("\n"),
      "error[",
    ),
    recipe("a tag of code", "name: !!js/function 'x'\n", "error["),
    recipe("two documents", `${R}---\n${R}`, "error["),
    recipe("__proto__", `${R}__proto__: { x: 1 }\n`, "error["),
    recipe("a recipe", R, "a"),
    recipe(
      "JSON",
      RECIPE_JSON,
      "a",
    ),
    recipe("a comment and a document mark", `# x\n---\n${R}`, "a"),
    receipt("nothing", "", M),
    receipt("a list", "[]", S),
    receipt("lists in lists in lists", "[".repeat(100_000), "error[LIMIT]"),
    receipt("a key twice", '{"receipt":1,"receipt":1}', "occurs twice"),
    receipt("the next version", receiptOf({ receipt: 2 }), S),
    receipt("no output", receiptOf({ output: [] }), S),
    receipt(
      "a file in another folder",
      receiptOf({ output: [{ name: "../a", bytes: 1, sha256: "0".repeat(64) }] }),
      "must be a plain file name",
    ),
    receipt("a hash of another recipe", receiptOf({}), "error[MISMATCH]"),
    format("nothing", "", "error["),
    format("a family that is unknown", "id: my\nfamily: x\n", S),
    format("an id of a path", "id: ../my\nfamily: int\nbits: 4\n", "error["),
    format("a million bits", "id: my\nfamily: int\nbits: 1000000\nsigned: true\n", "error["),
    format(
      "a codebook without values",
      "id: my\nfamily: codebook\nbits: 4\nvalues: []\n",
      "error[",
    ),
  ];
}
