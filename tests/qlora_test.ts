/** Learning through the whole model: the adapters of qlora, and what any learner may return. */

import { assert, assertAlmostEquals, assertEquals, assertLess, assertRejects } from "@std/assert";
import { loadAutodiff } from "../autodiff/mod.ts";
import { embeddedPath } from "../embedded/mod.ts";
import { WholeModel } from "../engine/model_view.ts";
import { memoryOutput } from "../formats/containers/output.ts";
import { memorySource } from "../formats/containers/source.ts";
import { openModel } from "../models/architecture.ts";
import { presetRecipe } from "../recipes/mod.ts";
import {
  type Checkpoint,
  LowbitError,
  type LowRankPart,
  type Plugin,
  type Recipe,
} from "../spec/mod.ts";
import { createWorkbench, type Workbench } from "../workbench.ts";
import { bench, figures, recipeOf, run, testPlugin, WINDOWS } from "./engine_bench.ts";

const QUERY = "model.layers.0.self_attn.q_proj.weight";

/** A recipe with adapters on NF4. */
const adapted = (options: Record<string, unknown>, schemes: Record<string, unknown> = {}): Recipe =>
  recipeOf([], {
    assign: [{ select: ["blocks.*"], weight: "nf4_b64_dq", ...schemes }],
    pipeline: [{ use: "rtn" }, { use: "qlora", options: { rank: 4, rate: 0.01, ...options } }],
  });
const plain = () => recipeOf(["rtn"], { assign: adapted({}).assign });

async function adapterOf(model: Checkpoint, name = QUERY): Promise<LowRankPart> {
  const { side = [] } = await model.tensors.get(name)!.quantized();
  assertEquals(side.map(({ kind }) => kind), ["low_rank"]);
  return side[0] as LowRankPart;
}

Deno.test("qlora: without steps it is the quantised model, bit for bit", async () => {
  using lowbit = bench();
  using before = await run(lowbit, plain());
  using start = await run(lowbit, adapted({ steps: 0 }));
  const { left, right, rank } = await adapterOf(start.model);
  assertEquals(rank, 4);
  assert(left.every((value) => value === 0));
  const bound = 1 / Math.sqrt(right.length / rank);
  assert(right.every((value) => value !== 0 && Math.abs(value) <= bound));
  assertEquals(await figures(lowbit, start.model), await figures(lowbit, before.model));
  const name = "model.safetensors";
  // The codes and scales are the same: the headers differ in that there are side tensors.
  const [a, b] = await Promise.all(
    [start, before].map(({ model }) => model.tensors.get(QUERY)!.quantized()),
  );
  assertEquals([a.codes, a.parameters], [b.codes, b.parameters]);
  assertEquals(start.files.get(name)!.length, before.files.get(name)!.length);
});

Deno.test("qlora: the same bytes twice, and with 1, 2 and 3 threads; others with another seed", async () => {
  const made: string[][] = [];
  for (const threads of [1, 1, 2, 3]) {
    using lowbit = await createWorkbench({ threads });
    using result = await run(lowbit, adapted({ steps: 6, batch: 1 }));
    made.push(result.receipt.output.map(({ sha256 }) => sha256));
  }
  for (const hashes of made) assertEquals(hashes, made[0]);
  using lowbit = bench();
  using other = await run(lowbit, { ...adapted({ steps: 6, batch: 1 }), seed: 7 });
  assert(other.receipt.output.some(({ sha256 }) => !made[0].includes(sha256)));
});

Deno.test("qlora: weights keep their codes, adapters have the rank, role and size that is said", async () => {
  using lowbit = bench();
  using before = await run(lowbit, plain());
  const options = { steps: 8, batch: 1, targets: ["attention.query"], held_out: 0 };
  using after = await run(lowbit, adapted(options));
  for (const name of after.model.tensors.keys()) {
    const tensors = [before, after].map(({ model }) => model.tensors.get(name)!);
    if (tensors[0].storage.kind !== "coded") continue;
    const [old, now] = await Promise.all(tensors.map((tensor) => tensor.quantized()));
    assertEquals([now.codes, now.parameters], [old.codes, old.parameters]);
    assertEquals(now.side?.length ?? 0, name.includes("q_proj") ? 1 : 0);
  }
  const { left, right } = await adapterOf(after.model);
  assert(left.some((value) => value !== 0));
  const sizes = [before, after].map(({ receipt }) =>
    receipt.tensors.find(({ name }) => name === QUERY)!
  );
  assertEquals(sizes[1].bytes - sizes[0].bytes, 4 * (left.length + right.length));
});

