/**
 * Every model family on a tiny random checkpoint: logits and greedy text equal those that
 * transformers computed (tools/golden/architectures.py).
 */

import { assert, assertEquals, assertLess, assertMatch, assertRejects } from "@std/assert";
import { openCheckpoint } from "../formats/open.ts";
import { loadKernels } from "../kernels-wasm/mod.ts";
import { EncoderModel, LanguageModel, openModel } from "../models/mod.ts";
import { type Checkpoint, LowbitError } from "../spec/mod.ts";
import { bench, figures, recipeOf, run } from "./engine_bench.ts";
import { collect, largestDifference } from "./models_bench.ts";

interface Golden {
  ids: number[];
  patches?: number[];
  rows?: number;
  output?: number[];
  logits?: number[][];
  generated: number[];
}

const FOLDER = `${import.meta.dirname}/golden/architectures`;
const kernels = await loadKernels();
const golden = (name: string): Golden =>
  JSON.parse(Deno.readTextFileSync(`${FOLDER}/${name}/expected.json`));
const names = [...Deno.readDirSync(FOLDER)].map(({ name }) => name).sort();
const causal = names.filter((name) => golden(name).logits);

for (const name of causal) {
  Deno.test(`logits and text of ${name} equal transformers`, async () => {
    const { ids, logits, generated } = golden(name);
    const checkpoint = await openCheckpoint(`${FOLDER}/${name}`);
    try {
      const graph = openModel(checkpoint);
      using model = await LanguageModel.load({ model: graph, kernels });
      using all = await model.logits(ids);
      assertLess(largestDifference(all.array, logits!), 1e-3);
      using cache = model.cache();
      for (const [i, id] of ids.entries()) {
        using step = await model.logits([id], { cache });
        assertLess(largestDifference(step.array, [logits![i]]), 1e-3);
      }
      const made = model.generate({ prompt: ids.slice(0, 4), tokens: generated.length });
      assertEquals(await collect(made), generated);
    } finally {
      checkpoint.close();
    }
  });
}

for (const name of causal) {
  for (const plugin of ["rtn", "gptq"]) {
    Deno.test(`${name} quantised by ${plugin} to 8 bits is nearly the same model`, async () => {
      using lowbit = bench();
      const from = `${FOLDER}/${name}`;
      using result = await run(lowbit, recipeOf([plugin]), { from });
      const coded = [...result.model.tensors.values()].filter((t) => t.storage.kind === "coded");
      assert(coded.length >= 8);
      const { kl } = await figures(lowbit, result.model, from);
      assertLess(kl, 0.02);
    });
  }
}

for (const name of names.filter((name) => golden(name).output)) {
  Deno.test(`the output of ${name} equals transformers, and nearly so in 8 bits`, async () => {
    const { ids, patches, rows, output } = golden(name);
    const input = patches ? { patches: Float32Array.from(patches), rows: rows! } : { ids };
    const encode = async (checkpoint: Checkpoint) => {
      using model = await EncoderModel.load({ model: openModel(checkpoint), kernels });
      using made = await model.encode(input);
      return largestDifference(made.array, [output!]);
    };
    using lowbit = bench();
    const from = `${FOLDER}/${name}`;
    const checkpoint = await lowbit.open(from);
    try {
      assertLess(await encode(checkpoint), 1e-4);
      await assertRejects(
        () => LanguageModel.load({ model: openModel(checkpoint), kernels }),
        LowbitError,
        "predicts no tokens",
      );
    } finally {
      checkpoint.close();
    }
    for (const plugin of patches ? ["rtn"] : ["rtn", "gptq"]) {
      const calibration = patches ? [Int32Array.of(1, 2)] : undefined;
      using result = await run(lowbit, recipeOf([plugin]), { from, calibration });
      assertLess(await encode(result.model), 0.05 * Math.max(...output!.map(Math.abs)));
    }
  });
}

/** Plugins that change the function of no model, and the families that they are refused for. */
const TRANSFORMS: [pipeline: string[], refused: RegExp, why: RegExp][] = [
  [["smoothquant", "rtn"], /^$/, /^$/],
  [["awq", "rtn"], /^$/, /^$/],
  [["os-plus", "rtn"], /^$/, /^$/],
  [
    ["quarot", "rtn"],
    /^(bloom|falcon|gpt|opt|olmo$|olmo2|gemma2|gemma3|qwen2-moe|smollm3)/,
    /subtracts a mean as well|is no linear's output|cannot be undone in rope/,
  ],
  [
    ["rtn", "bias-correction"],
    /^(mixtral|olmoe|qwen.-moe|deepseek)/,
    /has no bias inside an expert/,
  ],
];

for (const [pipeline, refused, why] of TRANSFORMS) {
  Deno.test(`${pipeline.join(", ")} on every family: the same function, or a reason`, async () => {
    using lowbit = bench();
    for (const name of causal) {
      const from = `${FOLDER}/${name}`;
      const work = () => run(lowbit, recipeOf(pipeline), { from });
      if (refused.test(name)) {
        const error = await assertRejects(work, LowbitError);
        assertMatch(error.message, why);
        continue;
      }
      using result = await work();
      assertLess((await figures(lowbit, result.model, from)).kl, 0.02, name);
    }
  });
}

for (const name of causal.filter((name) => !/moe|mixtral|deepseek|^opt|^bloom|-rw$/.test(name))) {
  const lost = { qwen2: "the kinds of blocks", gemma2: "query_scale" }[name];
  Deno.test(`${name} as GGUF ${lost ? "is refused" : "and back is the same model"}`, async () => {
    using lowbit = bench();
    const recipe = recipeOf(["rtn"], {
      assign: [{ select: ["blocks.0.attention.output"], weight: "q8_0" }],
    });
    const from = `${FOLDER}/${name}`;
    const work = () => run(lowbit, recipe, { from, to: "gguf" });
    if (lost) return void await assertRejects(work, LowbitError, `has no place for ${lost}`);
    using result = await work();
    assertLess((await figures(lowbit, result.model, from)).kl, 0.005);
  });
}
