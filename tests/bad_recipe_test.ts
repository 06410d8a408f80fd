/** Recipes, targets, calibration and plugins that do not fit: each one clear line. */

import { type Make, quantize, testRefusals } from "./refusals.ts";
import { TIED, UNTIED } from "./temporary.ts";

const RECIPE = `
name: mine
assign: [{ select: ["blocks.*"], weight: int4_g32_asym }]
pipeline: [{ use: rtn }]
`;

/** Quantises by a recipe file in which a part is replaced. */
const recipe = (from: string, to: string): Make => (folder) =>
  quantize(UNTIED, folder, "--recipe", folder.text("r.yaml", RECIPE.replace(from, to)));

/** Quantises a model by a preset. */
const preset = (name: string, model = UNTIED, ...more: string[]): Make => (folder) =>
  quantize(model, folder, "--recipe", name, ...more);

const WEIGHT = "int4_g32_asym";

testRefusals([
  [
    "a recipe with a wrong key",
    /^SCHEMA\] DIR\/r.yaml:3: asign: unknown field; also assign: .*; did you mean "assign"\?$/,
    recipe("assign", "asign"),
  ],
  [
    "a recipe with a wrong key in a step",
    /^SCHEMA\] DIR\/r.yaml:4: pipeline.0.option: unknown field; did you mean "options"\?$/,
    recipe("use: rtn", "use: rtn, option: {}"),
  ],
  [
    "a recipe with a wrong key in a scheme",
    /^SCHEMA\] DIR\/r.yaml:3: assign.0.weight.elment: unknown field; did you mean "element"\?$/,
    recipe(WEIGHT, `{ base: ${WEIGHT}, elment: uint3 }`),
  ],
  [
    "a recipe with a wrong type",
    /^SCHEMA\] DIR\/r.yaml:4: pipeline: expected array, received string; /,
    recipe("[{ use: rtn }]", "rtn"),
  ],
  [
    "a recipe with a number out of range",
    /^SCHEMA\] DIR\/r.yaml:3: seed: too small: expected number to be >=0; /,
    recipe("name: mine", "name: mine\nseed: -1"),
  ],
  [
    "a group of zero elements",
    /^SCHEMA\] DIR\/r.yaml:3: assign.0.weight.granularity.size: too small: expected number to be >=1/,
    recipe(WEIGHT, `{ base: ${WEIGHT}, granularity: { kind: group, size: 0 } }`),
  ],
  [
    "a recipe that is no YAML",
    /^MALFORMED\] DIR\/r.yaml:5: Cannot read flow collection: unexpected end of the stream/,
    recipe("[{ use: rtn }]", "[{ use: rtn"),
  ],
  [
    "an empty recipe",
    /^SCHEMA\] DIR\/r.yaml: expected object, received null; /,
    recipe(RECIPE, ""),
  ],
  [
    "a recipe file that is not there",
    /^NOT_FOUND\] DIR\/none.yaml: there is no such file; check the path; it is taken from the current folder$/,
    (folder) => quantize(UNTIED, folder, "--recipe", folder.at("none.yaml")),
  ],
  ["a preset of 9 bits", /^FORMAT\] rtn-w9: integers have 2 to 8 bits$/, preset("rtn-w9")],
  [
    "an option that the plugin has not",
    /^SCHEMA\] DIR\/r.yaml: pipeline.0.options: rnage: unknown field; did you mean "range"\?$/,
    recipe("use: rtn", "use: rtn, options: { rnage: error }"),
  ],
  [
    "an option of a wrong type",
    /^SCHEMA\] DIR\/r.yaml: pipeline.0.options: norm: expected number, received string; /,
    recipe("use: rtn", "use: rtn, options: { norm: big }"),
  ],
  [
    "an unknown plugin",
    /^UNKNOWN_NAME\] DIR\/r.yaml: pipeline.0.use: unknown plugin "rnt"; did you mean "rtn"\?$/,
    recipe("use: rtn", "use: rnt"),
  ],
  [
    "an unknown scheme",
    /^UNKNOWN_NAME\] DIR\/r.yaml: assign.0.weight: unknown scheme "int4_g33_asym"; did you mean "int4_g32_asym"\?$/,
    recipe(WEIGHT, "int4_g33_asym"),
  ],
  [
    "an unknown number format",
    /^UNKNOWN_NAME\] DIR\/r.yaml: assign.0.weight: unknown number format "uint44"; did you mean "uint4"\?$/,
    recipe(WEIGHT, `{ base: ${WEIGHT}, element: uint44 }`),
  ],
  [
    "a signed element with a zero point",
    /^FORMAT\] DIR\/r.yaml: assign.0.weight: .* zero point needs an unsigned integer element; use uint2 to uint8$/,
    recipe(WEIGHT, `{ base: ${WEIGHT}, element: int4 }`),
  ],
  [
    "a pattern that matches nothing",
    /^CONFLICT\] DIR\/r.yaml: assign.0.select: "block.\*" matches no linear of this model; its roles are /,
    recipe("blocks.*", "block.*"),
  ],
  [
    "a weight that no plugin quantises",
    /^CONFLICT\] DIR\/r.yaml: blocks.0.attention.query: has a weight scheme, but no plugin quantises it /,
    recipe("use: rtn", "use: smoothquant"),
  ],
  [
    "a scheme that the plugin has not",
    /^CONFLICT\] DIR\/r.yaml: blocks.0.attention.query: gptq does not support zero points of the kind minimum /,
    recipe(`${WEIGHT} }]\npipeline: [{ use: rtn }]`, "q4_1 }]\npipeline: [{ use: gptq }]"),
  ],
  [
    "blocks of 32 in rows of 40",
    /^CONFLICT\] ggml-q4_0: blocks.0.mlp.down \(weight\): 40 input channels are not a multiple of 32/,
    preset("ggml-q4_0", TIED),
  ],
  [
    "groups of 32 in rows of 16 for compressed-tensors",
    /^CONFLICT\] rtn-w4g32-sym: model.layers.0.self_attn.q_proj.weight: its 16 columns are not whole groups/,
    preset("rtn-w4g32-sym", UNTIED, "--to", "compressed-tensors"),
  ],
  [
    "a scheme that GGUF has not",
    /^CONFLICT\] nf4-g64: blk.0.attn_q.weight: no ggml block holds nf4_b64 \(and 13 more like it\); use q4_0/,
    preset("nf4-g64", UNTIED, "--to", "gguf"),
  ],
  [
    "more memory than is allowed",
    /^CONFLICT\] rtn-w8: needs about \d+ MiB, but 1 are allowed; allow more with --max-memory/,
    preset("rtn-w8", UNTIED, "--max-memory", "1MiB"),
  ],
  [
    "more threads than there can be",
    /^SHAPE\] threads: must be a whole number from 0 to 64, not 1000$/,
    preset("rtn-w8", UNTIED, "--threads", "1000"),
  ],
]);

