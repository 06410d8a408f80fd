/** Presets: every method has one, and every one is shown, complete and can be overridden. */

import { assert, assertEquals } from "@std/assert";
import { PLUGINS } from "../plugins/mod.ts";
import { presetRecipes } from "../recipes/mod.ts";
import { NONE, runCli, runJson } from "./process.ts";
import { UNTIED } from "./temporary.ts";

/** Plugins that no recipe of weights names: caches and figures are named by other options. */
const elsewhere = (hooks: object) => "cache" in hooks || "evaluate" in hooks;

Deno.test("presets: every method that a recipe can name has a preset", () => {
  const used = new Set(
    [...presetRecipes().values()].flatMap(({ pipeline }) => pipeline.map(({ use }) => use)),
  );
  const missing = PLUGINS.filter((plugin) => !elsewhere(plugin) && !used.has(plugin.meta.name));
  assertEquals(missing.map(({ meta }) => meta.name), []);
});

Deno.test("presets: show prints every one, and schema what a recipe may hold", async () => {
  const list = await runJson(["recipes"], NONE);
  const names = [...presetRecipes().keys()];
  assertEquals(list.map(({ name }: { name: string }) => name).sort(), names.sort());
  for (const name of ["gptq-w4g64", "hawq-gptq", names.at(-1)!]) {
    assertEquals((await runJson(["recipes", "show", name], NONE)).name, name);
  }
  const printed = await runCli(["recipes", "schema"], NONE);
  assertEquals(printed.code, 0, printed.stderr);
  const schema = JSON.parse(printed.stdout);
  assert("assign" in schema.properties && "pipeline" in schema.properties);
});

Deno.test("presets: --set overrides a value, and targets are chosen by role", async () => {
  const plan = (...more: string[]) =>
    runJson(["quantize", UNTIED, "out", "--recipe", "rtn-w4g32", "--dry-run", ...more], [
      "--allow-read",
    ]);
  const schemes = ({ tensors }: { tensors: { name: string; scheme: string }[] }, part: string) =>
    new Set(tensors.filter(({ name }) => name.includes(part)).map(({ scheme }) => scheme));
  const before = await plan();
  const after = await plan("--set", "assign.0.select=['*.attention.*','*.mlp.down']");
  assertEquals(schemes(before, "gate_proj"), schemes(before, "q_proj"));
  assertEquals(schemes(after, "q_proj"), schemes(before, "q_proj"));
  assertEquals(schemes(after, "down_proj"), schemes(before, "down_proj"));
  assert(![...schemes(after, "gate_proj")].some((scheme) => scheme.startsWith("int4")));
  const wrong = await runCli([
    "quantize",
    UNTIED,
    "out",
    "--recipe",
    "rtn-w4g32",
    "--set",
    "nothing=1",
  ]);
  assert(wrong.code !== 0 && /nothing/.test(wrong.stderr), wrong.stderr);
});
