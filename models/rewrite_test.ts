import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { LowbitError, type ModelOp, rotate, type Rotation } from "../spec/mod.ts";
import { checkpointOf, CONFIG, METADATA } from "./_fixtures.ts";
import { type ModelGraph, openModel } from "./architecture.ts";
import { rewriteCheckpoint } from "./rewrite.ts";
import { parameterTensor } from "./weights.ts";

const ROTATION: Rotation = {
  kind: "hadamard",
  size: 8,
  signs: Int8Array.of(1, -1, 1, 1, -1, 1, -1, 1),
};

const tied = () => openModel(checkpointOf({ ...CONFIG, tie_word_embeddings: true }));
const untied = () => openModel(checkpointOf({ ...CONFIG }));

function rewrite(model: ModelGraph, ...ops: ModelOp[]): ModelGraph {
  return openModel(rewriteCheckpoint(model, [{ plugin: "test", ops }]));
}

const read = (model: ModelGraph, id: string) => parameterTensor(model, id).read();

Deno.test("rewrite: nothing to do gives the same tensors", async () => {
  const model = untied(), same = rewrite(model);
  assertEquals(same.parameters.map(({ id }) => id), model.parameters.map(({ id }) => id));
  for (const { id } of model.parameters) assertEquals(await read(same, id), await read(model, id));
});

Deno.test("rewrite: untying gives the head the weight of the embedding, in both namings", async () => {
  const gguf = checkpointOf({ ...METADATA }, "gguf");
  const tensors = new Map(gguf.tensors);
  tensors.delete("output.weight");
  for (const model of [tied(), openModel({ ...gguf, tensors })]) {
    assertEquals(model.tied.size, 1);
    const result = rewrite(model, { op: "untie" });
    assertEquals([result.tied.size, result.hyperparameters.tied], [0, 0]);
    assertEquals(await read(result, "head"), await read(model, "embedding"));
    assert(result.parameters.some(({ id }) => id === "head"));
  }
  assertEquals(rewrite(tied(), { op: "untie" }).checkpoint.config.tie_word_embeddings, false);
});

Deno.test("rewrite: gains of norms go into the columns of all readers and become 1", async () => {
  const model = untied(), result = rewrite(model, { op: "fuse_norms" });
  for (
    const [norm, reader] of [
      ["blocks.1.attention.norm", "blocks.1.attention.key"],
      ["blocks.0.mlp.norm", "blocks.0.mlp.gate"],
      ["norm", "head"],
    ]
  ) {
    const [gain, before, after] = [
      await read(model, norm),
      await read(model, reader),
      await read(result, reader),
    ];
    assertEquals(await read(result, norm), new Float32Array(8).fill(1));
    after.forEach((value, i) => assertEquals(value, Math.fround(before[i] * gain[i % 8])));
  }
  const down = "blocks.0.mlp.down";
  assertEquals(await read(result, down), await read(model, down));
});

Deno.test("rewrite: rotating turns rows of readers and embedding, columns of writers", async () => {
  const model = rewrite(untied(), { op: "fuse_norms" });
  const result = rewrite(untied(), { op: "fuse_norms" }, { op: "rotate", rotation: ROTATION });
  for (const id of ["embedding", "head", "blocks.0.attention.query", "blocks.1.mlp.up"]) {
    const expected = rotate(Float64Array.from(await read(model, id)), ROTATION);
    assertEquals(await read(result, id), Float32Array.from(expected));
    // Some rows give the same as all.
    const part = await parameterTensor(result, id).read({ start: 1, end: 3 });
    assertEquals(part, Float32Array.from(expected.slice(8, 24)));
  }
  for (const id of ["blocks.0.attention.output", "blocks.1.mlp.down"]) {
    const [before, after] = [await read(model, id), await read(result, id)];
    const columns = before.length / 8;
    for (let c = 0; c < columns; c++) {
      const column = rotate(
        Float64Array.from({ length: 8 }, (_, r) => before[r * columns + c]),
        ROTATION,
      );
      column.forEach((value, r) => assertAlmostEquals(after[r * columns + c], value, 1e-5));
    }
    const part = await parameterTensor(result, id).read({ start: 2, end: 4 });
    assertEquals(part, after.slice(2 * columns, 4 * columns));
  }
});

Deno.test("rewrite: online Hadamards are operations of the graph, and end their edges", () => {
  const result = rewrite(
    untied(),
    { op: "hadamard", values: ["mlp.down.input"], size: 4 },
    { op: "hadamard", values: ["query.rotated", "key.rotated"], size: 4 },
    { op: "bias", values: ["mlp.down.input", "query"] },
  );
  const { graph, edges } = result.architecture;
  const added = graph.block.filter(({ op }) => op === "hadamard" || op === "bias");
  assertEquals(added.map(({ op, out }) => `${op} ${out}`), [
    "bias query",
    "hadamard query.rotated",
    "hadamard key.rotated",
    "hadamard mlp.down.input",
    "bias mlp.down.input",
  ]);
  assertEquals(edges.map(({ id }) => id), [
    "attention.input",
    "attention.output.input",
    "mlp.input",
  ]);
  const shape = (id: string) => result.parameters.find((p) => p.id === id)!.shape;
  assertEquals([shape("blocks.0.query.bias"), shape("blocks.1.mlp.down.input.bias")], [[8], [12]]);
  assertEquals(result.checkpoint.transforms?.length, 5);
});

Deno.test("rewrite: a bias that is asked for twice is there once, and is zero", async () => {
  const model = untied();
  const ops: ModelOp[] = [{ op: "bias", values: ["query"] }];
  const result = openModel(
    rewriteCheckpoint(model, [{ plugin: "one", ops }, { plugin: "two", ops }]),
  );
  assertEquals(result.checkpoint.transforms?.length, 1);
  assertEquals(await read(result, "blocks.0.query.bias"), new Float32Array(8));
});

Deno.test("rewrite: what would change the function is refused, with the plugin's name", () => {
  const cases: [ModelGraph, ModelOp[], string][] = [
    [untied(), [{ op: "rotate", rotation: ROTATION }], "rotate does not commute with the gains of"],
    [tied(), [{ op: "fuse_norms" }], "fuse_norms would change head, which shares its weight with"],
    [untied(), [{ op: "rotate", rotation: { kind: "hadamard", size: 3 } }], "does not divide 8"],
    [
      untied(),
      [{ op: "fuse_norms" }, {
        op: "rotate",
        rotation: { kind: "matrix", size: 2, values: Float64Array.of(1, 1, 0, 1) },
      }],
      "rotate is not orthogonal",
    ],
    [
      untied(),
      [{ op: "hadamard", values: ["query.rotated"], size: 4 }],
      "hadamard of query.rotated alone changes the attention",
    ],
    [untied(), [{ op: "hadamard", values: ["value"], size: 4 }], "cannot be undone in attention"],
    [untied(), [{ op: "hadamard", values: ["gate"], size: 4 }], "cannot be undone in silu_gate"],
    [untied(), [{ op: "hadamard", values: ["nothing"], size: 4 }], "found no value nothing"],
    [untied(), [{ op: "bias", values: ["middle"] }], "no linear makes or reads the value middle"],
  ];
  for (const [model, ops, problem] of cases) {
    assertThrows(
      () => rewriteCheckpoint(model, [{ plugin: "breaking", ops }]),
      LowbitError,
      problem,
    );
  }
});
