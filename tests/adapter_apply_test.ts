/** Adapters that PEFT saved, on models: the logits of PEFT (tools/golden/adapter_logits.py). */

import { assert, assertAlmostEquals, assertEquals, assertLess, assertThrows } from "@std/assert";
import { adaptCheckpoint } from "../engine/adapted.ts";
import { checkpointLinears } from "../engine/executor.ts";
import { fileSource, memorySource } from "../formats/containers/source.ts";
import { directoryOutput } from "../formats/containers/output.ts";
import { memoryOutput } from "../formats/containers/output.ts";
import { readAdapter, writeAdapter } from "../formats/mod.ts";
import { LanguageModel, openModel } from "../models/mod.ts";
import { type Checkpoint, LowbitError } from "../spec/mod.ts";
import { bench } from "./engine_bench.ts";
import { largestDifference } from "./models_bench.ts";
import { runCli, runJson } from "./process.ts";
import { temporary, UNTIED } from "./temporary.ts";

const FOLDER = new URL("golden/adapters/", import.meta.url).pathname;
const NAMES = ["patterns", "rslora"];

interface Golden {
  ids: number[];
  logits: number[][];
}

const golden = (name: string): Golden =>
  JSON.parse(Deno.readTextFileSync(`${FOLDER}${name}/expected.json`));

async function adapterOf(name: string) {
  const files = await Promise.all(
    ["adapter_config.json", "adapter_model.safetensors"].map((file) =>
      fileSource(`${FOLDER}${name}/${file}`)
    ),
  );
  const adapter = await readAdapter(files);
  for (const file of files) file.close();
  return adapter;
}

const lowbit = bench();

/** How far the logits of a model are from those of PEFT. */
async function distance(checkpoint: Checkpoint, { ids, logits }: Golden): Promise<number> {
  const { kernels, codecs } = lowbit;
  using model = await LanguageModel.load({
    model: openModel(checkpoint),
    kernels,
    linears: checkpointLinears(kernels, codecs, checkpoint),
  });
  using made = await model.logits(ids);
  return largestDifference(made.array, logits);
}

for (const name of NAMES) {
  Deno.test(`adapter ${name}: on the model, the logits are those of PEFT`, async () => {
    const model = await lowbit.open(UNTIED);
    const expected = golden(name);
    assert(await distance(model, expected) > 0.05, "the adapter changes the model");
    const adapted = adaptCheckpoint(model, await adapterOf(name));
    assertLess(await distance(adapted, expected), 1e-4);
    model.close();
  });

  Deno.test(`adapter ${name}: on GGUF, whose rows lie otherwise, and on 8 bits`, async () => {
    const model = await lowbit.open(UNTIED);
    const expected = golden(name), adapter = await adapterOf(name);
    const gguf = memoryOutput("model.gguf");
    await lowbit.convert({ checkpoint: model, to: "gguf", out: gguf });
    const file = await lowbit.open([memorySource("m.gguf", [...gguf.files.values()][0])]);
    assertEquals(file.naming, "gguf");
    assertLess(await distance(adaptCheckpoint(file, adapter), expected), 1e-4);
    const out = memoryOutput("out");
    await lowbit.quantize({ model, recipe: "rtn-w8", out });
    const coded = await lowbit.open([...out.files].map(([n, bytes]) => memorySource(n, bytes)));
    const adapted = adaptCheckpoint(coded, adapter);
    const weight = "model.layers.0.self_attn.q_proj.weight";
    assertEquals((await adapted.tensors.get(weight)!.quantized()).side!.map(({ kind }) => kind), [
      "low_rank",
    ]);
    const [without, withIt] = [await distance(coded, expected), await distance(adapted, expected)];
    assert(withIt < without / 20, `${withIt} after ${without}`);
    for (const opened of [model, file, coded]) opened.close();
  });

  Deno.test(`adapter ${name}: merged by the command, and put on by --adapter`, async () => {
    using folder = temporary();
    const out = folder.at("merged");
    const done = await runJson(["adapter", "merge", UNTIED, `${FOLDER}${name}`, out]);
    assertEquals(done.weights.length, (await adapterOf(name)).size);
    const merged = await lowbit.open(out);
    const expected = golden(name);
    assertLess(await distance(merged, expected), 1e-4);
    merged.close();
    const ids = folder.text("ids.json", JSON.stringify([expected.ids]));
    const [a, b, c] = [
      await runJson(["eval", out, "--ids", ids], ["--allow-read"]),
      await runJson(["eval", UNTIED, "--adapter", `${FOLDER}${name}/`, "--ids", ids], [
        "--allow-read",
      ]),
      await runJson(["eval", UNTIED, "--ids", ids], ["--allow-read"]),
    ];
    assertAlmostEquals(a.nll, b.nll, 1e-6);
    assert(Math.abs(a.nll - c.nll) > 1e-3);
  });
}

Deno.test("adapter: generate takes one, and two are added up", async () => {
  using folder = temporary();
  const model = await lowbit.open("embedded");
  const name = "model.layers.0.mlp.down_proj.weight";
  const [rows, columns] = model.tensors.get(name)!.shape;
  model.close();
  const right = Float32Array.from({ length: columns }, (_, i) => Math.sin(i));
  const write = async (folderName: string, scale: number) => {
    const left = Float32Array.from({ length: rows }, (_, i) => scale * Math.cos(i));
    const output = await directoryOutput(folder.at(folderName));
    await writeAdapter(output, new Map([[name, { kind: "low_rank", rank: 1, left, right }]]));
    await output.commit();
    return ["--adapter", folder.at(folderName)];
  };
  const [some, against] = [await write("a", 2), await write("b", -2)];
  const text = async (...more: string[]) =>
    (await runJson(["generate", "embedded", "--prompt", "The", "--tokens", "8", ...more], [
      "--allow-read",
    ])).text;
  const plain = await text();
  assert(plain !== await text(...some));
  assertEquals(await text(...some, ...against), plain);
});

Deno.test("adapter: one of another model is refused in one line", async () => {
  using folder = temporary();
  const { code, stderr } = await runCli([
    ...["adapter", "merge", "embedded", `${FOLDER}patterns`, folder.at("out")],
  ]);
  assertEquals(code, 1);
  assert(/^error\[SHAPE\] .*patterns: .*_proj\.weight: is \d+ x \d+, but/.test(stderr), stderr);
  assertEquals(stderr.trimEnd().split("\n").length, 1);
  assertEquals(folder.names(), []);
  const model = await lowbit.open(UNTIED);
  const part = [...(await adapterOf("rslora")).values()][0];
  assertThrows(
    () => adaptCheckpoint(model, new Map([["model.x.weight", part]])),
    LowbitError,
    "is in the adapter and not in the model",
  );
  model.close();
});
