/** Vector formats through the whole program: recipes, files of the user, the command line. */

import { assert, assertEquals, assertGreater, assertLess } from "@std/assert";
import { embeddedPath } from "../embedded/mod.ts";
import { memoryOutput } from "../formats/containers/output.ts";
import { memorySource } from "../formats/containers/source.ts";
import { vectorFormat } from "../formats/lookup.ts";
import { openCheckpoint } from "../formats/open.ts";
import { readUserFormats } from "../formats/user_formats.ts";
import { vectorCodec } from "../formats/vectors/codec.ts";
import {
  type Checkpoint,
  definePlugin,
  type Plugin,
  PLUGIN_API_VERSION,
  recipeSchema,
  schema,
} from "../spec/mod.ts";
import { createWorkbench } from "../workbench.ts";
import { ROOT, runCli } from "./process.ts";
import { temporary, UNTIED, writeTensors } from "./temporary.ts";

const lowbit = await createWorkbench({ threads: 2 });
const source = await lowbit.open("embedded");
const text = await Deno.readTextFile(embeddedPath("evaluation.txt"));
const windows = lowbit.windows(source, text, { length: 256, count: 4 });
const reference = await lowbit.stream(source, windows);

function recipe(weight: string, more: Record<string, unknown>[] = []) {
  const assign = [{ select: ["blocks.*"], weight }, ...more];
  return recipeSchema.parse({ name: "vectors", assign, pipeline: [{ use: "rtn" }] });
}

async function quantised(chosen: ReturnType<typeof recipe>, from = source) {
  const out = memoryOutput("out");
  const result = await lowbit.quantize({ model: from, recipe: chosen, out });
  const model = await lowbit.open([...out.files].map(([n, bytes]) => memorySource(n, bytes)));
  return { out, model, ...result };
}

async function kl(model: Checkpoint): Promise<number> {
  return (await lowbit.evaluate({ model, windows, reference })).kl;
}

const UP = "model.layers.0.mlp.up_proj.weight";

Deno.test("a recipe names vector formats: the model is stored in them, evaluated, and generates", async () => {
  const losses = new Map<string, number>();
  for (const id of ["e8p", "lut4_channel", "ovp8"]) {
    const { model, plan, receipt } = await quantised(recipe(id));
    const stored = model.tensors.get(UP)!;
    assertEquals(stored.storage.kind === "vector" && stored.storage.format, vectorFormat(id));
    const weight = await source.tensors.get(UP)!.read();
    const codec = vectorCodec(vectorFormat(id));
    const [rows, columns] = stored.shape;
    assertEquals(await stored.read(), codec.decode(codec.encode(weight, rows, columns)), id);
    const planned = plan.tensors.find(({ name }) => name === UP)!;
    assertEquals([planned.scheme, planned.layout, planned.plugin], [id, "lowbit_dense", "rtn"]);
    assertEquals(planned.bytes, stored.bytes);
    assert(receipt);
    losses.set(id, await kl(model));
    let said = "";
    for await (const part of lowbit.generate({ model, prompt: "The ", tokens: 4 })) said += part;
    assert(said.length > 0);
  }
  const [two, four, eight] = ["e8p", "lut4_channel", "ovp8"].map((id) => losses.get(id)!);
  assertGreater(two, four);
  assertGreater(four, eight);
  assertLess(eight, 0.01);
});

Deno.test("vector formats and schemes share a model; a later assignment wins, either way", async () => {
  const { model } = await quantised(recipe("e8p", [
    { select: ["*.mlp.down"], weight: "int4_g64_sym" },
    { select: ["blocks.1.mlp.down"], weight: "bcq3_g128" },
  ]));
  const kind = (name: string) => model.tensors.get(`model.layers.${name}.weight`)!.storage.kind;
  assertEquals(["0.mlp.up_proj", "0.mlp.down_proj", "1.mlp.down_proj"].map(kind), [
    "vector",
    "coded",
    "vector",
  ]);
  assertGreater(await kl(model), 0);
});

Deno.test("the same bytes each time, and codes are copied when a model is converted again", async () => {
  const mixed = recipe("e8p", [{ select: ["*.mlp.down"], weight: "vq_d4_k256" }]);
  const [a, b] = [await quantised(mixed), await quantised(mixed)];
  assertEquals(a.out.files.get("model.safetensors"), b.out.files.get("model.safetensors"));
  const some = recipeSchema.parse({
    name: "again",
    assign: [{ select: ["blocks.0.mlp.gate"], weight: "int8_channel_sym" }],
    pipeline: [{ use: "rtn" }],
  });
  const { model } = await quantised(some, a.model);
  for (const name of [UP, "model.layers.0.mlp.down_proj.weight"]) {
    const [one, two] = [a.model, model].map((m) => m.tensors.get(name)!);
    assertEquals(await two.vector!(), await one.vector!());
  }
  assertEquals(model.tensors.get("model.layers.0.mlp.gate_proj.weight")!.storage.kind, "coded");
});

