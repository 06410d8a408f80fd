/** `lowbit convert` and `lowbit lint` as processes, and conversions between the packages' dialects. */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { openCheckpoint } from "../formats/open.ts";
import { parseRecipe } from "../workbench.ts";
import { READ, ROOT, runCli, runJson } from "./process.ts";
import { temporary, TIED, UNTIED } from "./temporary.ts";

const DIALECTS = `${ROOT}/tests/golden/dialects`;

/** What becomes of a checkpoint of a package under another target. */
const KINDS: readonly [source: string, target: string, kind: string][] = [
  ["gptq_4_sym_v1", "awq", "preserved"],
  ["gptq_4_asym_v1", "gptq", "preserved"], // version 1 becomes version 2
  ["gptq_4_asym_v2", "awq", "preserved"],
  ["gptq_4_asym_v2", "compressed-tensors", "preserved"],
  ["gptq_2_sym_v1", "awq", "exact"], // wider codes
  ["gptq_3_sym_v1", "lowbit", "preserved"],
  ["gptq_4_order", "safetensors", "exact"],
  ["gptq_4_order", "gptq", "preserved"],
  ["gptq_4_order_asym", "gptq", "preserved"],
  ["gptq_8_order_v1", "lowbit", "preserved"],
  ["ct_int4_order", "gptq", "preserved"],
  ["awq_gemm", "gptq", "preserved"],
  ["awq_gemm", "compressed-tensors", "preserved"],
  ["awq_gemv", "awq", "preserved"], // becomes gemm
  ["awq_gemv_fast", "safetensors", "exact"],
  ["ct_int8", "bitsandbytes", "preserved"],
  ["bitsandbytes_int8", "compressed-tensors", "preserved"],
  ["bitsandbytes_nf4_nested", "bitsandbytes", "preserved"],
  ["marlin_g128", "gptq", "preserved"],
  ["awq_marlin", "marlin", "preserved"],
  ["marlin_channel", "awq", "preserved"],
  ["marlin_g128", "compressed-tensors", "preserved"],
  ["fp8", "safetensors", "exact"],
];

Deno.test("convert: grids that match keep their codes, and every value is read back", async () => {
  using folder = temporary();
  const { createWorkbench } = await import("../workbench.ts");
  using lowbit = await createWorkbench();
  for (const [source, to, kind] of KINDS) {
    const what = `${source} to ${to}`;
    const checkpoint = await lowbit.open(`${DIALECTS}/${source}`);
    const out = folder.at(`${source}-${to}`);
    const done = await lowbit.convert({ checkpoint, to, out });
    const [tensor] = done.tensors;
    assertEquals([tensor.kind, tensor.max_error], [kind, 0], what);
    assertEquals(tensor.proof, "every value of the output, read back", what);
    const before = await checkpoint.tensors.get("layer.weight")!.read();
    assertEquals(tensor.values, before.length, what);
    const after = await openCheckpoint(out);
    assertEquals(await after.tensors.get("layer.weight")!.read(), before, what);
    assertEquals(JSON.parse(Deno.readTextFileSync(`${out}/conversion.json`)).target, to);
    after.close();
    checkpoint.close();
  }
});

Deno.test("convert: activation order is refused where there is no place for it", async () => {
  using folder = temporary();
  for (const to of ["awq", "compressed-tensors", "bitsandbytes"]) {
    const source = `${DIALECTS}/gptq_4_order`;
    const refused = await runCli(["convert", source, folder.at(to), "--to", to, "--quiet"]);
    assertEquals(refused.code, 1, to);
    assertMatch(refused.stderr, /CONFLICT.*activation order, which --to gptq and lowbit.*--lossy/);
    const done = await runJson(["convert", source, folder.at(to), "--to", to, "--lossy"]);
    assertEquals(done.summary.lossy, 1, to);
    assert(done.tensors[0].relative_error < 0.2, to);
  }
});