/** Calibrates a tiny model on a file of ids. */
const calibrate = (ids: unknown, key = ""): Make => (folder) => {
  const path = folder.text("ids.json", typeof ids === "string" ? ids : JSON.stringify(ids));
  return quantize(UNTIED, folder, "--recipe", "gptq-w4g32", "--calibration", path + key);
};

const LIST =
  /^MALFORMED\] DIR\/ids.json: must be a list of windows of token ids: \[\[1, 2, \.\.\.\], \.\.\.\]/;

testRefusals([
  [
    "calibration on ids beyond the vocabulary",
    /^CALIBRATION\] DIR\/ids.json: window 0: token 2 is 64, but the vocabulary has 64; /,
    calibrate([[1, 2, 64]]),
  ],
  ["calibration on negative ids", LIST, calibrate([[1, -2]])],
  ["calibration on no windows", LIST, calibrate([])],
  ["calibration on windows inside of an object", LIST, calibrate({ ids: [[1, 2]] })],
  [
    "calibration on a key that is not there",
    /^MALFORMED\] DIR\/ids.json: evl: must be a list of windows/,
    calibrate({ eval: [[1, 2]] }, "#evl"),
  ],
  [
    "calibration on too few ids",
    /^CALIBRATION\] DIR\/ids.json: is too short for one window; give more text, or shorter windows$/,
    calibrate([1, 2, 3]),
  ],
  [
    "calibration on a window of one id",
    /^CALIBRATION\] DIR\/ids.json: window 0: has fewer than 2 tokens; give windows of 2 tokens or more$/,
    calibrate([[1], [2]]),
  ],
  [
    "calibration on more than the context",
    /^CALIBRATION\] DIR\/ids.json: window 0: has 65 tokens, but the model's context is 64; /,
    calibrate([Array(65).fill(1)]),
  ],
  ["calibration on no JSON", /^MALFORMED\] DIR\/ids.json: is not JSON: /, calibrate("{")],
  [
    "calibration on a file that is not there",
    /^NOT_FOUND\] DIR\/none.txt: no such file or folder$/,
    (f) => quantize(UNTIED, f, "--recipe", "gptq-w4g32", "--calibration", f.at("none.txt")),
  ],
  [
    "calibration on a text that is too short",
    /^CALIBRATION\] DIR\/t.txt: is too short for one window; /,
    (f) =>
      quantize("embedded", f, "--recipe", "gptq-w4g32", "--calibration", f.text("t.txt", "Short.")),
  ],
  [
    "calibration on a text without a tokenizer",
    /^NOT_FOUND\] ROOT\/tests\/golden\/models\/untied: tokenizer.json: has no tokenizer; give token ids/,
    preset("gptq-w4g32"),
  ],
  [
    "a plugin that is not there",
    /^PLUGIN\] DIR\/none.ts: cannot be imported: Module not found/,
    (folder) => quantize(UNTIED, folder, "--plugin", folder.at("none.ts")),
  ],
  [
    "a module that exports no plugin",
    /^PLUGIN\] DIR\/p.ts: exports no plugin; export the result of definePlugin$/,
    (folder) => quantize(UNTIED, folder, "--plugin", folder.text("p.ts", "export const x = 1;")),
  ],
  [
    "a plugin that throws lines",
    /^PLUGIN\] DIR\/p.ts: cannot be imported: one\\u000atwo; run with --debug .*$/,
    (f) => quantize(UNTIED, f, "--plugin", f.text("p.ts", "throw new Error('one\\ntwo');")),
  ],
]);
