/** The engine end to end on a tiny model: what runs write, and what they promise about it. */

import { assert, assertEquals, assertLess, assertRejects } from "@std/assert";
import { checkpointLinears, quantizedExecutor } from "../engine/executor.ts";
import { score, StreamedModel } from "../models/evaluate.ts";
import { openModel } from "../models/architecture.ts";
import { memoryOutput } from "../formats/containers/output.ts";
import { perplexity } from "../plugins/mod.ts";
import { presetRecipe } from "../recipes/mod.ts";
import { LowbitError, type PluginContext, type RunEvent } from "../spec/mod.ts";
import { createWorkbench, Workbench } from "../workbench.ts";
import { bench, figures, recipeOf, run, testPlugin, WINDOWS } from "./engine_bench.ts";
import { temporary, TIED, UNTIED } from "./temporary.ts";

async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", bytes);
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** JSON with sorted keys, written once more to check what the receipt hashes. */
function sorted(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(sorted).join(",")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const entries = Object.entries(value).filter(([, item]) => item !== undefined);
  return `{${
    entries.sort(([a], [b]) => a < b ? -1 : 1).map(([key, item]) =>
      `${JSON.stringify(key)}:${sorted(item)}`
    ).join(",")
  }}`;
}

Deno.test("the receipt: hashes of what was read and written, the recipe, every tensor", async () => {
  using lowbit = bench();
  const recipe = presetRecipe("gptq-w4g32");
  using result = await run(lowbit, recipe);
  const { receipt, files, plan } = result;
  for (const { name, bytes, sha256: hash } of receipt.model.files) {
    const file = Deno.readFileSync(`${UNTIED}/${name}`);
    assertEquals([bytes, hash], [file.length, await sha256(file)], name);
  }
  assertEquals(receipt.model.files.map(({ name }) => name).sort(), [
    "config.json",
    "model.safetensors",
  ]);
  assertEquals(receipt.output.map(({ name }) => name), ["config.json", "model.safetensors"]);
  for (const { name, bytes, sha256: hash } of receipt.output) {
    assertEquals([bytes, hash], [files.get(name)!.length, await sha256(files.get(name)!)], name);
  }
  const text = new TextEncoder().encode(sorted(recipe));
  assertEquals(receipt.recipe, {
    name: "gptq-w4g32",
    sha256: await sha256(text),
    document: recipe,
  });
  const tokens = new Uint8Array(
    Int32Array.from(WINDOWS.flatMap((window) => [window.length, ...window])).buffer,
  );
  assertEquals(receipt.calibration, { windows: 3, tokens: 72, sha256: await sha256(tokens) });
  assertEquals(receipt.plugins, [{ name: "gptq", version: "1.0.0", api: 1 }]);
  assertEquals([receipt.seed, receipt.target, receipt.warnings], [0, "lowbit", []]);
  const { tensors } = receipt;
  assertEquals(tensors.map(({ error: _, ...tensor }) => tensor), plan.tensors);
  assert(tensors.every(({ plugin, error }) => (plugin === undefined) === (error === undefined)));
  assertEquals(JSON.parse(new TextDecoder().decode(files.get("receipt.json")!)), receipt);
});

Deno.test("the plan knows the bytes of the output before anything is read", async () => {
  using lowbit = bench();
  for (const recipe of ["rtn-w8", "rtn-w4g32", "nf4-g64", "rtn-w3g32", "mxfp4"]) {
    using result = await run(lowbit, recipe);
    const file = result.files.get("model.safetensors")!;
    const header = Number(new DataView(file.buffer).getBigUint64(0, true));
    assertEquals(result.plan.bytes, file.length - 8 - header, recipe);
    const elements = [...result.model.tensors.values()]
      .reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);
    assertEquals(result.plan.bits_per_weight, 8 * result.plan.bytes / elements, recipe);
  }
});