Deno.test("convert: what changes needs --lossy, and its error is that of the values", async () => {
  using folder = temporary();
  const source = `${DIALECTS}/hqq_4_axis1`;
  const refused = await runCli(["convert", source, folder.at("a"), "--to", "awq", "--quiet"]);
  assertEquals([refused.code, refused.stdout], [1, ""]);
  assertMatch(
    refused.stderr,
    /^error\[CONFLICT\].*layer\.weight: its values would change.*--lossy/,
  );
  assertEquals(folder.names(), []);

  const dry = await runJson(["convert", source, folder.at("a"), "--to", "awq", "--dry-run"]);
  assertEquals([dry.written, dry.output, dry.summary.lossy], [false, null, 1]);
  assertEquals(folder.names(), []);

  const done = await runJson(["convert", source, folder.at("a"), "--to", "awq", "--lossy"]);
  const before = await openCheckpoint(source);
  const after = await openCheckpoint(folder.at("a"));
  const [x, y] = await Promise.all(
    [before, after].map(({ tensors }) => tensors.get("layer.weight")!.read()),
  );
  const differences = Array.from(x, (value, i) => Math.abs(value - y[i]));
  const squares = (values: Iterable<number>) => [...values].reduce((sum, v) => sum + v * v, 0);
  const [{ kind, max_error, mean_error, relative_error }] = done.tensors;
  assertEquals([kind, max_error], ["lossy", Math.max(...differences)]);
  assertEquals(mean_error, differences.reduce((a, b) => a + b, 0) / x.length);
  const relative = Math.sqrt(squares(differences) / squares(x));
  assert(Math.abs(relative_error - relative) < 1e-12);
  assert(relative_error > 0.01 && relative_error < 0.2);
  // What the plan says is what is measured.
  assertEquals(dry.tensors[0].max_error, max_error);
  for (const checkpoint of [before, after]) checkpoint.close();
});

Deno.test("convert: through GGUF and back, names and heads included", async () => {
  using folder = temporary();
  const { createWorkbench } = await import("../workbench.ts");
  using lowbit = await createWorkbench();
  const model = await lowbit.open("embedded");
  const recipe = parseRecipe(
    "name: a\nassign: [{ select: ['blocks.*'], " +
      "weight: { base: int4_g32_sym, scale_format: float16 } }]\npipeline: [{ use: rtn }]\n",
  );
  await lowbit.quantize({ model, recipe, out: folder.at("gptq"), to: "gptq" });
  const first = await runJson(["convert", folder.at("gptq"), folder.at("a.gguf"), "--to", "gguf"]);
  assertEquals(first.summary.lossy, 0);
  const query = first.tensors.find(({ name }: { name: string }) => name === "blk.0.attn_q.weight");
  assertEquals([query.kind, query.layout], ["preserved", "ggml_q4_0"]);
  assert(folder.names().includes("a.gguf.conversion.json"));
  const back = await runJson(["convert", folder.at("a.gguf"), folder.at("b"), "--to", "awq"]);
  assertEquals(back.summary.lossy, 0);
  const [before, after] = await Promise.all(
    [folder.at("gptq"), folder.at("b")].map((path) => lowbit.open(path)),
  );
  for (const [name, tensor] of before.tensors) {
    assertEquals(await after.tensors.get(name)!.read(), await tensor.read(), name);
  }
  const half = await runJson([
    "convert",
    UNTIED,
    folder.at("c"),
    "--to",
    "safetensors:float16",
    "--lossy",
  ]);
  assert(half.tensors.every(({ to }: { to: string }) => ["float16", "float32"].includes(to)));
  for (const checkpoint of [model, before, after]) checkpoint.close();
});

Deno.test("convert: Marlin's codes and scales are the bytes that AutoAWQ packs", async () => {
  using folder = temporary();
  const { createWorkbench } = await import("../workbench.ts");
  using lowbit = await createWorkbench();
  for (const name of ["marlin_g128", "marlin_channel"]) {
    const checkpoint = await lowbit.open(`${DIALECTS}/${name}`);
    await lowbit.convert({ checkpoint, to: "gptq", out: folder.at(`${name}-gptq`) });
    const gptq = await lowbit.open(folder.at(`${name}-gptq`));
    await lowbit.convert({ checkpoint: gptq, to: "marlin", out: folder.at(name) });
    const [theirs, ours] = [`${DIALECTS}/${name}`, folder.at(name)].map((path) => {
      const bytes = Deno.readFileSync(`${path}/model.safetensors`);
      const size = Number(new DataView(bytes.buffer).getBigUint64(0, true));
      const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + size)));
      return (part: string) => {
        const [from, to] = header[`layer.${part}`].data_offsets;
        return bytes.slice(8 + size + from, 8 + size + to);
      };
    });
    for (const part of ["B", "s"]) assertEquals(ours(part), theirs(part), `${name} ${part}`);
    for (const opened of [checkpoint, gptq]) opened.close();
  }
});

Deno.test("convert: the same bytes each time, and a table for people", async () => {
  using folder = temporary();
  for (const name of ["a", "b"]) {
    const done = await runCli(["convert", `${DIALECTS}/awq_gemm`, folder.at(name), "--to", "gptq"]);
    assertEquals(done.code, 0, done.stderr);
    assertStringIncludes(done.stdout, "1 preserved, 0 exact, 0 lossy");
  }
  for (const file of ["model.safetensors", "config.json"]) {
    assertEquals(
      Deno.readFileSync(folder.at(`a/${file}`)),
      Deno.readFileSync(folder.at(`b/${file}`)),
    );
  }
});