Deno.test("the loss of the whole model: gradients of adapters match finite differences", async () => {
  using lowbit = bench();
  using start = await run(lowbit, plain());
  const { kernels, codecs } = lowbit;
  const model = openModel(start.model);
  using whole = await WholeModel.load({
    ...{ model, kernels, codecs, windows: WINDOWS, candidates: [], planned: [] },
  });
  const { id, rows, columns } = whole.linears.find(({ role }) => role === "mlp.up")!;
  const autodiff = await loadAutodiff();
  using program = autodiff.compile((scope) =>
    whole.loss(scope, {
      linear(other, x) {
        if (other !== id) return undefined;
        const { a, b } = scope.inputs;
        const base = x.matmul(scope.constant(whole.weight(id), [rows, columns]).transpose());
        return base.add(x.matmul(a.transpose()).matmul(b.transpose()).mul(2));
      },
    }), ["a", "b"]);
  const a = Float32Array.from({ length: 2 * columns }, (_, i) => Math.sin(i) / 8);
  const b = Float32Array.from({ length: rows * 2 }, (_, i) => Math.cos(3 * i) / 8);
  const loss = () =>
    program.run({
      ...whole.batch([0, 1]),
      a: { values: a, shape: [2, columns] },
      b: { values: b, shape: [rows, 2] },
    });
  const { gradients } = loss();
  for (const [name, values] of [["a", a], ["b", b]] as const) {
    const gradient = gradients[name];
    // Along the gradient the difference is largest, and its f32 error least.
    const norm = Math.sqrt(gradient.reduce((sum, g) => sum + g * g, 0));
    const start = values.slice(), h = 0.02;
    const [up, down] = [h, -h].map((step) => {
      start.forEach((value, i) => values[i] = value + step * gradient[i] / norm);
      return loss().value[0];
    });
    values.set(start);
    assert(norm > 1e-3);
    assertAlmostEquals((up - down) / (2 * h), norm, 0.01 * norm);
  }
});

Deno.test("qlora: beside lqer, both parts are one of the sum of their ranks", async () => {
  using lowbit = bench();
  const recipe = adapted({ steps: 4, batch: 1, held_out: 0 });
  const lqer = { use: "lqer", options: { rank: 3, weighting: "none" } };
  const [rtn, qlora] = recipe.pipeline;
  using alone = await run(lowbit, { ...recipe, pipeline: [rtn, lqer] });
  using both = await run(lowbit, { ...recipe, pipeline: [rtn, lqer, qlora] });
  const [first, sum] = [await adapterOf(alone.model), await adapterOf(both.model)];
  assertEquals([first.rank, sum.rank], [3, 7]);
  assertEquals(sum.right.subarray(0, first.right.length), first.right);
  assertEquals(sum.left.subarray(7, 10), first.left.subarray(3, 6));
});

Deno.test("qlora: an unknown role, and a target without room, are refused", async () => {
  using lowbit = bench();
  const wrong = adapted({ targets: ["attention.querry"] });
  await assertRejects(() => run(lowbit, wrong), LowbitError, "is the role of no linear");
  const eight = adapted({}, { weight: "int8_channel_sym" });
  await assertRejects(
    () => run(lowbit, eight, { to: "compressed-tensors" }),
    LowbitError,
    "has no place for what qlora adds to weights",
  );
});

Deno.test("learnModel: its model is what reads back, transforms and low-rank parts included", async () => {
  let seen = NaN;
  const watching = testPlugin("watching", {
    learnModel({ context: { autodiff }, model }) {
      using program = autodiff!.compile((scope) => model.loss(scope), ["x"]);
      const windows = model.windows.map((_, window) => window);
      seen = program.run(model.batch(windows)).value[0];
      return { side: new Map() };
    },
  }, { needs: { statistics: [], autodiff: true } });
  using lowbit = bench(watching);
  for (const chain of [["rtn"], ["smoothquant", "rtn", "lqer"]]) {
    const weight = { base: "int8_channel_sym", element: "int3" };
    const assign = [{ select: ["blocks.*"], weight }];
    using made = await run(lowbit, recipeOf([...chain, "watching"], { assign }));
    const { perplexity } = await figures(lowbit, made.model);
    assertAlmostEquals(seen, Math.log(perplexity), 1e-5);
  }
});