Deno.test("two runs, and any number of threads, give the same bytes", async () => {
  const recipe = recipeOf(["smoothquant", "gptq"], {
    assign: [{ select: ["blocks.*"], weight: "int4_channel_asym", activation: "int8_token" }],
  });
  const outputs: string[] = [];
  for (const threads of [1, 1, 2, 3, 5]) {
    using lowbit = await createWorkbench({ threads });
    using result = await run(lowbit, recipe);
    const { kernels: _, ...receipt } = result.receipt;
    outputs.push(JSON.stringify(receipt));
  }
  assertEquals(new Set(outputs).size, 1);
});

Deno.test("a model that was saved and opened scores as its codes in memory do", async () => {
  using lowbit = bench();
  const { kernels, codecs } = lowbit;
  using result = await run(lowbit, "rtn-w4g32");
  const source = await lowbit.open(UNTIED);
  const model = openModel(source);
  const scheme = codecs.resolve(presetRecipe("rtn-w4g32").assign[0].weight!);
  const nll = async (linears: Parameters<typeof StreamedModel.run>[0]["linears"]) => {
    using streamed = await StreamedModel.run({ model, kernels, windows: WINDOWS, linears });
    const evaluator = perplexity.evaluate!({ context: { kernels } as PluginContext<never> });
    score(streamed, [evaluator]);
    return evaluator.result().nll;
  };
  const dense = checkpointLinears(kernels, codecs, source);
  const inMemory = await nll(async (linear, tensor) => {
    if (linear.block === undefined) return await dense(linear, tensor);
    const { rows, columns } = linear;
    const quantized = codecs.get(scheme).quantize(await tensor.read(), rows, columns);
    return quantizedExecutor(kernels, codecs, quantized);
  });
  assertEquals((await figures(lowbit, result.model)).nll, inMemory);
  assert(inMemory !== await nll(dense));
  source.close();
});

Deno.test("inputs in 8 bits change a packed model a little, and a full one not at all", async () => {
  using lowbit = bench();
  using result = await run(lowbit, "rtn-w4g32");
  const model = result.model;
  const windows = WINDOWS;
  const kl = (checkpoint: typeof model) =>
    lowbit.evaluate({ model: checkpoint, windows, reference: checkpoint, activations: "int8" });
  const { kl: change } = await kl(model);
  assert(change > 0 && change < 5e-3, `KL ${change}`);
  const source = await lowbit.open(UNTIED);
  assertEquals((await kl(source)).kl, 0);
  source.close();
});

Deno.test("dialects that hold the same grid hold the same model", async () => {
  using lowbit = bench();
  const recipe = recipeOf(["rtn"], {
    assign: [{ select: ["blocks.*"], weight: "int4_channel_sym" }],
  });
  using own = await run(lowbit, recipe);
  using packed = await run(lowbit, recipe, { to: "compressed-tensors" });
  assertEquals(packed.model.kind, "compressed-tensors");
  for (const [name, tensor] of own.model.tensors) {
    assertEquals(await packed.model.tensors.get(name)!.read(), await tensor.read(), name);
  }
  assertEquals(await figures(lowbit, packed.model), await figures(lowbit, own.model));
});

Deno.test("quantising a quantised model again by the same grid changes nothing", async () => {
  using lowbit = bench();
  using folder = temporary();
  const once = folder.at("once");
  const source = await lowbit.open(UNTIED);
  await lowbit.quantize({ model: source, recipe: "rtn-w8", out: once });
  source.close();
  using twice = await run(lowbit, "rtn-w8", { from: once });
  const first = await lowbit.open(once);
  for (const [name, tensor] of first.tensors) {
    assertEquals(await twice.model.tensors.get(name)!.read(), await tensor.read(), name);
  }
  first.close();
});

Deno.test("keep: how tensors without a scheme are stored", async () => {
  using lowbit = bench();
  for (const keep of ["source", "float32", "float16", "bfloat16"]) {
    using result = await run(lowbit, recipeOf(["rtn"], { keep }));
    const types = [...result.model.tensors.values()]
      .filter(({ storage }) => storage.kind === "plain")
      .map(({ name, storage }) => [name, storage.kind === "plain" && storage.type]);
    assertEquals(types.length, 2 * 2 + 3);
    for (const [name, type] of types) {
      const norm = /norm/.test(String(name));
      assertEquals(type, keep === "source" || norm ? "float32" : keep, `${keep}: ${name}`);
    }
    assertLess((await figures(lowbit, result.model)).kl, keep === "bfloat16" ? 1e-2 : 1e-3);
  }
});

