import { assertEquals, assertThrows } from "@std/assert";
import { LowbitError } from "../spec/mod.ts";
import { presetRecipe } from "./mod.ts";
import { overrideRecipe } from "./override.ts";

const base = presetRecipe("awq-gptq-w4g64");
const set = (path: string, value: unknown) => overrideRecipe(base, [{ path, value }]);

Deno.test("override: fields, indices, names of plugins, new fields, and taking away", () => {
  assertEquals(set("seed", 7).seed, 7);
  assertEquals(set("assign.0.weight", "nf4_b64").assign[0].weight, "nf4_b64");
  assertEquals(set("pipeline.1.options.damping", 0.2).pipeline[1].options.damping, 0.2);
  assertEquals(set("pipeline.gptq.options", { block: 64 }).pipeline[1].options, { block: 64 });
  assertEquals(set("calibration.seed", 3).calibration.seed, 3);
  assertEquals(set("assign.1", { select: ["head"], weight: "nf4_b64" }).assign.length, 2);
  assertEquals(set("calibration.samples", undefined).calibration.samples, 16);
  assertEquals(overrideRecipe(base, []), base);
  assertEquals(presetRecipe("awq-gptq-w4g64"), base, "the preset is as it was");
});

Deno.test("override: what is not there is refused, with what there is", () => {
  for (
    const [path, value, problem] of [
      ["sed", 1, 'unknown field; did you mean "seed"'],
      ["seed.x", 1, "seed: is nothing that can be set"],
      ["pipeline.rtn.options.x", 1, "there is awq, gptq"],
      ["assign.5.weight", "nf4_b64", "there is 0"],
      ["seed", -1, "seed"],
      ["__proto__.x", 1, "is nothing that can be set"],
      ["calibration.constructor", 1, "is nothing that can be set"],
      ["assign.0.select", ["/(/"], "regular expression"],
    ] as const
  ) {
    assertThrows(() => set(path, value), LowbitError, problem);
  }
  assertEquals(({} as { x?: unknown }).x, undefined);
});
