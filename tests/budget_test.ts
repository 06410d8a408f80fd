/** Budgets: the integer program, plans within bits and bytes, and what is refused. */

import { assert, assertEquals, assertLessOrEqual, assertRejects } from "@std/assert";
import { leastLoss } from "../engine/integer_program.ts";
import { seededRng } from "../engine/rng.ts";
import { LowbitError, PLUGIN_API_VERSION } from "../spec/mod.ts";
import { presetRecipe } from "../recipes/mod.ts";
import { bench, recipeOf, run, WINDOWS } from "./engine_bench.ts";
import { runCli } from "./process.ts";
import { temporary, UNTIED } from "./temporary.ts";

Deno.test("the integer program finds what trying everything finds", async () => {
  const rng = seededRng("program");
  for (let trial = 0; trial < 5; trial++) {
    const weights = Array.from({ length: 5 }, () => ({
      costs: [2, 3, 4].map((bits) => bits * (1 + Math.floor(100 * rng.uniform()))),
      losses: [1, 1e-2, 1e-4].map((loss) => loss * rng.uniform()),
    }));
    const budget = weights.reduce((sum, { costs }) => sum + costs[1], 0);
    const [picks] = await leastLoss(weights, [budget]);
    const total = (of: "costs" | "losses", picks: readonly number[]) =>
      picks.reduce((sum, k, i) => sum + weights[i][of][k], 0);
    let best = Infinity;
    for (let code = 0; code < 3 ** 5; code++) {
      const all = weights.map((_, i) => Math.floor(code / 3 ** i) % 3);
      if (total("costs", all) <= budget) best = Math.min(best, total("losses", all));
    }
    assertLessOrEqual(total("costs", picks!), budget);
    assertLessOrEqual(total("losses", picks!), best * (1 + 1e-9));
  }
  assertEquals(await leastLoss([{ costs: [5, 6], losses: [1, 0] }], [4]), [undefined]);
});

const budgeted = (budget: { bits?: number; bytes?: number }, planner = "sensitivity") =>
  recipeOf([planner, "rtn"], {
    budget: {
      schemes: [2, 4, 8].map((bits) => ({ base: "int8_channel_asym", element: `uint${bits}` })),
      ...budget,
    },
  });

for (const planner of ["sensitivity", "hawq"]) {
  Deno.test(`${planner}: a plan within bits, its front monotone, written out as a recipe`, async () => {
    using lowbit = bench();
    const model = await lowbit.open(UNTIED);
    // A small model: its channels are short, so that scales and zeros weigh.
    const recipe = budgeted({ bits: 9 }, planner);
    const plan = await lowbit.planBudget({ model, recipe, calibration: WINDOWS });
    assertLessOrEqual(plan.chosen.bits, 9);
    assertEquals(plan.recipe.budget, undefined);
    assertEquals(plan.recipe.pipeline.map(({ use }) => use), ["rtn"]);
    assertEquals(plan.weights.length, 14);
    for (let i = 1; i < plan.front.length; i++) {
      assert(plan.front[i].bytes > plan.front[i - 1].bytes);
      assert(plan.front[i].loss < plan.front[i - 1].loss);
    }
    using result = await run(lowbit, recipe);
    const reported = result.receipt.tensors.filter(({ plugin }) => plugin);
    assertEquals(
      reported.map(({ bytes }) => bytes).reduce((a, b) => a + b),
      plan.weights
        .map(({ bytes }) => bytes).reduce((a, b) => a + b),
    );
    model.close();
  });
}

Deno.test("a plan within bytes: the files are no larger", async () => {
  using lowbit = bench();
  const model = await lowbit.open(UNTIED);
  const free = await lowbit.planBudget({
    model,
    recipe: budgeted({ bits: 64 }),
    calibration: WINDOWS,
  });
  const bytes = free.chosen.bytes + 18000;
  using result = await run(lowbit, budgeted({ bytes }));
  const weights = [...result.files].filter(([name]) => name.endsWith(".safetensors"));
  assertLessOrEqual(weights.reduce((sum, [, file]) => sum + file.length, 0), bytes);
  await assertRejects(
    () => lowbit.planBudget({ model, recipe: budgeted({ bytes: 1000 }), calibration: WINDOWS }),
    LowbitError,
    "the smallest plan has ",
  );
  await assertRejects(
    () => lowbit.planBudget({ model, recipe: presetRecipe("rtn-w4g64"), calibration: WINDOWS }),
    LowbitError,
    "has no budget",
  );
  model.close();
});

Deno.test("budget: losses are predicted once in a run of the command line", async () => {
  using folder = temporary();
  const plugin = folder.text(
    "planner.ts",
    `export const planner = {
  meta: {
    name: "planner", version: "1.0.0", apiVersion: ${PLUGIN_API_VERSION}, summary: "counts its calls",
    needs: { statistics: [] }, supports: {}, determinism: "exact",
  },
  options: { kind: "options", parse: () => ({}), jsonSchema: () => ({ type: "object" }) },
  planLosses({ model }) {
    console.error("PLANNED");
    return new Map(model.planned.map(({ id }) => [id, model.candidates.map((_, i) => 3 - i)]));
  },
};`,
  );
  const recipe = folder.text(
    "recipe.yaml",
    "name: r\nassign: [{ select: ['blocks.*'], weight: int8_channel_asym }]\n" +
      "pipeline: [{ use: planner }, { use: rtn }]\nbudget: { bits: 9, schemes: [" +
      "{ base: int8_channel_asym, element: uint4 }, int8_channel_asym] }\n",
  );
  const ids = folder.text("ids.json", JSON.stringify(WINDOWS.map((window) => [...window])));
  const { code, stderr } = await runCli([
    ...["quantize", UNTIED, folder.at("out"), "--recipe", recipe, "--plugin", plugin],
    ...["--calibration", ids],
  ]);
  assertEquals(code, 0, stderr);
  assertEquals(stderr.match(/^PLANNED$/gm)?.length, 1);
});
