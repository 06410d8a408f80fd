/** What a plugin in a sandbox can do, and what it cannot. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { inspectPlugin } from "../testing/mod.ts";
import { openSandbox } from "../sandbox/mod.ts";
import { bench, recipeOf, run } from "./engine_bench.ts";
import { outcome as outcomeOf } from "./programs/sandboxed.ts";
import { ROOT, runDeno } from "./process.ts";
import { temporary } from "./temporary.ts";

const LIMITS = { seconds: 20, bytes: 2 ** 29 };

/** A plugin whose `quantize` runs some code first. */
const source = (code: string, top = "", more = "") => `
import { definePlugin, PLUGIN_API_VERSION, schema } from "@lowbit/lowbit/plugin";
import { z } from "zod";
${top}
export const guest = definePlugin({
  meta: {
    name: "guest", version: "1.0.0", apiVersion: PLUGIN_API_VERSION, summary: "a guest",
    needs: { statistics: ["gram"] }, supports: {}, determinism: "seeded",
  },
  options: schema("options of guest", z.strictObject({
    shift: z.number().default(0).describe("added"),
  })),
  quantize({ context, linear, weight, codec, statistics }) {
    ${code}
    return codec.quantize(weight, linear.rows, linear.columns);
  },
  ${more}
});`;

async function guest(text: string, limits = LIMITS) {
  return await openSandbox(text, "guest.ts", limits);
}

/** What a run with the plugin ends in. */
async function outcome(text: string): Promise<string> {
  return await outcomeOf(text, LIMITS);
}

/** The same in a process of its own, for plugins that go on when they are stopped. */
async function apart(
  text: string,
  { seconds, bytes }: typeof LIMITS,
): Promise<{ message: string; grown: number }> {
  using folder = temporary();
  const { code, stdout, stderr } = await runDeno([
    ...["run", "-A", `${ROOT}/tests/programs/sandboxed.ts`],
    ...[folder.text("guest.ts", text), String(seconds), String(bytes)],
  ]);
  assertEquals(code, 0, stderr);
  return JSON.parse(stdout);
}

