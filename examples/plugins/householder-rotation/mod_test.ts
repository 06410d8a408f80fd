import { testPlugin } from "@lowbit/lowbit/testing";
import { createWorkbench, memoryOutput, recipeSchema } from "@lowbit/lowbit";
import { householderRotation } from "./mod.ts";

Deno.test("householder-rotation holds the contract of plugins", async () => {
  await testPlugin(householderRotation);
});

Deno.test("householder-rotation: the shipped model is rotated and quantised", async () => {
  using lowbit = await createWorkbench({ plugins: [householderRotation] });
  const model = await lowbit.open("embedded");
  const recipe = recipeSchema.parse({
    name: "rotated",
    assign: [{ select: ["blocks.*"], weight: "int8_channel_sym" }],
    pipeline: [{ use: "householder-rotation" }, { use: "rtn" }],
  });
  const { receipt } = await lowbit.quantize({ model, recipe, out: memoryOutput() });
  model.close();
  // The engine proves that the function is unchanged; what is left is that it was applied.
  if (!JSON.stringify(receipt).includes("householder-rotation")) throw new Error("not applied");
});
