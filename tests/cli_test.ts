/** The command line as a process: what a user types, with the permissions that are documented. */

import {
  assert,
  assertEquals,
  assertGreater,
  assertMatch,
  assertStringIncludes,
} from "@std/assert";
import { layouts, numberFormats, schemes } from "../formats/lookup.ts";
import { NONE, READ, ROOT, runCli, runJson } from "./process.ts";
import { temporary, TIED, UNTIED, writeTensors } from "./temporary.ts";

const IDS = JSON.stringify({ few: [[1, 2, 3, 4, 5, 6, 7, 8], [9, 8, 7, 6, 5, 4, 3, 2]] });

Deno.test("quantize writes a checkpoint that inspect and eval read", async () => {
  using folder = temporary();
  const ids = folder.text("ids.json", IDS);
  const out = folder.at("out");
  const made = await runJson(["quantize", UNTIED, out, "--recipe", "rtn-w4g32"]);
  assertEquals(
    [made.recipe, made.target, made.output, made.warnings],
    ["rtn-w4g32", "lowbit", out, []],
  );
  assert(made.bits_per_weight > 4 && made.bits_per_weight < 32);
  assertGreater(made.peak_rss_bytes, 1e6);
  assertGreater(made.seconds, 0);
  const files = [...Deno.readDirSync(out)].filter(({ name }) => name !== "receipt.json");
  const bytes = files.reduce((sum, { name }) => sum + Deno.statSync(`${out}/${name}`).size, 0);
  assertEquals(made.bytes, bytes);
  const query = made.tensors.find(({ name }: { name: string }) =>
    name.endsWith("0.self_attn.q_proj.weight")
  );
  assertEquals(Object.keys(query), [
    "name",
    "shape",
    "scheme",
    "layout",
    "plugin",
    "bytes",
    "bits_per_weight",
    "error",
  ]);
  assertEquals([query.plugin, query.layout, query.shape], ["rtn", "lowbit_dense", [32, 16]]);

  const seen = await runJson(["inspect", out], READ);
  assertEquals([seen.kind, seen.architecture], ["lowbit", "llama"]);
  assertEquals(
    seen.tensors.map(({ name, scheme }: Record<string, string>) => [name, scheme]),
    made.tensors.map(({ name, scheme }: Record<string, string>) => [name, scheme]),
  );

  const args = ["eval", out, "--ids", `${ids}#few`, "--reference", UNTIED];
  const scored = await runJson(args, READ);
  assertEquals(scored.tokens, 14);
  assert(Math.abs(scored.perplexity - Math.exp(scored.nll)) < 1e-9 * scored.perplexity);
  assert(scored.kl > 0 && scored.kl < 1);
  assert(scored.top1_agreement > 0.4 && scored.top1_agreement <= 1);
  assertEquals(scored.protocol, {
    ...{ name: "lowbit", context: 8, stride: 8, bos: false, windows: 2, scored_from: 1 },
  });
  const first = await runJson(["eval", out, "--ids", `${ids}#few`, "--windows", "1"], READ);
  assertEquals([first.tokens, first.kl], [7, undefined]);
});

Deno.test("quantize to each target", async () => {
  using folder = temporary();
  const targets = [
    ["lowbit", "rtn-w8", "lowbit"],
    ["compressed-tensors", "rtn-w8", "compressed-tensors"],
    ["gguf", "ggml-q8_0", "gguf"],
  ];
  for (const [target, recipe, kind] of targets) {
    const out = folder.at(target === "gguf" ? "out.gguf" : target);
    const model = target === "gguf" ? "embedded" : UNTIED;
    const made = await runJson(["quantize", model, out, "--recipe", recipe, "--to", target]);
    assertEquals(made.target, target);
    assertEquals((await runJson(["inspect", out], READ)).kind, kind);
    const receipt = target === "gguf" ? `${out}.receipt.json` : `${out}/receipt.json`;
    assertEquals(JSON.parse(Deno.readTextFileSync(receipt)).recipe.name, recipe);
  }
});