Deno.test("sandbox: a plugin gives the same bytes inside as outside, random numbers too", async () => {
  const text = source(`
    const rng = context.rng(linear.id);
    const noise = Float32Array.from(weight, (x) => x + 0.01 * rng.normal() + statistics.gram[0] * 1e-9);
    return codec.quantize(noise, linear.rows, linear.columns);`);
  using folder = temporary();
  const { guest: plain } = await import(
    `file://${
      folder.text(
        `guest.ts`,
        text.replaceAll("@lowbit/lowbit/plugin", `file://${ROOT}/spec/plugin.ts`),
      )
    }`
  );
  using sandbox = await guest(text);
  using inside = await run(bench(...sandbox.plugins), recipeOf(["guest"]));
  using outside = await run(bench(plain), recipeOf(["guest"]));
  assertEquals(inside.files.get("model.safetensors"), outside.files.get("model.safetensors"));
});

Deno.test("sandbox: transforms, statistics, caches and figures cross the border", async () => {
  const text = source(
    "",
    "",
    `
  collect: () => {
    let tokens = 0;
    return { add: (x, rows) => void (tokens += rows), merge(o) { tokens += o.value(); }, value: () => tokens };
  },
  transform({ block }) {
    if (block.weight("mlp.up").length !== 24 * 16) throw new Error("wrong weight");
    if (block.statistics("mlp.up").tokens !== 72) throw new Error("wrong statistics");
    return [{ op: "scale", edge: "mlp.input", factors: new Float32Array(16).fill(2) }];
  },
  evaluate() {
    let rows = 0;
    return { add: (chunk) => void (rows += chunk.logProbabilities.array.length / chunk.vocabulary), result: () => ({ rows }) };
  },`,
  );
  using sandbox = await guest(text);
  using lowbit = bench(...sandbox.plugins);
  using result = await run(lowbit, recipeOf(["guest"]));
  const model = result.model;
  const windows = [Int32Array.of(1, 2, 3, 4)];
  assertEquals((await lowbit.evaluate({ model, windows })).rows, 3);
});

Deno.test("sandbox: the kit holds a plugin in it to the contract", async () => {
  using sandbox = await guest(source(""));
  const report = await inspectPlugin(sandbox.plugins[0], { schemes: ["int4_g32_asym"] });
  // The kernels inside are always WebAssembly, and give what the reference gives.
  assert(report.ok, JSON.stringify(report.checks));
});

const READ = 'import fs from "node:fs";';
const FORBIDDEN: [name: string, text: string, message: RegExp][] = [
  ["read a file", source('fs.readFileSync("deno.json");', READ), /Requires read access/],
  [
    "read a file as it is imported",
    source("", `${READ} fs.readFileSync("deno.json");`),
    /Requires read access/,
  ],
  [
    "import a file",
    source("", 'import config from "file:///etc/hosts.json" with { type: "json" };'),
    /Requires read access/,
  ],
  [
    "import a file later",
    source("", `await import("file://${ROOT}/deno.json", { with: { type: "json" } });`),
    /Requires read access/,
  ],
  ["write a file", source('fs.writeFileSync("stolen", "x");', READ), /Requires write access/],
  [
    "find the file system by name",
    source('Deno.readTextFileSync("deno.json");'),
    /Requires read access/,
  ],
  [
    "reach the network",
    source(
      "",
      'import net from "node:net"; await new Promise((done, fail) => net.connect(80, "127.0.0.1").on("connect", done).on("error", fail));',
    ),
    /Requires net access|NotCapable|not allowed/i,
  ],
  [
    "import from the network",
    source("", 'import "http://127.0.0.1:9/x.ts";'),
    /Requires import access|Requires net access/,
  ],
  ["fetch", source("", 'await fetch("http://127.0.0.1:8000");'), /Requires net access/],
  [
    "see the environment",
    source("process.env.HOME;", 'import process from "node:process";'),
    /Requires env access/,
  ],
  [
    "start a program",
    source('child.execSync("ls");', 'import child from "node:child_process";'),
    /Requires (run|env|read) access/,
  ],
];

for (const [name, text, message] of FORBIDDEN) {
  Deno.test(`sandbox: it cannot ${name}`, async () => assertMatch(await outcome(text), message));
}

Deno.test("sandbox: it cannot hang the run, in a hook or as it is imported", async () => {
  const short = { ...LIMITS, seconds: 2 };
  const ends = async (text: string) => (await apart(text, short)).message;
  assertMatch(await ends(source("for (;;);")), /guest\.ts: ran for more than 2 s/);
  assertMatch(await ends(source("", "for (;;);")), /guest\.ts: ran for more than 2 s/);
  assertMatch(await ends(source("", "await new Promise(() => {});")), /more than 2 s/);
});

Deno.test("sandbox: it cannot take the memory, in pieces, at once or as objects", async () => {
  const few = { ...LIMITS, bytes: 2 ** 28 };
  const grow = "const all = []; for (;;) all.push(new Uint8Array(2 ** 22).fill(1));";
  const atOnce = "new Uint8Array(2 ** 32).fill(1);";
  const objects = "const all = []; for (;;) all.push({ at: all.length, more: [1, 2, 3] });";
  for (const code of [grow, atOnce, objects]) {
    const { message, grown } = await apart(source(code), few);
    assertMatch(message, /took more than 268435456 bytes of memory/, code);
    // Memory is looked at every 10 ms: it was not let go on to where the machine has none left.
    assert(grown < 2 ** 31, code);
  }
});

Deno.test("sandbox: an error inside is an error of the plugin; gradients stay outside", async () => {
  assertEquals(
    await outcome(source('throw new Error("of its own");')),
    "guest.ts: Error: of its own",
  );
  const text = source("").replace('statistics: ["gram"]', "statistics: [], autodiff: true");
  assertMatch(await outcome(text), /guest: needs gradients, which a sandbox does not have/);
  assertMatch(await outcome("export const x = 1;"), /guest\.ts: exports no plugin/);
});

Deno.test("sandbox: the command line runs a plugin in it", async () => {
  using folder = temporary();
  const plugin = folder.text("guest.ts", source("").replace('["gram"]', "[]"));
  const recipe = folder.text(
    "r.yaml",
    "name: r\nassign: [{ select: ['blocks.*'], weight: int4_g64_asym }]\npipeline: [{ use: guest }]\n",
  );
  const quantize = (path: string, ...more: string[]) =>
    runDeno([
      ...["run", "--no-prompt", "--allow-read", "--allow-write"],
      ...[`${ROOT}/cli.ts`, "quantize", "embedded", folder.at("out"), "--recipe", recipe],
      ...["--plugin", path, "--sandbox", "--overwrite", "--quiet", ...more],
    ]);
  const { code, stderr } = await quantize(plugin);
  assertEquals([code, stderr], [0, ""]);
  const thief = folder.text("thief.ts", source('fs.readFileSync("deno.json");', READ));
  const refused = await quantize(thief);
  assertEquals(refused.code, 1);
  assertMatch(refused.stderr, /error\[PLUGIN\].*Requires read access/);
  const glutton = folder.text(
    "glutton.ts",
    source("new Uint8Array(2 ** 32).fill(1);").replace('["gram"]', "[]"),
  );
  const stopped = await quantize(glutton, "--sandbox-memory", "200MiB");
  assertEquals(stopped.code, 1);
  assertMatch(
    stopped.stderr,
    /^error\[PLUGIN\] [^\n]*glutton\.ts: took more than 209715200 bytes of memory; allow more with --sandbox-memory\n$/,
  );
});
