/** Importance matrices beside torch and llama.cpp's own quantiser (tools/golden/importance.py). */

import { assert, assertAlmostEquals, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { blockType } from "../formats/dialects/ggml_coded.ts";
import { importanceBytes, readImportance } from "../formats/containers/importance.ts";
import { memoryOutput } from "../formats/containers/output.ts";
import { fileSource, memorySource } from "../formats/containers/source.ts";
import { schemes } from "../formats/lookup.ts";
import { openModel } from "../models/architecture.ts";
import { parameterTensor } from "../models/weights.ts";
import { presetRecipe } from "../recipes/mod.ts";
import { channelWeights, LowbitError, meanSquares, mergeImportance } from "../spec/mod.ts";
import { createWorkbench } from "../workbench.ts";
import { runCli, runJson } from "./process.ts";
import { temporary } from "./temporary.ts";
import golden from "./golden/importance/importance.json" with { type: "json" };

/** How much larger an error may be than that of llama.cpp's encoder with the same matrix. */
const SLACK = 1.02;

async function read(form: string) {
  const path = new URL(`golden/importance/imatrix.${form}`, import.meta.url);
  const source = await fileSource(path.pathname);
  try {
    return await readImportance(source);
  } finally {
    source.close();
  }
}

function weighted(x: Float32Array, y: Float32Array, weights: Float32Array): number {
  let [error, whole] = [0, 0];
  for (let i = 0; i < x.length; i++) {
    const w = weights[i % weights.length];
    error += w * (x[i] - y[i]) ** 2;
    whole += w * x[i] ** 2;
  }
  return Math.sqrt(error / whole);
}

Deno.test("importance: both forms say the same, and survive being written", async () => {
  const [gguf, dat] = [await read("gguf"), await read("dat")];
  assertEquals(gguf.datasets, ["windows of random ids"]);
  assertEquals([gguf.chunks, gguf.chunkSize, dat.chunks], [4, 128, 4]);
  assertEquals([...dat.entries.keys()], [...gguf.entries.keys()]);
  for (const [name, entry] of gguf.entries) {
    const [a, b] = [meanSquares(entry)!, meanSquares(dat.entries.get(name)!)!];
    a.forEach((value, j) => assertAlmostEquals(b[j], value, 1e-6 * value));
  }
  for (const form of ["gguf", "dat"] as const) {
    const path = new URL(`golden/importance/imatrix.${form}`, import.meta.url);
    const bytes = await importanceBytes(form === "dat" ? { ...dat, chunkSize: 512 } : gguf, form);
    const theirs = await Deno.readFile(path);
    if (form === "dat") assertEquals(bytes, theirs);
    assertEquals(bytes.length, theirs.length);
    const again = await readImportance(memorySource("again", bytes));
    assertEquals(again, form === "dat" ? dat : gguf);
  }
});

Deno.test("importance: a matrix that is cut off or damaged is refused with its name", async () => {
  for (const form of ["gguf", "dat"]) {
    const path = new URL(`golden/importance/imatrix.${form}`, import.meta.url);
    const bytes = await Deno.readFile(path);
    for (let size = 0; size < bytes.length - 64; size += 1013) {
      const source = memorySource("cut", bytes.slice(0, size));
      const error = await assertRejects(() => readImportance(source), LowbitError);
      assertEquals(error.file, "cut");
    }
  }
  const bad = new Uint8Array(64).fill(0x7f);
  await assertRejects(() => readImportance(memorySource("bad", bad)), LowbitError, "bad");
});

Deno.test("importance: what is collected is what torch sees, and parts add up", async () => {
  using lowbit = await createWorkbench({ threads: 2 });
  const model = await lowbit.open("embedded");
  const recipe = { ...presetRecipe("ggml-q4_0"), importance: true };
  const windows = golden.windows.map((ids) => Int32Array.from(ids));
  const collect = async (calibration: Int32Array[]) =>
    (await lowbit.quantize({ model, recipe, calibration, to: "gguf", out: memoryOutput() }))
      .importance!;
  const expected = await read("gguf");
  const merged = mergeImportance(
    await collect(windows.slice(0, 1)),
    await collect(windows.slice(1)),
  );
  for (const matrix of [await collect(windows), merged]) {
    assertEquals([matrix.chunks, matrix.chunkSize], [expected.chunks, expected.chunkSize]);
    assertEquals(new Set(matrix.entries.keys()), new Set(expected.entries.keys()));
    for (const [name, { sums, counts }] of expected.entries) {
      const ours = matrix.entries.get(name)!;
      assertEquals(ours.counts, counts);
      sums.forEach((sum, j) => assertAlmostEquals(ours.sums[j], sum, 1e-4 * sum + 1e-6));
    }
  }
  model.close();
});

Deno.test("importance: no larger error than llama.cpp's encoders with the same matrix", async () => {
  using lowbit = await createWorkbench({ threads: 2 });
  const checkpoint = await lowbit.open("embedded");
  const model = openModel(checkpoint);
  const matrix = await read("gguf");
  const byType = new Map(
    schemes.ids().flatMap((id) => {
      const scheme = lowbit.codecs.resolve(id);
      const type = blockType(scheme);
      return type ? [[type, scheme] as const] : [];
    }),
  );
  const done = new Set<string>();
  for (const [file, tensors] of Object.entries(golden.types)) {
    const theirs = golden.weighted[file as keyof typeof golden.weighted] as Record<string, number>;
    for (const [name, type] of Object.entries(tensors)) {
      if (type === "F16" || done.has(`${name} ${type}`)) continue;
      done.add(`${name} ${type}`);
      const parameter = model.parameters.find(({ names }) => names.gguf === name)!;
      const [rows, columns] = parameter.shape;
      const tensor = parameterTensor(model, parameter.id);
      const values = await tensor.read();
      const weights = meanSquares(matrix.entries.get(name)!)!;
      const codec = lowbit.codecs.get(byType.get(type)!);
      const made = codec.quantize(values, rows, columns, channelWeights(weights));
      const error = weighted(values, codec.dequantize(made), weights);
      assert(error <= theirs[name] * SLACK, `${file} ${name} ${type}: ${error} ${theirs[name]}`);
    }
  }
  checkpoint.close();
});

Deno.test("importance: convert and quantize use it, and give the same blocks", async () => {
  using lowbit = await createWorkbench({ threads: 2 });
  const model = await lowbit.open("embedded");
  const importance = await read("gguf");
  const files = async (run: (out: ReturnType<typeof memoryOutput>) => Promise<unknown>) => {
    const out = memoryOutput("m.gguf");
    await run(out);
    const opened = await lowbit.open([memorySource("m.gguf", out.files.values().next().value!)]);
    return [...opened.tensors.values()].filter(({ name }) => name.startsWith("blk."));
  };
  const converted = await files((out) =>
    lowbit.convert({ checkpoint: model, to: "gguf:q4_0", lossy: true, importance, out })
  );
  const recipe = presetRecipe("ggml-q4_0");
  const quantised = await files((out) =>
    lowbit.quantize({ model, recipe, to: "gguf", importance, out })
  );
  const plain = await files((out) => lowbit.quantize({ model, recipe, to: "gguf", out }));
  let changed = 0;
  for (const [i, tensor] of converted.entries()) {
    const [a, b, c] = await Promise.all([tensor, quantised[i], plain[i]].map((t) => t.raw()));
    assertEquals(b, a, tensor.name);
    if (a.some((byte, k) => byte !== c[k])) changed++;
  }
  assertEquals(changed, importance.entries.size);
  await assertRejects(
    () =>
      lowbit.quantize({
        model,
        recipe: "awq-w4g64",
        calibration: [Int32Array.from(golden.windows[0])],
        importance,
        out: memoryOutput(),
      }),
    LowbitError,
    "changes the inputs",
  );
  const other = importance.entries.get("blk.0.attn_q.weight")!;
  const wrong = { ...importance, entries: new Map([["blk.0.ffn_down.weight", other]]) };
  await assertRejects(
    () => lowbit.convert({ checkpoint: model, to: "gguf:q4_0", importance: wrong }),
    LowbitError,
    "is of 256 input channels, not 640",
  );
  model.close();
});

Deno.test("importance: verify --rerun wants the matrix of the run, and makes the same bytes", async () => {
  using folder = temporary();
  const out = folder.at("out.gguf"), matrix = folder.at("m.gguf");
  const recipe = folder.text(
    "r.yaml",
    "name: q\nassign: [{ select: [blocks.0.*], weight: q4_0 }]\npipeline: [{ use: rtn }]\n",
  );
  const base = ["quantize", "embedded", out, "--to", "gguf", "--recipe", recipe];
  const text = folder.text("c.txt", "a few words of a text. ".repeat(400));
  await runJson([...base, "--calibration", text, "--save-importance", matrix]);
  await runJson([...base, "--importance", matrix, "--overwrite"]);
  const rerun = ["verify", `${out}.receipt.json`, "--model", "embedded", "--rerun"];
  assertEquals((await runJson([...rerun, "--importance", matrix])).ok, true);
  const without = await runCli(rerun);
  assertMatch(
    without.stderr,
    /error\[MISMATCH\] importance: the run had an importance matrix; give/,
  );
});