Deno.test("quantize calibrates on ids, evaluates on text, and prints a table", async () => {
  using folder = temporary();
  const ids = folder.text(
    "ids.json",
    JSON.stringify({ all: Array.from({ length: 90 }, (_, i) => i % 60) }),
  );
  const args = ["quantize", TIED, folder.at("a"), "--recipe", "gptq-w4g32", "--calibration"];
  const recipe = folder.text(
    "r.yaml",
    Deno.readTextFileSync(`${ROOT}/recipes/gptq-w4g128.yaml`) +
      "calibration: { samples: 2, length: 32 }\n",
  );
  args[4] = recipe;
  assertEquals((await runJson([...args, `${ids}#all`])).warnings, []);
  const receipt = JSON.parse(Deno.readTextFileSync(folder.at("a/receipt.json")));
  assertEquals([receipt.calibration.windows, receipt.calibration.tokens], [2, 64]);

  const text = folder.text(
    "text.txt",
    Deno.readTextFileSync(`${ROOT}/embedded/evaluation.txt`).slice(0, 6000),
  );
  const table = await runCli([
    "quantize",
    "embedded",
    folder.at("b"),
    "--recipe",
    "rtn-w8",
    "--eval",
    text,
  ]);
  assertEquals(table.code, 0, table.stderr);
  for (
    const row of [
      "recipe",
      "bits a weight",
      "size",
      "peak memory",
      "perplexity",
      "kl",
      "top1 agreement",
    ]
  ) {
    assertStringIncludes(table.stdout, row);
  }
  // deno-lint-ignore no-control-regex
  assert(!/\u001b/.test(table.stdout + table.stderr), "no escape sequences without a terminal");
  assertMatch(table.stderr, /^quantize: \d+ done$/m);
});

Deno.test("quantize --dry-run prints the plan, and with conflicts exits 1", async () => {
  using folder = temporary();
  const out = folder.at("out");
  const args = ["quantize", UNTIED, out, "--recipe", "rtn-w4g32", "--dry-run"];
  const plan = await runJson(args, READ);
  assertEquals(plan.conflicts, []);
  const sum = plan.tensors.reduce((sum: number, { bytes }: { bytes: number }) => sum + bytes, 0);
  assertEquals([plan.recipe, plan.target, plan.bytes], ["rtn-w4g32", "lowbit", sum]);
  assertGreater(plan.memory_bytes, plan.bytes);
  const refused = await runCli([...args, "--max-memory", "1MiB", "--to", "gguf"], READ);
  assertEquals(refused.code, 1);
  assertMatch(refused.stderr, /^conflict\[MEMORY\] rtn-w4g32: needs about \d+ MiB/m);
  assertMatch(refused.stderr, /^conflict\[TARGET\] /m);
  assertStringIncludes(refused.stdout, "bits a weight");
  assertEquals(folder.names(), []);
});

Deno.test("--events is NDJSON from start to end", async () => {
  using folder = temporary();
  const out = folder.at("out");
  const args = ["quantize", UNTIED, out, "--recipe", "rtn-w8", "--events"];
  const { code, stderr } = await runCli(args);
  assertEquals(code, 0, stderr);
  const events = stderr.trimEnd().split("\n").map((line) => JSON.parse(line));
  assertEquals(events[0], { event: "start", command: "quantize", model: UNTIED, recipe: "rtn-w8" });
  assertEquals([events.at(-1).event, typeof events.at(-1).seconds], ["end", "number"]);
  const kinds = Map.groupBy(events, ({ event }) => event);
  assertEquals(kinds.get("tensor")!.length, 21);
  assertEquals(kinds.get("progress")!.at(-1).done, 2);
});

Deno.test("--quiet is silent on stderr", async () => {
  using folder = temporary();
  const args = ["quantize", UNTIED, folder.at("out"), "--recipe", "rtn-w8", "--quiet"];
  assertEquals((await runCli(args)).stderr, "");
});

Deno.test("eval of a text, and with any number of threads the same figures", async () => {
  using folder = temporary();
  const text = folder.text(
    "text.txt",
    Deno.readTextFileSync(`${ROOT}/embedded/evaluation.txt`).slice(0, 8000),
  );
  const args = ["eval", "embedded", "--text", text, "--context", "128", "--windows", "3"];
  const one = await runJson([...args, "--threads", "1"], READ);
  assertEquals(one.tokens, 3 * 127);
  assertEquals(one.protocol.context, 128);
  const two = await runJson([...args, "--threads", "2"], READ);
  assertEquals([two.nll, two.perplexity], [one.nll, one.perplexity]);
});

