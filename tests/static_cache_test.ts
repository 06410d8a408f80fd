/**
 * Static scales that checkpoints keep for caches: logits are those of compressed-tensors'
 * `fake_quantize` in the cache of transformers (tools/golden/cache_scales.py).
 */

import { assert, assertEquals, assertLess, assertRejects } from "@std/assert";
import { readCacheScales } from "../engine/cache_scales.ts";
import { openCache } from "../engine/cache.ts";
import { type Checkpoint, LowbitError } from "../spec/mod.ts";
import { createWorkbench } from "../workbench.ts";
import { openGolden } from "./golden.ts";
import { largestDifference } from "./models_bench.ts";
import { ROOT } from "./process.ts";
import { temporary } from "./temporary.ts";

const FOLDER = `${ROOT}/tests/golden/cache_scales`;
const golden = await openGolden("cache_scales/expected.safetensors");
const VOCABULARY = 96;

async function expected(name: string): Promise<{ ids: number[]; logits: number[][] }> {
  const logits = await golden.f32(`${name}/logits`);
  const ids = [...await golden.f32(`${name}/ids`)];
  const row = (i: number) => [...logits.slice(i * VOCABULARY, (i + 1) * VOCABULARY)];
  return { ids, logits: ids.map((_, i) => row(i)) };
}

for (const name of ["kv_fp8", "kv_int8"]) {
  Deno.test(`static8: logits of ${name} are those of compressed-tensors`, async () => {
    using lowbit = await createWorkbench();
    const checkpoint = await lowbit.open(`${FOLDER}/${name}`);
    const { ids, logits } = await expected(name);
    using model = await lowbit.load(checkpoint);
    const { plugins, kernels, codecs } = lowbit;
    const warnings: string[] = [];
    const onWarning = (message: string) => void warnings.push(message);
    const context = { plugins, kernels, codecs, checkpoint, onWarning };
    const choice = await openCache(context, { use: "static8" });
    using cache = model.cache(choice.policy);
    using all = await model.logits(ids, { cache });
    assertLess(largestDifference(all.array, logits), 1e-4);
    assertEquals(warnings, []);
    const scales = name === "kv_int8" ? 2 : 1;
    assertEquals(choice.bytes, 2 * 2 * (ids.length * 32 + 4 * scales));
    // Without the cache it is another model.
    using plain = await model.logits(ids);
    assert(largestDifference(plain.array, logits) > 1e-3);
    checkpoint.close();
  });
}

Deno.test("static8: one token at a time, and as evaluation runs it", async () => {
  using lowbit = await createWorkbench();
  const checkpoint = await lowbit.open(`${FOLDER}/kv_fp8`);
  const { ids, logits } = await expected("kv_fp8");
  const figures = await lowbit.evaluate({
    model: checkpoint,
    windows: [Int32Array.from(ids)],
    cache: { use: "static8" },
  });
  let nll = 0;
  for (let i = 0; i + 1 < ids.length; i++) {
    const sum = logits[i].reduce((total, logit) => total + Math.exp(logit), 0);
    nll += Math.log(sum) - logits[i][ids[i + 1]];
  }
  const perplexity = Math.exp(nll / (ids.length - 1));
  assertLess(Math.abs(figures.perplexity / perplexity - 1), 1e-5);
  checkpoint.close();
});

Deno.test("static8: a checkpoint without scales warns; another kind of cache is refused", async () => {
  using lowbit = await createWorkbench();
  const { plugins, kernels, codecs } = lowbit;
  const plain = await lowbit.open(`${ROOT}/tests/golden/architectures/llama2`);
  const warnings: string[] = [];
  const onWarning = (message: string) => void warnings.push(message);
  const opened = await openCache(
    { plugins, kernels, codecs, checkpoint: plain, onWarning },
    { use: "static8" },
  );
  opened.policy(0);
  assertEquals(warnings.length, 1);
  const checkpoint = await lowbit.open(`${FOLDER}/kv_fp8`);
  const settings = checkpoint.config.quantization_config as Record<string, unknown>;
  const config = {
    ...checkpoint.config,
    quantization_config: { ...settings, kv_cache_scheme: { num_bits: 4, type: "int" } },
  };
  await assertRejects(
    () => readCacheScales({ ...checkpoint, config }),
    LowbitError,
    "a cache of 4 bits",
  );
  for (const one of [plain, checkpoint]) one.close();
});

Deno.test("nvfp4: inputs under their global scale, logits of compressed-tensors", async () => {
  using folder = temporary();
  using lowbit = await createWorkbench();
  const { ids, logits } = await expected("w4a4");
  const difference = async (checkpoint: Checkpoint) => {
    using model = await lowbit.load(checkpoint);
    using all = await model.logits(ids);
    return largestDifference(all.array, logits);
  };
  const checkpoint = await lowbit.open(`${FOLDER}/w4a4`);
  assertLess(await difference(checkpoint), 1e-4);
  // Without them it is another model.
  assert(await difference({ ...checkpoint, activations: new Map() }) > 1e-2);
  for (const to of ["compressed-tensors", "lowbit"]) {
    await lowbit.convert({ checkpoint, to, out: folder.at(to) });
    const written = await lowbit.open(folder.at(to));
    assertLess(await difference(written), 1e-4);
    written.close();
  }
  const config = JSON.parse(Deno.readTextFileSync(folder.at("compressed-tensors/config.json")));
  const { group_0 } = config.quantization_config.config_groups;
  const { dynamic, strategy, num_bits } = group_0.input_activations;
  assertEquals([dynamic, strategy, num_bits], ["local", "tensor_group", 4]);
  checkpoint.close();
});