/** A learner that returns something. */
const returning = (learned: ReturnType<NonNullable<Plugin["learnModel"]>>) =>
  testPlugin("returning", { learnModel: () => learned });

Deno.test("learnModel: plain parameters are replaced, and nothing that does not fit is taken", async () => {
  const find = async () => {
    using lowbit = bench();
    using plain = await run(lowbit, recipeOf(["rtn"]));
    const parameter = openModel(plain.model).parameters.find(({ block, shape }) =>
      block === 0 && shape.length === 1
    )!;
    return parameter;
  };
  const parameter = await find();
  const values = Float32Array.of(0.5);
  const whole = new Float32Array(parameter.shape[0]).fill(0.5);
  using lowbit = bench(returning({
    side: new Map(),
    parameters: new Map([[parameter.id, whole]]),
  }));
  using made = await run(lowbit, recipeOf(["rtn", "returning"]));
  assertEquals(await made.model.tensors.get(parameter.names.huggingface)!.read(), whole);
  const part: LowRankPart = { kind: "low_rank", rank: 1, left: values, right: values };
  const bad: [ReturnType<NonNullable<Plugin["learnModel"]>>, string][] = [
    [{ side: new Map([["head", part]]) }, "is no quantised linear"],
    [{ side: new Map([["blocks.0.mlp.up", part]]) }, "times 1 x"],
    [{ side: new Map(), parameters: new Map([["blocks.0.mlp.up", values]]) }, "is no plain"],
    [{ side: new Map(), parameters: new Map([[parameter.id, new Float32Array(1)]]) }, "elements"],
    [
      {
        side: new Map(),
        parameters: new Map([[parameter.id, whole.map(() => NaN)]]),
      },
      "a parameter is NaN",
    ],
  ];
  for (const [learned, problem] of bad) {
    await assertRejects(
      () => run(bench(returning(learned)), recipeOf(["rtn", "returning"])),
      LowbitError,
      problem,
    );
  }
});

/** The shipped model under a recipe, with what it predicts on text that nothing was learned from. */
async function shipped(lowbit: Workbench, recipe: Recipe) {
  const model = await lowbit.open(embeddedPath("model"));
  const text = Deno.readTextFileSync(embeddedPath("calibration.txt"));
  const all = lowbit.windows(model, text, { length: 64, count: 24 });
  const [calibration, windows] = [all.slice(0, 16), all.slice(16)];
  const out = memoryOutput("out");
  await lowbit.quantize({ model, recipe, out, calibration });
  const files = [...out.files].map(([name, bytes]) => memorySource(name, bytes));
  const made = await lowbit.open(files);
  const evaluated = await lowbit.evaluate({ model: made, windows, reference: model });
  model.close();
  return { made, windows, figures: evaluated };
}

Deno.test("qlora: on the shipped model the loss falls on text that nothing was learned from", async () => {
  using lowbit = await createWorkbench();
  const recipe = presetRecipe("qlora-nf4");
  const [rtn, qlora] = recipe.pipeline;
  const short = { ...qlora, options: { ...qlora.options, steps: 8, batch: 2, rate: 2e-3 } };
  const before = await shipped(lowbit, { ...recipe, pipeline: [rtn] });
  const after = await shipped(lowbit, { ...recipe, pipeline: [rtn, short] });
  assertLess(after.figures.perplexity, before.figures.perplexity);
  // Merged into plain weights, the adapters give the same within the error of f32 sums.
  const merged = memoryOutput("merged");
  await lowbit.convert({
    checkpoint: after.made,
    to: "safetensors:float32",
    lossy: true,
    out: merged,
  });
  const files = [...merged.files].map(([name, bytes]) => memorySource(name, bytes));
  const whole = await lowbit.open(files);
  const { windows } = after;
  const { kl } = await lowbit.evaluate({ model: whole, windows, reference: after.made });
  assertLess(Math.abs(kl), 1e-6);
  for (const checkpoint of [before.made, after.made, whole]) checkpoint.close();
});
