/** Learners through the engine: the same bytes for any number of threads, transforms proven. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { planRun, quantizeModel } from "../engine/quantize.ts";
import { memoryOutput } from "../formats/containers/output.ts";
import { LowbitError, type QuantizedTensor, type TransformOp } from "../spec/mod.ts";
import { createWorkbench } from "../workbench.ts";
import { bench, figures, recipeOf, run, testPlugin, WINDOWS } from "./engine_bench.ts";
import { UNTIED } from "./temporary.ts";

const INT3 = { base: "int4_channel_asym", element: "uint3" };

/** A recipe with one learner behind round to nearest. */
const learning = (use: string, options: Record<string, unknown>) =>
  recipeOf(["rtn"], {
    assign: [{
      select: ["blocks.*"],
      weight: INT3,
      activation: { base: "int8_token", element: "int6" },
    }],
    pipeline: [{ use: "rtn" }, { use, options }],
  });

const RECIPES = {
  signround: learning("signround", { steps: 20, batch: 2 }),
  omniquant: learning("omniquant", { epochs: 8, batch: 2, scale: true, clip_rate: 0.05 }),
};

for (const [name, recipe] of Object.entries(RECIPES)) {
  Deno.test(`${name}: the same bytes with 1, 2, 3 and 5 threads, and other ones than rtn`, async () => {
    const made: string[][] = [];
    for (const threads of [1, 2, 3, 5]) {
      using lowbit = await createWorkbench({ threads });
      using result = await run(lowbit, recipe);
      made.push(result.receipt.output.map(({ sha256 }) => sha256));
    }
    for (const hashes of made) assertEquals(hashes, made[0]);
    using lowbit = bench();
    using nearest = await run(lowbit, { ...recipe, pipeline: [recipe.pipeline[0]] });
    assert(nearest.receipt.output.some(({ sha256 }) => !made[0].includes(sha256)));
  });
}

Deno.test("omniquant: the transformed model predicts better than round to nearest", async () => {
  using lowbit = bench();
  const recipe = RECIPES.omniquant;
  using nearest = await run(lowbit, { ...recipe, pipeline: [recipe.pipeline[0]] });
  using learned = await run(lowbit, recipe);
  const [before, after] = [
    await figures(lowbit, nearest.model),
    await figures(lowbit, learned.model),
  ];
  assert(after.kl < before.kl, `${after.kl} ${before.kl}`);
});

/** Doubles the scales of an edge, and gives no weights for it. */
const scaling = (says: boolean, factor: number) =>
  testPlugin("scaling", {
    learn({ block }) {
      const { columns } = block.linears.find(({ role }) => role === "mlp.up")!;
      const factors = new Float32Array(columns).fill(factor);
      const transforms: TransformOp[] = [{ op: "scale", edge: "mlp.input", factors }];
      return { quantized: new Map<string, QuantizedTensor>(), transforms };
    },
  }, { transforms: says });

Deno.test("learn: transforms are applied, what they change is quantised again", async () => {
  using lowbit = bench(scaling(true, 2));
  using plain = await run(lowbit, recipeOf(["rtn"]));
  using scaled = await run(lowbit, recipeOf(["rtn", "scaling"]));
  const name = "model.layers.0.mlp.up_proj.weight";
  const [before, after] = [
    await plain.model.tensors.get(name)!.read(),
    await scaled.model.tensors.get(name)!.read(),
  ];
  before.forEach((value, i) => assertEquals(after[i], 2 * value));
  assert((await figures(lowbit, scaled.model)).kl < 1e-2);
});

Deno.test("learn: transforms that the manifest does not say, or that change the function", async () => {
  const cases = [[false, 2, "returns transforms, which"], [true, 1e-40, "transform"]] as const;
  for (const [says, factor, problem] of cases) {
    const recipe = recipeOf(["rtn", "scaling"]);
    await assertRejects(() => run(bench(scaling(says, factor)), recipe), LowbitError, problem);
  }
});

Deno.test("a host without autodiff refuses a learner before anything is written", async () => {
  using lowbit = bench();
  const checkpoint = await lowbit.open(UNTIED);
  const { kernels, codecs, plugins } = lowbit;
  const args = {
    ...{ checkpoint, kernels, codecs, plugins, calibration: WINDOWS },
    recipe: RECIPES.signround,
    target: lowbit.target(),
    output: memoryOutput("out"),
  };
  assertEquals(planRun(args).plan.conflicts, []);
  await assertRejects(() => quantizeModel(args), LowbitError, "this host has no autodiff");
  checkpoint.close();
});