Deno.test("a plugin may quantise to vector formats itself, and is held to their shapes", async () => {
  const plugin = (change: number): Plugin<Record<string, never>> =>
    definePlugin({
      meta: {
        name: "mine",
        version: "1.0.0",
        apiVersion: PLUGIN_API_VERSION,
        summary: "for a test",
        needs: { statistics: [] },
        supports: { vectors: ["grid"] },
        determinism: "exact",
      },
      options: schema("options", { safeParse: () => ({ success: true, data: {} }) }),
      quantizeVector({ weight, linear: { rows, columns }, codec }) {
        const tensor = codec.encode(weight, rows, columns);
        return { ...tensor, codes: tensor.codes.map((code) => code + change) };
      },
    });
  const chosen = { ...recipe("e8p"), pipeline: [{ use: "mine", options: {} }] };
  const run = async (change: number, weight = "e8p") => {
    using bench = await createWorkbench({ plugins: [plugin(change)] });
    const model = await bench.open("embedded");
    const changed = { ...chosen, assign: [{ select: ["blocks.*"], weight }] };
    return await bench.quantize({ model, recipe: changed, out: memoryOutput("x") })
      .then(() => "none", (error) => error.message);
  };
  assertEquals(await run(0), "none");
  assert(
    (await run(70000)).includes("mine: blocks.0.attention.query: gave a tensor that has a code"),
  );
  assert(
    (await run(0, "ovp4")).includes("mine does not support vector formats of the family pair"),
  );
});

const OWN = await Deno.readTextFile(`${ROOT}/examples/formats/ternary_pairs.yaml`);

Deno.test("a vector format of the user: tested, used for a model, read without its file", async () => {
  using folder = temporary();
  const file = folder.text("own.yaml", OWN);
  const tested = await runCli(["formats", "test", file, "--json"]);
  assertEquals(tested.code, 0, tested.stderr);
  const { ok, facts } = JSON.parse(tested.stdout);
  assertEquals([ok, facts.elements], [true, 2]);
  const out = folder.at("out");
  const made = await runCli(
    ["quantize", UNTIED, out, "--recipe", "rtn-w4g32", "--format", file],
  );
  assertEquals(made.code, 0, made.stderr);
  const model = await openCheckpoint(out);
  const { storage } = model.tensors.get(UP)!;
  const [own] = readUserFormats([{ file, text: OWN }]).vectors.values();
  assertEquals(storage.kind === "vector" && storage.format, own);
  model.close();
  const shown = await runCli(["inspect", out, "--json"]);
  const row = JSON.parse(shown.stdout).tensors.find((t: { name: string }) => t.name === UP);
  assertEquals(row.scheme, own.id);
});

Deno.test("formats: list, show, encode and compare know vector formats", async () => {
  const listed = JSON.parse((await runCli(["formats", "list", "--json"])).stdout);
  const e8p = listed.vectors.find((v: { id: string }) => v.id === "e8p");
  assertEquals([e8p.family, Math.floor(e8p.bits_per_weight)], ["grid", 2]);
  const shown = JSON.parse((await runCli(["formats", "show", "ovp4", "--json"])).stdout);
  assertEquals([shown.family, shown.definition.normal.id], ["pair", "int4_symmetric"]);

  using folder = temporary();
  const [input, output] = [folder.at("in.safetensors"), folder.at("out.safetensors")];
  const values = Float32Array.from({ length: 4 * 16 }, (_, i) => Math.sin(i * i));
  await writeTensors(input, new Map([["x", { shape: [4, 16], values }]]));
  for (const id of ["e8p", "aqlm_2x8", "bcq3_g128"]) {
    const { code, stderr } = await runCli(
      ["formats", "encode", id, input, output, "--overwrite"],
    );
    assertEquals([code, stderr], [0, ""]);
    const codec = vectorCodec(vectorFormat(id));
    const tensor = codec.encode(values, 4, 16);
    const file = await openCheckpoint(output);
    const read = (part: string) => file.tensors.get(`x.${part}`)?.read();
    assertEquals(await read("codes"), Float32Array.from(tensor.codes), id);
    assertEquals(await read("tables"), tensor.tables, id);
    assertEquals(await read("scales"), tensor.scales, id);
    assertEquals(await read("values"), codec.decode(tensor), id);
    file.close();
  }
  const cast = await runCli(["formats", "encode", "e8p", input, output, "--rounding", "up"]);
  assertEquals([cast.code, cast.stderr.includes("has no cast to change")], [2, true]);
  const compared = await runCli(
    ["formats", "compare", "e8p", "int4_g64_sym", "--on", UNTIED, "--json"],
  );
  const { scores } = JSON.parse(compared.stdout);
  assertEquals(scores.map((s: { scheme: string }) => s.scheme), ["e8p", "int4_g64_sym"]);
});
