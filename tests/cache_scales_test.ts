/** Scales that quantised checkpoints keep beside their weights: models open, and conversions keep them. */

import { assertEquals } from "@std/assert";
import { memoryOutput } from "../formats/containers/output.ts";
import { writeSafetensors } from "../formats/containers/safetensors.ts";
import { openCheckpoint } from "../formats/open.ts";
import { openModel } from "../models/mod.ts";
import { createWorkbench } from "../workbench.ts";
import { ROOT } from "./process.ts";
import { temporary } from "./temporary.ts";

const SCALES = ["k_scale", "v_scale", "q_proj.input_global_scale"];

Deno.test("scales of caches and inputs are no part of a model, and stay in a conversion", async () => {
  using folder = temporary();
  const source = folder.at("model");
  const from = `${ROOT}/tests/golden/architectures/llama2`;
  const plain = await openCheckpoint(from);
  const output = memoryOutput();
  const more = SCALES.map((name, i) => ({
    name: `model.layers.1.self_attn.${name}`,
    type: "float32" as const,
    shape: [1],
    bytes: new Uint8Array(Float32Array.of(i + 0.5).buffer),
  }));
  const entries = [...plain.tensors.values()].map(({ name, shape }) => ({
    name,
    type: "float16" as const,
    shape: [...shape],
  }));
  const sink = await output.file("model.safetensors");
  const writer = await writeSafetensors(sink, [...entries, ...more]);
  for (const { name } of entries) await writer.write(name, await plain.tensors.get(name)!.raw());
  for (const { name, bytes } of more) await writer.write(name, bytes);
  await writer.finish();
  await output.commit();
  Deno.mkdirSync(source);
  Deno.writeFileSync(`${source}/model.safetensors`, output.files.get("model.safetensors")!);
  Deno.copyFileSync(`${from}/config.json`, `${source}/config.json`);

  using lowbit = await createWorkbench();
  const checkpoint = await lowbit.open(source);
  assertEquals(openModel(checkpoint).parameters.length, openModel(plain).parameters.length);
  const out = folder.at("out");
  const to = "compressed-tensors:int8_channel_sym";
  await lowbit.convert({ checkpoint, to, out, lossy: true });
  const written = await lowbit.open(out);
  for (const [i, { name }] of more.entries()) {
    assertEquals([...await written.tensors.get(name)!.read()], [i + 0.5]);
  }
  for (const opened of [plain, checkpoint, written]) opened.close();
});
