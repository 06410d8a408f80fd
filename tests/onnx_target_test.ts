/** The target "onnx": what is written reads back as the weights of our own dialect. */

import { assert, assertEquals } from "@std/assert";
import { embeddedPath } from "../embedded/mod.ts";
import { openModel } from "../models/architecture.ts";
import { parameterTensor } from "../models/weights.ts";
import { bench, recipeOf, run } from "./engine_bench.ts";

for (const weight of ["int8_channel_sym", "int4_g64_asym", "int4_g64_sym"]) {
  Deno.test(`onnx: ${weight} reads back as in our own dialect`, async () => {
    const from = embeddedPath("model");
    using lowbit = bench();
    const recipe = recipeOf(["rtn"], { assign: [{ select: ["blocks.*"], weight }] });
    using own = await run(lowbit, recipe, { from });
    using onnx = await run(lowbit, recipe, { from, to: "onnx" });
    assertEquals(onnx.model.kind, "onnx");
    const [a, b] = [openModel(own.model), openModel(onnx.model)];
    let coded = 0;
    for (const { id } of a.parameters) {
      const [x, y] = [parameterTensor(a, id), parameterTensor(b, id)];
      assertEquals(await y.read(), await x.read(), id);
      if (y.storage.kind === "coded") coded++;
    }
    assert(coded > 0);
  });
}
