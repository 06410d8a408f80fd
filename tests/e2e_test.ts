/** End to end on the embedded model: recipes, targets and threads, judged by the model itself. */

import { assert, assertEquals, assertGreater, assertLess } from "@std/assert";
import { embeddedPath } from "../embedded/mod.ts";
import { memoryOutput } from "../formats/containers/output.ts";
import { memorySource } from "../formats/containers/source.ts";
import { presetRecipe } from "../recipes/mod.ts";
import { type Checkpoint, type Recipe, recipeSchema } from "../spec/mod.ts";
import { createWorkbench, type Workbench } from "../workbench.ts";

const lowbit = await createWorkbench({ threads: 2 });
const source = await lowbit.open("embedded");
const text = await Deno.readTextFile(embeddedPath("evaluation.txt"));
const windows = lowbit.windows(source, text, { length: 256, count: 6 });
const reference = await lowbit.stream(source, windows);

/** Quantises the embedded model in memory and opens the result. */
async function quantised(
  recipe: string | Recipe,
  to?: string,
  bench: Workbench = lowbit,
  calibration?: Int32Array[],
): Promise<{ model: Checkpoint; bytes: Uint8Array; bits: number }> {
  const out = memoryOutput("out");
  const { plan } = await bench.quantize({ model: source, recipe, to, out, calibration });
  const files = [...out.files];
  const model = await bench.open(files.map(([name, bytes]) => memorySource(name, bytes)));
  const weights = files.find(([name]) => /safetensors$|gguf$/.test(name)) ?? files[0];
  return { model, bytes: weights[1], bits: plan.bits_per_weight };
}

/** The figures of a model beside the embedded one. */
async function figures(model: Checkpoint): Promise<Record<string, number>> {
  const result = await lowbit.evaluate({ model, windows, reference });
  model.close();
  return result;
}

const kl = async (recipe: string) => (await figures((await quantised(recipe)).model)).kl;

Deno.test("the embedded model predicts well, and 8 bits hardly change it", async () => {
  const model = await lowbit.open("embedded");
  const { perplexity, kl, top1_agreement } = await figures(model);
  assert(perplexity > 5 && perplexity < 120, String(perplexity));
  assertEquals([kl, top1_agreement], [0, 1]);
  const { model: eight, bits } = await quantised("rtn-w8");
  const scored = await figures(eight);
  assert(bits > 8 && bits < 11, String(bits));
  assertLess(scored.kl, 0.01);
  assertLess(Math.abs(scored.perplexity / perplexity - 1), 0.01);
  assertGreater(scored.top1_agreement, 0.95);
});

Deno.test("fewer bits and larger groups lose more; searched ranges lose less", async () => {
  const [w8, w4g32, w4g128, w3g64, w2g64] = [
    await kl("rtn-w8"),
    await kl("rtn-w4g32"),
    await kl("rtn-w4g128"),
    await kl("rtn-w3g64"),
    await kl("rtn-w2g64"),
  ];
  assert(w8 < w4g32 && w4g32 < w4g128 && w4g128 < w3g64 && w3g64 < w2g64);
  assertLess(await kl("rtn-mse-w3g64"), w3g64);
  for (const recipe of ["nf4-g64", "mxfp4", "fp8"]) assertLess(await kl(recipe), w3g64);
});

Deno.test("gptq loses less than rounding to nearest", async () => {
  const [rounded, feedback] = [await kl("rtn-w3g64"), await kl("gptq-w3g64")];
  assertLess(feedback, 0.9 * rounded);
});

Deno.test("smoothquant: W8A8 stays close, and the inputs really are quantised", async () => {
  const smooth = await figures((await quantised("smoothquant-w8a8")).model);
  const plain = await figures((await quantised("rtn-w8a8")).model);
  const weights = await kl("rtn-w8");
  assertLess(smooth.kl, 0.05);
  assert(plain.kl > weights, "activations cost something");
  assertLess(smooth.kl, 2 * plain.kl);
});

/** A recipe of one scheme on the blocks. */
const nearest = (scheme: unknown): Recipe =>
  recipeSchema.parse({
    name: "one-scheme",
    assign: [{ select: ["blocks.*"], weight: scheme }],
    pipeline: [{ use: "rtn" }],
  });

Deno.test("targets that hold the same grid give the same figures", async () => {
  const cases: [recipe: Recipe, target: string][] = [
    [presetRecipe("ggml-q8_0"), "gguf"],
    [presetRecipe("ggml-q4_0"), "gguf"],
    [nearest("q4_1"), "gguf"],
    [nearest("int4_g64_asym"), "compressed-tensors"],
    [nearest("int4_g128_sym"), "compressed-tensors"],
    [nearest("int8_channel_sym"), "compressed-tensors"],
  ];
  for (const [recipe, target] of cases) {
    const own = await figures((await quantised(recipe)).model);
    const other = await quantised(recipe, target);
    assertEquals(other.model.kind, target);
    assertEquals(await figures(other.model), own, `${JSON.stringify(recipe.assign)} to ${target}`);
  }
});

Deno.test("text made by a packed model is text", async () => {
  const { model } = await quantised("rtn-w4g64");
  let made = "";
  for await (const piece of lowbit.generate({ model, prompt: "And the king said", tokens: 12 })) {
    made += piece;
  }
  model.close();
  assert(made.length > 12 && /^[\x20-\x7e\n]+$/.test(made), JSON.stringify(made));
});

Deno.test("the same bytes for 1, 2, 3 and 5 threads", async () => {
  const calibration = windows.slice(0, 3);
  const outputs: Uint8Array[] = [];
  for (const threads of [1, 2, 3, 5]) {
    using bench = await createWorkbench({ threads });
    assertEquals(bench.kernels.threads, threads);
    const { model, bytes } = await quantised("gptq-w4g128", undefined, bench, calibration);
    model.close();
    outputs.push(bytes);
  }
  for (const bytes of outputs.slice(1)) assert(bytes.every((byte, i) => byte === outputs[0][i]));
});

Deno.test("everything is given back at the end", () => {
  reference.free();
  source.close();
  lowbit.close();
});
