/**
 * GGUF with stacked experts: files made by gguf-py (tools/golden/gguf_experts.py) give the logits of
 * transformers, and what is written from a folder of transformers has their tensors.
 */

import { assert, assertEquals, assertLess, assertRejects } from "@std/assert";
import { openCheckpoint } from "../formats/open.ts";
import { loadKernels } from "../kernels-wasm/mod.ts";
import { LanguageModel, openModel, parameterTensor } from "../models/mod.ts";
import { LowbitError, type Target } from "../spec/mod.ts";
import { ggufTarget } from "../formats/dialects/gguf.ts";
import { resolveScheme } from "../formats/lookup.ts";
import { bench, recipeOf, run } from "./engine_bench.ts";
import { largestDifference } from "./models_bench.ts";
import { createWorkbench } from "../workbench.ts";

const FOLDER = `${import.meta.dirname}/golden/gguf_experts`;
const kernels = await loadKernels();
const golden: { ids: number[]; logits: Record<string, number[][]> } = JSON.parse(
  Deno.readTextFileSync(`${FOLDER}/expected.json`),
);
const names = Object.keys(golden.logits);

for (const name of names) {
  Deno.test(`logits of the experts of ${name} in GGUF equal transformers`, async () => {
    const checkpoint = await openCheckpoint(`${FOLDER}/${name}.gguf`, { kernels });
    try {
      using model = await LanguageModel.load({ model: openModel(checkpoint), kernels });
      using made = await model.logits(golden.ids);
      assertLess(largestDifference(made.array, golden.logits[name]), 1e-3);
    } finally {
      checkpoint.close();
    }
  });

  Deno.test(`codes of single experts of ${name} are those of the stack`, async () => {
    const checkpoint = await openCheckpoint(`${FOLDER}/${name}.gguf`, { kernels });
    try {
      const whole = checkpoint.tensors.get("blk.1.ffn_up_exps.weight")!;
      assertEquals(whole.storage.kind, "coded");
      const { codes } = await whole.quantized();
      const expert = parameterTensor(openModel(checkpoint), "blocks.1.mlp.experts.2.up");
      const own = await expert.quantized();
      const size = own.codes.length;
      assertEquals(own.codes, codes.slice(2 * size, 3 * size));
      const raw = await whole.raw(), rawSize = raw.length / 4;
      assertEquals(await expert.raw(), raw.slice(2 * rawSize, 3 * rawSize));
    } finally {
      checkpoint.close();
    }
  });

  Deno.test(`${name} of transformers becomes the tensors of gguf-py`, async () => {
    using lowbit = await createWorkbench();
    const dir = await Deno.makeTempDir();
    try {
      const to = `${dir}/model.gguf`;
      const from = await lowbit.open(`${FOLDER}/${name}`);
      await lowbit.convert({ checkpoint: from, to: "gguf", out: to });
      from.close();
      const [written, made] = await Promise.all([
        openCheckpoint(to, { kernels }),
        openCheckpoint(`${FOLDER}/${name}.gguf`, { kernels }),
      ]);
      assertEquals([...written.tensors.keys()].sort(), [...made.tensors.keys()].sort());
      for (const [key, tensor] of made.tensors) {
        const other = written.tensors.get(key)!;
        assertEquals(other.shape, tensor.shape, key);
        if (tensor.storage.kind === "plain") assertEquals(await other.read(), await tensor.read());
      }
      written.close();
      made.close();
    } finally {
      await Deno.remove(dir, { recursive: true });
    }
  });

  Deno.test(`experts of ${name} are quantised into GGUF`, async () => {
    using lowbit = bench();
    const recipe = recipeOf(["rtn"], {
      assign: [{
        select: ["blocks.*.mlp.experts.*.gate", "blocks.*.mlp.experts.*.up"],
        weight: "q8_0",
      }],
    });
    using result = await run(lowbit, recipe, { from: `${FOLDER}/${name}`, to: "gguf" });
    const written = result.model.tensors.get("blk.0.ffn_gate_exps.weight")!;
    assertEquals(written.shape.length, 3);
    assert(written.storage.kind === "coded");
    const made = await openCheckpoint(`${FOLDER}/${name}.gguf`, { kernels });
    const other = made.tensors.get("blk.0.ffn_gate_exps.weight")!;
    assertEquals(await written.raw(), await other.raw());
    made.close();
  });
}

Deno.test("experts of one tensor need one type and their order", async () => {
  const target: Target = ggufTarget();
  const base = { name: "blk.0.ffn_up_exps.weight", shape: [2, 32], linear: true };
  const coded = { kind: "coded" as const, scheme: resolveScheme("q8_0") };
  const plain = { kind: "plain" as const, type: "float32" as const };
  const part = (index: number) => ({ index, count: 2 });
  const problem = (tensors: Parameters<Target["conflicts"]>[0]) =>
    target.conflicts(tensors)[0]?.problem;
  assertEquals(
    problem([{ ...base, storage: coded, part: part(0) }, {
      ...base,
      storage: plain,
      part: part(1),
    }]),
    "blk.0.ffn_up_exps.weight is of one type for all experts, not of Q8_0 and F32",
  );
  assertEquals(
    problem([{ ...base, storage: plain, part: part(0) }]),
    "the matrices of blk.0.ffn_up_exps.weight do not come one after the other",
  );
  using lowbit = bench();
  const recipe = recipeOf(["rtn"], {
    assign: [{ select: ["blocks.*.mlp.experts.1.up"], weight: "q8_0" }],
  });
  await assertRejects(
    () => run(lowbit, recipe, { from: `${FOLDER}/mixtral`, to: "gguf" }),
    LowbitError,
    "is of one type for all experts",
  );
});
