/** The methods of the surveys: every equation can be set, and what says that it runs here can run. */

import { assert, assertEquals } from "@std/assert";
import { methodsDocument, readMethods } from "../tools/methods.ts";
import { parseMath } from "../web/mathml.ts";
import { createWorkbench, parseRecipe, presetRecipe } from "../mod.ts";
import { ROOT } from "./process.ts";
import { read } from "./source_tree.ts";

const methods = readMethods(ROOT);

Deno.test("names of methods are their own, and every equation can be set", () => {
  assertEquals(new Set(methods.map(({ name }) => name)).size, methods.length);
  for (const { equation } of methods) equation.split(/(?<=,) {2}/).forEach(parseMath);
});

Deno.test("what lowbit has of them can be planned for the shipped model", async () => {
  using lowbit = await createWorkbench();
  const model = await lowbit.open("embedded");
  const runnable = methods.filter(({ recipe }) => recipe !== undefined);
  assert(runnable.length >= 25);
  for (const { name, recipe } of runnable) {
    const parsed = recipe!.includes(":") ? parseRecipe(recipe!, name) : presetRecipe(recipe!);
    const { conflicts } = lowbit.plan({ model, recipe: parsed });
    assertEquals(conflicts.filter(({ code }) => code !== "CALIBRATION"), [], name);
  }
  model.close();
});

Deno.test("docs/generated/methods.md is what the files say", () => {
  const path = "docs/generated/methods.md";
  assert(read(path) === methodsDocument(methods), "run `deno task methods`");
});
