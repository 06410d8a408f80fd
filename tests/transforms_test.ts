/** Transforms of blocks and of whole models: applied, proven, written, read back, refused. */

import { assert, assertEquals, assertLess, assertRejects, assertThrows } from "@std/assert";
import { proveModel } from "../engine/prove.ts";
import { openModel } from "../models/architecture.ts";
import { rewriteCheckpoint } from "../models/rewrite.ts";
import {
  type Checkpoint,
  LowbitError,
  type ModelOp,
  type Plugin,
  type TransformOp,
} from "../spec/mod.ts";
import { bench, figures, recipeOf, run, testPlugin, WINDOWS } from "./engine_bench.ts";
import { TIED, UNTIED } from "./temporary.ts";

/** No quantisation at all: what is left in the output is what transforms did. */
const NOTHING = { assign: [{ select: ["blocks.*"], activation: "int8_token" }] };
const nothing = (pipeline: unknown[]) =>
  recipeOf([], { ...NOTHING, pipeline: pipeline as never[] });

/** A plugin of some operations. */
const changing = (model: ModelOp[], block: (columns: number) => TransformOp[] = () => []): Plugin =>
  testPlugin("changing", {
    transformModel: () => model,
    transform: ({ block: { linears } }) => block(linears[0].columns),
  });

/** The checkpoint without its schemes of activations, so that only the transforms show. */
const exact = (checkpoint: Checkpoint): Checkpoint => ({ ...checkpoint, activations: undefined });

Deno.test("quarot: written and read back, the function is that of the original", async () => {
  for (const from of [UNTIED, TIED, `${UNTIED}/model.gguf`, `${TIED}/model.gguf`]) {
    for (
      const options of [{}, { r1: "none", r2: false }, {
        r3: false,
        r4: false,
        across_heads: false,
      }]
    ) {
      using lowbit = bench();
      using result = await run(lowbit, nothing([{ use: "quarot", options }]), { from });
      assertLess((await figures(lowbit, exact(result.model), from)).kl, 1e-8);
      const online = result.model.transforms?.map(({ op, value }) => `${op} ${value}`);
      const all = [
        "hadamard query.rotated",
        "hadamard key.rotated",
        "hadamard mlp.down.input",
        "hadamard attention.output.input",
      ];
      assertEquals(online, "r3" in options ? undefined : all);
    }
  }
});

Deno.test("quarot: weights and stream did change, the embedding is untied, norms are 1", async () => {
  using lowbit = bench();
  using result = await run(lowbit, nothing([{ use: "quarot" }]), { from: TIED });
  const source = await lowbit.open(TIED);
  const { tensors, config } = result.model;
  assertEquals(config.tie_word_embeddings, false);
  assert(tensors.has("lm_head.weight"));
  for (const name of ["embed_tokens", "layers.0.self_attn.v_proj", "layers.1.mlp.down_proj"]) {
    const key = `model.${name}.weight`;
    const [a, b] = [await source.tensors.get(key)!.read(), await tensors.get(key)!.read()];
    assert(a.some((value, i) => Math.abs(value - b[i]) > 1e-3), name);
  }
  const gain = await tensors.get("model.layers.2.post_attention_layernorm.weight")!.read();
  assert(gain.every((value) => value === 1));
  source.close();
});

Deno.test("transforms: a target that cannot say them is refused before anything is read", async () => {
  using lowbit = bench();
  const model = await lowbit.open(UNTIED);
  const pipeline = (options: unknown) =>
    recipeOf([], {
      assign: [{
        select: ["blocks.*"],
        weight: { base: "int4_channel_sym", granularity: { kind: "group", size: 8 } },
      }],
      pipeline: [{ use: "quarot", options }, { use: "rtn" }],
    });
  for (const to of ["gguf", "compressed-tensors"]) {
    const { conflicts } = lowbit.plan({ model, recipe: pipeline({}), to });
    const found = conflicts.find(({ where, problem }) =>
      where === to && /Hadamard|hadamard/.test(problem)
    )!;
    assertEquals(found.code, "TARGET");
    assertEquals(
      found.problem,
      "cannot say that blocks do more than their architecture: hadamard of query.rotated, " +
        "hadamard of key.rotated, hadamard of mlp.down.input, hadamard of attention.output.input",
    );
    assert(found.advice.includes("--to lowbit, or turn off the options of quarot"));
    const folded = lowbit.plan({
      model,
      recipe: pipeline({ r3: false, r4: false, across_heads: false }),
      to,
    });
    assert(!folded.conflicts.some(({ problem }) => problem.includes("hadamard")));
  }
  model.close();
  // A checkpoint that has them already is no better.
  using rotated = await run(lowbit, nothing([{ use: "quarot" }]));
  const { conflicts } = lowbit.plan({
    model: rotated.model,
    recipe: recipeOf(["rtn"]),
    to: "gguf",
  });
  assert(conflicts.some(({ advice }) => advice === "write with --to lowbit"));
});

