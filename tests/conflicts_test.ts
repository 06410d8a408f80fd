/** What does not fit together: found from headers alone, all of it at once. */

import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { LowbitError, type Plugin, type SchemeReference } from "../spec/mod.ts";
import { bench, recipeOf, run, testPlugin, WINDOWS } from "./engine_bench.ts";
import { UNTIED } from "./temporary.ts";

/** Rounds to nearest. */
const nearest: Plugin = testPlugin("nearest", {
  quantize: ({ weight, linear, codec }) => codec.quantize(weight, linear.rows, linear.columns),
});

Deno.test("conflicts: all of them at once, before anything is read", async () => {
  const greedy = testPlugin("greedy", { quantize: nearest.quantize }, {
    conflicts: ["rtn"],
    after: ["last"],
  });
  const last = testPlugin("last", { transform: () => [] });
  using lowbit = bench(greedy, last);
  const model = await lowbit.open(UNTIED);
  const recipe = recipeOf(["greedy", "gptq", "rtn", "smoothquant", "last"], {
    assign: [
      { select: ["blocks.*"], weight: "int8_channel_sym" },
      { select: ["*.mlp.up"], weight: "q4_1", activation: "int8_channel_sym" },
      {
        select: ["*.mlp.down"],
        weight: { base: "q4_0", granularity: { kind: "group", size: 16 } },
      },
      { select: ["blocks.7.*"], weight: "mxfp4" },
    ],
  });
  const { conflicts } = lowbit.plan({ model, recipe, maxMemory: 1 });
  const codes = new Set(conflicts.map(({ code }) => code));
  assertEquals([...codes].sort(), [
    "CALIBRATION",
    "CLAIM",
    "EXCLUSIVE",
    "GRANULARITY",
    "MEMORY",
    "ORDER",
    "SELECT",
    "SUPPORT",
    "TAIL",
  ]);
  const has = (code: string, where: string, problem: string) =>
    assert(
      conflicts.some((c) => c.code === code && c.where === where && c.problem.includes(problem)),
      JSON.stringify(conflicts.filter((c) => c.code === code), null, 1),
    );
  has("CLAIM", "blocks.0.attention.query", "is claimed by greedy and gptq and rtn");
  has("ORDER", "pipeline.0", "greedy must come after last");
  has("ORDER", "pipeline.1", "gptq must come after smoothquant");
  has("EXCLUSIVE", "pipeline.0", "greedy cannot be combined with rtn");
  has("SELECT", "assign.3.select", '"blocks.7.*" matches no linear');
  has("SUPPORT", "blocks.0.mlp.up", "gptq does not support zero points of the kind minimum");
  has("TAIL", "blocks.0.mlp.down (weight)", "24 input channels are not a multiple of 16");
  has("GRANULARITY", "blocks.0.mlp.up (activation)", "channel is not a granularity of activations");
  model.close();
});

Deno.test("two quantisers are fine where each has its own weights", async () => {
  using lowbit = bench(nearest);
  const recipe = {
    ...recipeOf(["rtn"]),
    pipeline: [
      { use: "rtn", options: {}, select: ["attention.*"] },
      { use: "nearest", options: {}, select: ["mlp.*"] },
    ],
  };
  using result = await run(lowbit, recipe);
  const plugins = result.receipt.tensors.map(({ name, plugin }) =>
    plugin && `${/self_attn|mlp/.exec(name)![0]} ${plugin}`
  );
  assertEquals([...new Set(plugins.filter(Boolean))].sort(), ["mlp nearest", "self_attn rtn"]);
});

Deno.test("a plugin of another version of the contract says which side to update", async () => {
  for (const [apiVersion, advice] of [[0, "update the plugin"], [2, "update lowbit"]] as const) {
    const other = testPlugin("other", { quantize: nearest.quantize }, { apiVersion });
    const error = await assertRejects(
      () => run(bench(other), recipeOf(["other"])),
      LowbitError,
      `other: is written for version ${apiVersion} of the plugin interface, this is version 1; ${advice}`,
    );
    assertEquals(error.code, "PLUGIN");
  }
});

Deno.test("a plugin cannot take the name of a shipped one", () => {
  const error = assertThrows(
    () => bench(testPlugin("rtn", { quantize: nearest.quantize })),
    LowbitError,
  );
  assertStringIncludes(error.message, "rtn: has the name of another plugin");
});

Deno.test("conflicts: static scales of tensors run, of anything else they are refused", async () => {
  using lowbit = bench();
  const model = await lowbit.open(UNTIED);
  const plan = (activation: SchemeReference, select = "blocks.*", to = "lowbit") => {
    const assign = [{ select: [select], weight: "int8_channel_sym", activation }];
    const recipe = recipeOf(["rtn"], { assign });
    const { conflicts } = lowbit.plan({ model, recipe, to, calibration: WINDOWS });
    return [...new Set(conflicts.map(({ code }) => code))];
  };
  assertEquals(plan("int8_tensor_static"), []);
  assertEquals(plan("int8_tensor_static", "blocks.*", "compressed-tensors"), []);
  assertEquals(plan("int8_tensor_static", "blocks.*", "gguf"), ["TARGET"]);
  assertEquals(plan({ base: "int8_token", timing: "static" }), ["STATIC"]);
  assertEquals(plan({ base: "int8_tensor_entropy", timing: "static" }), ["STATIC"]);
  assertEquals(plan("int8_tensor_static", "head"), ["STATIC"]);
  assertEquals(plan("int8_cross"), []);
  model.close();
});
