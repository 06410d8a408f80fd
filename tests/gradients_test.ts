/** Gradients piece by piece, and what they are refused for. */

import { assert, assertEquals, assertLess, assertStringIncludes, assertThrows } from "@std/assert";
import { loadAutodiff } from "../autodiff/mod.ts";
import { fisherDiagonals } from "../engine/fisher.ts";
import { WholeModel } from "../engine/model_view.ts";
import type { Pipeline } from "../engine/pipeline.ts";
import { gradientConflicts } from "../engine/preflight.ts";
import { type ModelGraph, openModel } from "../models/architecture.ts";
import { LowbitError } from "../spec/mod.ts";
import { PLUGINS } from "../plugins/mod.ts";
import { bench, WINDOWS } from "./engine_bench.ts";
import { UNTIED } from "./temporary.ts";

/** A pipeline of one plugin that wants a statistic of every linear. */
function pipelineOf(name: string, statistic?: string): Pipeline {
  return {
    recipe: { name: "test" },
    steps: [{ plugin: PLUGINS.find(({ meta }) => meta.name === name) }],
    statistics: () => new Set(statistic ? [statistic] : []),
  } as unknown as Pipeline;
}

Deno.test("Fisher diagonals, block by block, are those of one program for the whole model", async () => {
  using lowbit = bench();
  const { kernels, codecs } = lowbit;
  const checkpoint = await lowbit.open(UNTIED);
  const model = openModel(checkpoint);
  const linears = model.linears.filter(({ block }) => block !== undefined);
  const autodiff = await loadAutodiff();
  const pipeline = pipelineOf("squeezellm", "fisher");
  const found = await fisherDiagonals({
    ...{ model, pipeline, kernels, codecs, calibration: WINDOWS },
    autodiff: loadAutodiff,
  });
  assertEquals([...found.keys()].sort(), linears.map(({ id }) => id).sort());

  using whole = await WholeModel.load({
    ...{ model, kernels, codecs, windows: WINDOWS, candidates: [], planned: linears },
  });
  const weights = Object.fromEntries(
    linears.map(({ id, rows, columns }) =>
      [id, { values: whole.weight(id), shape: [rows, columns] }] as const
    ),
  );
  using program = autodiff.compile((scope) =>
    whole.loss(scope, {
      linear: (id, x) => scope.inputs[id] && x.matmul(scope.inputs[id].transpose()),
    }), Object.keys(weights));
  const runs = WINDOWS.map((_, i) => program.run({ ...whole.batch([i]), ...weights }).gradients);
  for (const { id } of linears) {
    const one = runs[0][id].map((_, i) =>
      runs.reduce((sum, gradients) => sum + gradients[id][i] ** 2, 0) / runs.length
    );
    const largest = one.reduce((a, b) => Math.max(a, b), 0);
    assert(largest > 0);
    found.get(id)!.forEach((value, i) => assertLess(Math.abs(value - one[i]), 1e-5 * largest, id));
  }
  checkpoint.close();
});

/** The shapes of a Llama-style model. */
function shapes(blocks: number, hidden: number, intermediate: number, heads: number): ModelGraph {
  const linears = Array.from({ length: blocks }, (_, block) => [
    ...[1, 2, 3, 4].map(() => ({ block, rows: hidden, columns: hidden })),
    ...[1, 2, 3].map(() => ({ block, rows: intermediate, columns: hidden })),
  ]).flat();
  const hyperparameters = { blocks, hidden, heads, vocab: 49152 };
  return { linears, hyperparameters } as unknown as ModelGraph;
}

Deno.test("gradients of a whole model that cannot be held are a conflict with advice", () => {
  const small = shapes(30, 576, 1536, 9);
  for (const name of ["hawq", "qlora"]) {
    const pipeline = pipelineOf(name);
    const [conflict] = gradientConflicts(small, pipeline, [512]);
    assertEquals([conflict.code, conflict.where], ["MEMORY", name]);
    assertStringIncludes(conflict.advice, "windows of 128 tokens");
    assertEquals([...gradientConflicts(small, pipeline, [128])], []);
    // Weights alone are too much, at any length.
    const [large] = gradientConflicts(shapes(32, 4096, 11008, 32), pipeline, [512]);
    assert(!large.advice.includes("tokens"));
  }
  assertEquals([...gradientConflicts(small, pipelineOf("sensitivity"), [512])], []);
});

Deno.test("a block's gradients are held where those of the model are not", () => {
  const fisher = pipelineOf("squeezellm", "fisher");
  assertEquals([...gradientConflicts(shapes(30, 576, 1536, 9), fisher, [512])], []);
  const [conflict] = gradientConflicts(shapes(80, 8192, 28672, 64), fisher, [2048]);
  assertEquals([conflict.code, conflict.where], ["MEMORY", "fisher"]);
});

Deno.test("what the autodiff library cannot hold is an error with a code, and the next call works", async () => {
  const autodiff = await loadAutodiff();
  const error = assertThrows(
    () => autodiff.upload(new Float32Array(2 ** 30), [2 ** 30]),
    LowbitError,
    "4 GiB",
  );
  assertEquals(error.code, "MEMORY");
  using small = autodiff.upload(Float32Array.of(1, 2), [2]);
  assertEquals(small.shape, [2]);
});