Deno.test("transforms: a completely folded rotation is written as GGUF and computes the same", async () => {
  using lowbit = bench();
  const folded = { use: "quarot", options: { r3: false, r4: false, across_heads: false } };
  using result = await run(lowbit, nothing([folded]), { to: "gguf" });
  assertEquals(result.model.kind, "gguf");
  assertLess((await figures(lowbit, exact(result.model))).kl, 1e-8);
});

Deno.test("transforms: what a lowbit folder says of its blocks is checked when it is read", async () => {
  using lowbit = bench();
  using result = await run(lowbit, nothing([{ use: "quarot" }]));
  const broken = { ...result.model, transforms: [{ op: "bias" as const, value: "nowhere" }] };
  assertThrows(() => openModel(broken), LowbitError, "no operation makes the value nowhere");
  // A rotated checkpoint is quantised on like any other, and keeps what its blocks do.
  const { kernels } = lowbit;
  const again = openModel(rewriteCheckpoint(openModel(result.model), [{ plugin: "x", ops: [] }]));
  assertEquals(again.checkpoint.transforms, result.model.transforms);
  await proveModel({ original: openModel(result.model), rewritten: again, plugin: "x", kernels });
});

Deno.test("the proof of a model fails where its predictions differ", async () => {
  using lowbit = bench();
  const original = openModel(await lowbit.open(UNTIED));
  const tensors = new Map(original.checkpoint.tensors);
  const name = "model.layers.1.mlp.up_proj.weight";
  const tensor = tensors.get(name)!;
  tensors.set(name, {
    ...tensor,
    read: async (rows) =>
      (await tensor.read(rows)).map((value, i) => i === 3 ? value + 0.1 : value),
  });
  const rewritten = openModel({ ...original.checkpoint, tensors });
  for (const window of [undefined, WINDOWS[0]]) {
    const error = await assertRejects(
      () => proveModel({ original, rewritten, plugin: "wrong", kernels: lowbit.kernels, window }),
      LowbitError,
      "transform changed the output by ",
    );
    assertEquals([error.code, error.file, error.field], ["PLUGIN", "wrong", "model"]);
  }
  original.checkpoint.close();
});

Deno.test("shift: outputs of norms move, biases take it back, also after a scale", async () => {
  const values = ["attention.input", "query", "key", "value", "attention.output.input"];
  const bias: ModelOp = { op: "bias", values: [...values, "attention.branch"] };
  const wave = (n: number) => Float32Array.from({ length: n }, (_, i) => Math.sin(3 * i) / 2);
  const factors = (n: number) => Float32Array.from({ length: n }, (_, i) => 2 ** (i % 3 - 1));
  const ops = (n: number): TransformOp[] => [
    { op: "shift", edge: "attention.input", offsets: wave(n) },
    { op: "scale", edge: "attention.input", factors: factors(n) },
    { op: "shift", edge: "attention.output.input", offsets: wave(2 * n) },
    { op: "scale", edge: "attention.output.input", factors: new Float32Array(2 * n).fill(2) },
    { op: "rotate", edge: "attention.output.input", rotation: { kind: "hadamard", size: 8 } },
  ];
  using lowbit = bench(changing([bias], ops));
  using result = await run(lowbit, nothing([{ use: "changing" }]));
  assertLess((await figures(lowbit, exact(result.model))).kl, 1e-8);
  const shift = await result.model.tensors.get("model.layers.0.attention.input.bias")!.read();
  shift.forEach((value, i) => {
    assertLess(Math.abs(value + wave(16)[i] / factors(16)[i]), 1e-6);
  });
});

Deno.test("operations that do not fit are refused, with the plugin's name", async () => {
  const turn = { kind: "hadamard" as const, size: 8 };
  const cases: [ModelOp[], TransformOp, string][] = [
    [
      [],
      { op: "shift", edge: "mlp.input", offsets: new Float32Array(16) },
      "transform adds to mlp.input, which has no bias; declare it in transformModel",
    ],
    [
      [{ op: "bias", values: ["mlp.input", "gate", "up"] }],
      { op: "shift", edge: "mlp.input", offsets: new Float32Array(16).fill(NaN) },
      "transform needs 16 finite offsets for mlp.input",
    ],
    [[], { op: "rotate", edge: "mlp.input", rotation: turn }, "cannot rotate along mlp.input"],
    [
      [],
      { op: "rotate", edge: "attention.output.input", rotation: { ...turn, size: 16 } },
      "of 16 channels does not divide 8",
    ],
    [
      [{ op: "hadamard", values: ["mlp.down.input"], size: 8 }],
      { op: "scale", edge: "mlp.down.input", factors: new Float32Array(24).fill(2) },
      'names the edge "mlp.down.input"; edges are attention.input',
    ],
  ];
  for (const [ops, op, problem] of cases) {
    const error = await assertRejects(
      () => run(bench(changing(ops, () => [op])), nothing([{ use: "changing" }])),
      LowbitError,
      problem,
    );
    assertEquals([error.code, error.file], ["PLUGIN", "changing"]);
  }
});