Deno.test("a tied head stays tied, and a scheme of its own is refused", async () => {
  using lowbit = bench();
  using result = await run(lowbit, "rtn-w8", { from: TIED });
  assert(!result.model.tensors.has("lm_head.weight"));
  assertLess((await figures(lowbit, result.model, TIED)).kl, 1e-2);
  const recipe = recipeOf(["rtn"], { assign: [{ select: ["head"], weight: "int8_channel_sym" }] });
  const error = await assertRejects(
    () => run(lowbit, recipe, { from: TIED }),
    LowbitError,
    "so it cannot have a scheme of its own",
  );
  assertEquals([error.code, error.field], ["CONFLICT", "head"]);
  using untied = await run(lowbit, recipe);
  assertEquals(untied.model.tensors.get("lm_head.weight")!.storage.kind, "coded");
});

Deno.test("propagate: the next block sees the original block, or the quantised one", async () => {
  const seen: Record<string, number[]> = {};
  for (const propagate of ["original", "quantized"]) {
    const sums: number[] = seen[propagate] = [];
    const watch = testPlugin("watch", {
      collect: ({ linear }) => {
        let sum = 0;
        return {
          add: (x) => x.array.forEach((value) => sum += Math.abs(value)),
          merge() {},
          value: () => sums[linear.block!] = sum,
        };
      },
    });
    using lowbit = bench(watch);
    const recipe = recipeOf(["watch", "rtn"], {
      propagate,
      assign: [{ select: ["blocks.*"], weight: { base: "int4_channel_sym", element: "int2" } }],
    });
    (await run(lowbit, recipe)).model.close();
  }
  assertEquals(seen.original[0], seen.quantized[0]);
  assert(Math.abs(seen.original[1] - seen.quantized[1]) > 1e-3 * seen.original[1]);
});

Deno.test("events: stages count up, every tensor is reported, warnings reach the receipt", async () => {
  const events: RunEvent[] = [];
  const loud = testPlugin("loud", {
    plan({ context }) {
      context.warn("look here");
      return new Map();
    },
  });
  using one = bench();
  using lowbit = new Workbench(one.kernels, {
    plugins: [loud],
    onEvent: (event) => events.push(event),
  });
  using result = await run(lowbit, recipeOf(["loud", "gptq"]));
  assertEquals(result.receipt.warnings, ["loud: look here"]);
  assert(events.some((e) => e.event === "warning" && e.message === "loud: look here"));
  const reports = events.flatMap((event) => event.event === "tensor" ? [event.report] : []);
  assertEquals(reports, result.receipt.tensors);
  const progress = (stage: string) =>
    events.flatMap((e) =>
      e.event === "progress" && e.stage === stage ? [`${e.done}/${e.total}`] : []
    );
  assertEquals(progress("quantize"), ["1/2", "2/2"]);
  assertEquals(progress("calibrate"), ["1/3", "2/3", "3/3", "1/3", "2/3", "3/3"]);
});

Deno.test("a run that is stopped leaves nothing, and gives its kernel memory back", async () => {
  using lowbit = bench();
  (await run(lowbit, "gptq-w4g32")).model.close();
  const before = lowbit.kernels.memory().bytes;
  const model = await lowbit.open(UNTIED);
  const out = memoryOutput("out");
  const controller = new AbortController();
  const stopping = new Workbench(lowbit.kernels, {
    onEvent: (event) => event.event === "tensor" && controller.abort(new Error("stopped")),
  });
  const { signal } = controller;
  const options = { model, recipe: "gptq-w4g32", out, calibration: WINDOWS, signal };
  await assertRejects(() => stopping.quantize(options), Error, "stopped");
  assertEquals([out.files.size, lowbit.kernels.memory().bytes], [0, before]);
  model.close();
});