Deno.test("convert: bad input for each option", async () => {
  using folder = temporary();
  const source = `${DIALECTS}/awq_gemm`;
  const out = folder.at("out");
  const bad: [args: string[], code: number, message: RegExp][] = [
    [[source, out], 2, /error\[USAGE\] --to is missing/],
    [[source, out, "--to", ""], 2, /--to needs a value/],
    [[source, out, "--to", "gtpq"], 1, /UNKNOWN_NAME.*gtpq.*gptq/],
    [[source, out, "--to", "gptq:q9_9"], 1, /UNKNOWN_NAME.*q9_9/],
    [[source, out, "--to", "gptq:q4_k"], 1, /CONFLICT.*zero points of kind|CONFLICT.*gptq has/],
    [[source, out, "--to", "gptq", "--threads", "x"], 2, /--threads must be a whole number/],
    [[source, out, "--to", "gptq", "--lossless"], 2, /unknown option --lossless/],
    [[source, "--to", "gptq"], 2, /too few arguments/],
    [[source, out, "more", "--to", "gptq"], 2, /unexpected argument/],
    [[folder.at("none"), out, "--to", "gptq"], 1, /NOT_FOUND/],
    [[source, folder.path, "--to", "gptq"], 1, /EXISTS/],
    [[UNTIED, out, "--to", "gptq"], 1, /CONFLICT.*lowbit quantize/],
    [[source, out, "--to", "gguf"], 1, /SCHEMA.*model_type/],
  ];
  for (const [args, code, message] of bad) {
    const done = await runCli(["convert", ...args, "--quiet"]);
    assertEquals([done.code, done.stdout], [code, ""], done.stderr);
    assertMatch(done.stderr, message);
    assertEquals(done.stderr.trimEnd().split("\n").length, 1, done.stderr);
  }
  assertEquals(folder.names(), []);
});

Deno.test("lint: exit codes, JSON and lines", async () => {
  const good = await runCli(["lint", TIED], READ);
  assertEquals([good.code, good.stderr.includes("error")], [0, false], good.stderr);
  const warned = await runCli(["lint", `${DIALECTS}/awq_gemm`], READ);
  assertEquals(warned.code, 3);
  assertMatch(warned.stdout, /^warning\[divisibility\] layer\.weight: is 32 x 64; .*\n3 tensors/);
  using folder = temporary();
  folder.text("config.json", "{}");
  folder.text("model.safetensors", "no header");
  const broken = await runCli(["lint", folder.path, "--json"], READ);
  assertEquals(broken.code, 1);
  const { summary, findings, exit } = JSON.parse(broken.stdout);
  assertEquals([summary.error, findings[0].code, exit], [1, "file-size", 1]);
  const none = await runCli(["lint", folder.at("none")], READ);
  assertEquals([none.code, none.stdout], [1, ""]);
  assertMatch(none.stderr, /^error\[NOT_FOUND\]/);
  assertEquals((await runCli(["lint"], READ)).code, 2);
});

Deno.test("the commands of README.md on converting and linting run as they stand", async () => {
  using folder = temporary();
  const readme = Deno.readTextFileSync(`${ROOT}/README.md`);
  const section = readme.slice(readme.indexOf("## Convert and lint"));
  const block = /```sh\n([^]*?)```/.exec(section)![1];
  const commands = block.trim().split("\n").map((line) =>
    line.replace(/\s+#.*$/, "").split(" ").slice(1)
  );
  assertEquals(commands.length, 5);
  const made = await runCli([
    ...["quantize", "embedded", folder.at("model-gptq"), "--recipe", "gptq-w4g128-f16"],
    ...["--to", "gptq", "--quiet"],
  ]);
  assertEquals(made.code, 0, made.stderr);
  const paths: Record<string, string> = {
    "model": "embedded",
    "model.gguf": folder.at("given.gguf"),
  };
  const given = await runCli(["convert", "embedded", paths["model.gguf"], "--to", "gguf"]);
  assertEquals(given.code, 0, given.stderr);
  for (const command of commands) {
    const args = command.map((word, i) =>
      i > 0 && /^(model|plain|small)/.test(word) ? paths[word] ?? folder.at(word) : word
    );
    const { code, stderr } = await runCli(args);
    assertEquals(code, 0, `${args.join(" ")}: ${stderr}`);
  }
  assert(folder.names().includes("small.gguf"));
});

Deno.test("quantize: presets with float16 scales are written for GPTQ and AWQ", async () => {
  using folder = temporary();
  for (const [recipe, to] of [["gptq-w4g128-f16", "awq"], ["awq-w4g128-f16", "awq"]]) {
    const args = ["quantize", "embedded", folder.at(recipe), "--recipe", recipe, "--to", to];
    assertEquals((await runJson([...args, "--dry-run"])).conflicts, []);
  }
});