Deno.test("generate: greedy twice the same, seeds differ, text on stdout", async () => {
  const args = ["generate", "embedded", "--prompt", "In the beginning", "--tokens", "8"];
  const first = await runJson(args, READ);
  assertEquals(Object.keys(first), [
    "prompt",
    "text",
    "ids",
    "tokens",
    "seconds",
    "tokens_per_second",
  ]);
  assertEquals([first.prompt, first.tokens, first.ids.length], ["In the beginning", 8, 8]);
  assertGreater(first.tokens_per_second, 0);
  const { code, stdout, stderr } = await runCli(args, READ);
  assertEquals([code, stdout], [0, `In the beginning${first.text}\n`]);
  assertMatch(stderr, /8 tokens, [\d.]+ a second/);
  const warm = (seed: string) => runJson([...args, "--temperature", "1.5", "--seed", seed], READ);
  const [a, again, b] = [await warm("1"), await warm("1"), await warm("2")];
  assertEquals(a.ids, again.ids);
  assert(a.ids.join() !== b.ids.join());
});

Deno.test("inspect prints a table, and a note for a file that is no model", async () => {
  using folder = temporary();
  const { stdout } = await runCli(["inspect", TIED], READ);
  assertStringIncludes(stdout, "model.layers.2.mlp.down_proj.weight");
  assertMatch(stdout, /^safetensors, llama: 29 tensors, \d+ elements, /m);
  const path = folder.at("x.safetensors");
  await writeTensors(path, new Map([["x", { shape: [2, 2], values: new Float32Array(4) }]]));
  const other = await runCli(["inspect", path], READ);
  assertEquals(other.code, 0);
  assertMatch(other.stderr, /^note: /);
});

Deno.test("formats, plugins, recipes and schema need no permission", async () => {
  const listed = await runJson(["formats"], NONE);
  assertEquals(listed.formats.map(({ id }: { id: string }) => id), numberFormats.ids());
  assertEquals(listed.schemes.map(({ id }: { id: string }) => id), schemes.ids());
  assertEquals(listed.layouts.map(({ id }: { id: string }) => id), layouts.ids());
  const shown = await runJson(["formats", "show", "float8_e4m3fn"], NONE);
  assertEquals([shown.id, shown.family, shown.bits, shown.facts.largest], [
    "float8_e4m3fn",
    "float",
    8,
    448,
  ]);
  assertEquals([shown.values.length, shown.values[0x7e], shown.values[0x7f]], [256, 448, "NaN"]);
  const e5m2 = await runJson(["formats", "show", "float8_e5m2"], NONE);
  assertEquals([e5m2.values[0x7c], e5m2.values[0xfc]], ["Infinity", "-Infinity"]);
  assertEquals((await runJson(["formats", "show", "float16"], NONE)).values, undefined);
  const scheme = await runJson(["formats", "show", "mxfp4"], NONE);
  assertEquals([scheme.kind, scheme.element.id], ["scheme", "float4_e2m1fn"]);
  assertEquals((await runJson(["formats", "show", "ggml_q4_0"], NONE)).kind, "layout");
  assertStringIncludes((await runCli(["formats", "show", "int4"], NONE)).stdout, "1000");

  const plugins = await runJson(["plugins"], NONE);
  const gptq = plugins.find(({ name }: { name: string }) => name === "gptq");
  assertEquals([gptq.hooks, gptq.needs.statistics], [["quantize"], ["gram"]]);
  assertEquals(gptq, await runJson(["plugins", "show", "gptq"], NONE));
  assertEquals(gptq.options.properties.damping.default, 0.01);

  const recipes = await runJson(["recipes", "list"], NONE);
  assert(recipes.some(({ name }: { name: string }) => name === "rtn-w4g64"));
  const derived = await runJson(["recipes", "show", "gptq-w3g32-sym"], NONE);
  assertEquals(derived.assign[0].weight, {
    base: "int8_channel_sym",
    element: "int3",
    granularity: { kind: "group", size: 32 },
  });
  for (const kind of ["recipe", "format", "scheme", "layout", "architecture"]) {
    const { code, stdout } = await runCli(["schema", kind], NONE);
    assertEquals([code, JSON.parse(stdout).$schema], [
      0,
      "https://json-schema.org/draft/2020-12/schema",
    ]);
  }
});

Deno.test("what recipes show prints is a recipe that can be given back", async () => {
  using folder = temporary();
  const { stdout } = await runCli(["recipes", "show", "rtn-w4g32"], NONE);
  const recipe = folder.text("again.yaml", stdout);
  const plan = (recipe: string) =>
    runJson(["quantize", UNTIED, folder.at("o"), "--recipe", recipe, "--dry-run"], READ);
  assertEquals(await plan(recipe), await plan("rtn-w4g32"));
});