Deno.test("statistics, custom ones too, are those of the inputs after transforms", async () => {
  const seen: number[][] = [];
  const watching = testPlugin("watching", {
    collect() {
      let most = 0;
      return {
        add: (x) => void (most = x.array.reduce((a, b) => Math.max(a, Math.abs(b)), most)),
        merge() {},
        value: () => most,
      };
    },
    transform: ({ block }) =>
      block.edges.filter(({ id }) => id === "mlp.input").map(({ id }): TransformOp => ({
        op: "scale",
        edge: id,
        factors: new Float32Array(16).fill(4),
      })),
    quantize({ linear, weight, codec, statistics: { custom, absMax, max, min, mean } }) {
      if (linear.id === "blocks.0.mlp.up") {
        const standard = absMax!.reduce((a, b) => Math.max(a, b));
        const moments = [...max!, ...min!].reduce((a, b) => Math.max(a, Math.abs(b)), 0);
        assert(mean!.every((value, j) => value >= min![j] && value <= max![j]));
        seen.push([custom.get("watching") as number, standard, moments]);
      }
      return codec.quantize(weight, linear.rows, linear.columns);
    },
  }, { needs: { statistics: ["abs_max", "moments"] } });
  const idle = testPlugin("idle", { ...watching, transform: undefined }, watching.meta);
  for (const plugin of [watching, idle]) {
    (await run(bench(plugin), recipeOf(["watching"]))).model.close();
  }
  const [scaled, plain] = seen;
  for (const value of scaled) assertLess(Math.abs(4 * value / plain[0] - 1), 1e-5);
});

Deno.test("clip: weights are clamped to the share of their range before they are quantised", async () => {
  const clipping = (factor: number, length?: number) =>
    testPlugin("clipping", {
      clip: ({ linear }) => new Float32Array(length ?? linear.rows).fill(factor),
    });
  using half = await run(bench(clipping(0.5)), recipeOf(["clipping", "rtn"]));
  using whole = await run(bench(clipping(1)), recipeOf(["clipping", "rtn"]));
  using plain = await run(bench(), recipeOf(["rtn"]));
  const name = "model.layers.0.mlp.up_proj.weight";
  const scales = async (result: { model: Checkpoint }) =>
    (await result.model.tensors.get(name)!.quantized()).parameters.scales;
  const [a, b, c] = [await scales(half), await scales(whole), await scales(plain)];
  assertEquals(b, c);
  a.forEach((scale, i) => assertEquals(scale, c[i] / 2));
  for (
    const [factor, length] of [[0, undefined], [2, undefined], [NaN, undefined], [1, 3]] as const
  ) {
    await assertRejects(
      () => run(bench(clipping(factor, length)), recipeOf(["clipping", "rtn"])),
      LowbitError,
      "clipping: blocks.0.attention.query: clip needs 32 factors above 0 and up to 1",
    );
  }
});

Deno.test("compensate: a bias is added to outputs that have one, and refused elsewhere", async () => {
  const lifting = (values: string[], length = 32) =>
    testPlugin("lifting", {
      transformModel: (): ModelOp[] => [{ op: "bias", values }],
      compensate: ({ linear }) =>
        linear.role === "attention.query" ? { bias: new Float32Array(length).fill(0.25) } : {},
    });
  using result = await run(bench(lifting(["query"])), recipeOf(["rtn", "lifting"]));
  const bias = await result.model.tensors.get("model.layers.1.query.bias")!.read();
  assertEquals(bias, new Float32Array(32).fill(0.25));
  for (
    const [plugin, problem] of [
      [lifting(["key"]), "adds to query, which has no bias"],
      [lifting(["query"], 3), "needs a finite bias of 32 values"],
    ] as const
  ) {
    await assertRejects(
      () => run(bench(plugin), recipeOf(["rtn", "lifting"])),
      LowbitError,
      problem,
    );
  }
});

Deno.test("propagate: the next block sees inputs that are quantised though their weights are not", async () => {
  const recorded: Float32Array[] = [];
  const recording = testPlugin("recording", {
    learn({ block }) {
      if (block.index === 1) recorded.push(block.inputs[0].slice());
      return new Map();
    },
  });
  for (const propagate of ["original", "quantized"]) {
    const recipe = recipeOf(["recording"], { ...NOTHING, propagate });
    (await run(bench(recording), recipe)).model.close();
  }
  const [original, quantized] = recorded;
  const differences = original.map((value, i) => Math.abs(value - quantized[i]));
  assert(differences.some((difference) => difference > 1e-5));
});
