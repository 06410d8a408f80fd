import { assert, assertEquals, assertThrows } from "@std/assert";
import { type Architecture, LowbitError, type Node } from "../spec/mod.ts";
import { checkpointOf, CONFIG, METADATA, tensorOf } from "./_fixtures.ts";
import {
  architectures,
  findArchitecture,
  linearOf,
  openModel,
  parameterOf,
} from "./architecture.ts";
import { inputsOf, weightsOf } from "./values.ts";

/** Problems of a graph: values that nothing makes, weights that are no parameters, loose edges. */
function problems({ graph, parameters, block_parameters, edges }: Architecture): string[] {
  const found: string[] = [];
  const outer = new Set(parameters.map(({ name }) => name));
  const inner = new Set(block_parameters.map(({ name }) => name));
  const walk = (nodes: Node[], values: Set<string>, weights: Set<string>) => {
    for (const node of nodes) {
      for (const name of inputsOf(node)) if (!values.has(name)) found.push(`value ${name}`);
      for (const name of weightsOf(node, { experts: 0 })) {
        if (!weights.has(name)) found.push(`weight ${name}`);
      }
      values.add(node.out);
    }
    return values;
  };
  // An image is the one input that is no table.
  if (!walk(graph.before, new Set(["image"]), outer).has("x")) found.push("no x before the blocks");
  walk(graph.block, new Set(["x"]), new Set([...inner, ...outer]));
  const made = walk(graph.after, new Set(["x"]), outer);
  if (!made.has("logits") && !made.has("output")) found.push("no result");
  for (const { id, from, to } of edges) {
    for (const name of [from, ...to]) if (!inner.has(name)) found.push(`edge ${id}: ${name}`);
  }
  return found;
}

Deno.test("the graphs of the catalog are closed", () => {
  assert(architectures().length > 0);
  for (const architecture of architectures()) assertEquals(problems(architecture), []);
});

Deno.test("edges lead from the channels of a parameter to the columns of linears", () => {
  const { linears, parameters, architecture } = openModel(checkpointOf(CONFIG));
  const size = (name: string) => parameters.find((p) => p.id === `blocks.0.${name}`)!.shape[0];
  for (const { from, to, shared_heads } of architecture.edges) {
    for (const role of to) {
      const { columns } = linears.find((linear) => linear.role === role)!;
      assertEquals(columns % size(from), 0);
      assertEquals(shared_heads === true, columns !== size(from));
    }
  }
});

Deno.test("parameters and linears of a model, in the order of the graph", () => {
  const model = openModel(checkpointOf(CONFIG));
  const ids = model.parameters.map(({ id }) => id);
  assertEquals(ids.slice(0, 3), [
    "embedding",
    "blocks.0.attention.norm",
    "blocks.0.attention.query",
  ]);
  assertEquals(ids.slice(-3), ["blocks.1.mlp.down", "norm", "head"]);
  assertEquals(ids.length, 3 + 2 * 9);
  assertEquals(model.linears.length, 2 * 7 + 1);
  assertEquals(linearOf(model, "blocks.1.mlp.down"), {
    id: "blocks.1.mlp.down",
    role: "mlp.down",
    block: 1,
    rows: 8,
    columns: 12,
    input: "mlp.down.input",
  });
  const inputs = model.linears.slice(0, 3).map(({ input }) => input);
  assertEquals(inputs, ["attention.input", "attention.input", "attention.input"]);
  assertEquals(linearOf(model, "head"), {
    id: "head",
    role: "head",
    rows: 10,
    columns: 8,
    input: "head.input",
  });
  assertThrows(() => linearOf(model, "blocks.0.mlp.norm"), LowbitError, "unknown linear");
});

Deno.test("a head is tied by config.json, or by its absence in GGUF", () => {
  const tied = checkpointOf({ ...CONFIG, tie_word_embeddings: true });
  for (const stored of [true, false]) {
    if (!stored) tied.tensors.delete("lm_head.weight");
    const model = openModel(tied);
    assertEquals([...model.tied], [["head", "embedding"]]);
    assertEquals(parameterOf(model, "head").id, "embedding");
    assert(model.linears.some(({ id }) => id === "head"));
  }
  const gguf = checkpointOf(METADATA, "gguf");
  assertEquals(openModel(gguf).hyperparameters.tied, 0);
  gguf.tensors.delete("output.weight");
  const model = openModel(gguf);
  assertEquals([model.hyperparameters.tied, parameterOf(model, "head").names.gguf], [
    1,
    "token_embd.weight",
  ]);
});

Deno.test("all tensors are checked before one is read, and the problems are one error", () => {
  const checkpoint = checkpointOf(CONFIG);
  checkpoint.tensors.delete("model.norm.weight");
  const query = "model.layers.1.self_attn.q_proj.weight";
  checkpoint.tensors.set(query, tensorOf(query, [8, 7]));
  const bias = "model.layers.0.self_attn.q_proj.bias";
  checkpoint.tensors.set(bias, tensorOf(bias, [8]));
  const error = assertThrows(() => openModel(checkpoint), LowbitError);
  assertEquals([error.code, error.file, error.field], ["SHAPE", "made-up", query]);
  assert(error.problem.startsWith("has the shape [8, 7], expected [8, 8]"));
  assert(error.problem.includes("also model.norm.weight is missing; its shape is [8]"));
  assert(error.problem.includes(`also ${bias} is a tensor that architecture llama does not have`));
});

Deno.test("tensors that nobody needs are ignored", () => {
  const checkpoint = checkpointOf(CONFIG);
  const name = "model.layers.0.self_attn.rotary_emb.inv_freq";
  checkpoint.tensors.set(name, tensorOf(name, [2]));
  openModel(checkpoint);
});

Deno.test("an architecture is found by its name, or the name is said", () => {
  const find = (config: Record<string, unknown>) => () =>
    findArchitecture({ name: "m", naming: "huggingface", config });
  assertEquals(find({ model_type: "mistral" })().id, "llama");
  const missing = assertThrows(find({}), LowbitError, "m: model_type: is missing from config.json");
  assertEquals(missing.code, "SCHEMA");
  const unknown = assertThrows(find({ model_type: "mamba" }), LowbitError, '"mamba"');
  assertEquals(unknown.code, "UNSUPPORTED");
  assertThrows(find({ model_type: "toString" }), LowbitError, '"toString" is not a known');
});

Deno.test("heads that cannot be shared or rotated are refused", () => {
  const open = (changes: Record<string, unknown>) => () =>
    openModel(checkpointOf({ ...CONFIG, ...changes }));
  assertThrows(
    open({ num_attention_heads: 4, num_key_value_heads: 3 }),
    LowbitError,
    "heads: 4 are",
  );
  assertThrows(open({ head_dim: 3 }), LowbitError, "head_size: is 3");
});
