/** Runs to one file and from several shards, stopped anywhere; signals; places that cannot be written. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { hashBytes } from "../engine/hash.ts";
import { embeddedPath } from "../embedded/mod.ts";
import { finished, ROOT, runCli, startCli } from "./process.ts";
import { readTensors, type Temporary, temporary, writeTensors } from "./temporary.ts";

/** Arguments of a run of some seconds. */
const run = (folder: Temporary, model: string, out: string, to: string) => [
  ...["quantize", model, out, "--to", to, "--threads", "1", "--events", "--recipe"],
  folder.text(
    "recipe.yaml",
    "name: r\nassign: [{ select: ['blocks.*'], weight: { base: int4_g64_sym, granularity: " +
      "{ kind: group, size: 32 }, scale_format: float16 } }]\npipeline: [{ use: gptq }]\n",
  ),
  ...["--calibration", "embedded"],
];

/** The embedded model in three files and an index. */
async function sharded(folder: Temporary): Promise<string> {
  const from = embeddedPath("model"), path = folder.at("sharded");
  const tensors = [...await readTensors(from)];
  Deno.mkdirSync(path);
  const map: Record<string, string> = {};
  for (let shard = 0; shard < 3; shard++) {
    const name = `model-0000${shard + 1}-of-00003.safetensors`;
    const part = tensors.filter((_, i) => i % 3 === shard);
    await writeTensors(`${path}/${name}`, new Map(part));
    for (const [tensor] of part) map[tensor] = name;
  }
  const index = { metadata: {}, weight_map: map };
  Deno.writeTextFileSync(`${path}/model.safetensors.index.json`, JSON.stringify(index));
  for (const file of ["config.json", "tokenizer.json", "tokenizer_config.json"]) {
    Deno.copyFileSync(`${from}/${file}`, `${path}/${file}`);
  }
  return path;
}

/** Starts a run and waits for a line of its events. */
async function until(args: string[], wanted: RegExp) {
  const child = startCli(args);
  const [watched, kept] = child.stderr.tee();
  const text = new Response(kept).text();
  for await (const line of watched.pipeThrough(new TextDecoderStream())) {
    if (wanted.test(line)) break;
  }
  return { child, text };
}

/** Stops a run by a signal; its code, and what it said beside events. */
async function stopped(args: string[], wanted: RegExp, signal: Deno.Signal) {
  const { child, text } = await until(args, wanted);
  child.kill(signal);
  const { code } = await child.status;
  await child.stdout.cancel();
  const lines = (await text).trimEnd().split("\n").filter((line) => !line.startsWith("{"));
  return { code, lines: lines.filter((line) => line !== "") };
}

/** The hashes of a file, or of the files of a folder. */
function hashes(path: string): string[] {
  if (Deno.statSync(path).isFile) return [hashBytes(Deno.readFileSync(path))];
  const names = [...Deno.readDirSync(path)].map(({ name }) => name).sort();
  return names.map((name) => `${name} ${hashBytes(Deno.readFileSync(`${path}/${name}`))}`);
}

for (
  const [what, to, model] of [
    ["a GGUF file", "gguf", () => Promise.resolve("embedded")],
    ["three shards to compressed-tensors", "compressed-tensors", sharded],
  ] as const
) {
  Deno.test(`SIGKILL and SIGTERM, ${what}: the run goes on, with the same bytes`, async () => {
    using folder = temporary();
    const from = await model(folder);
    const name = to === "gguf" ? "out.gguf" : "out";
    const whole = await runCli(run(folder, from, folder.at(`whole-${name}`), to));
    assertEquals(whole.code, 0, whole.stderr);
    const args = run(folder, from, folder.at(name), to);
    for (const moment of [/"detail":"block 1"/, /"detail":"block 3"/]) {
      await stopped(args, moment, "SIGKILL");
      assert(!folder.names().includes(name));
    }
    const { code, lines } = await stopped(args, /"detail":"block 3"/, "SIGTERM");
    assertEquals([code, lines], [1, [
      "error[IO] interrupted; nothing was written; the same command goes on from here",
    ]]);
    const last = await runCli(args);
    assertEquals(last.code, 0, last.stderr);
    assertMatch(last.stderr, /"event":"resume","blocks":[1-4],"total":4/);
    assertEquals(hashes(folder.at(name)), hashes(folder.at(`whole-${name}`)));
    assert(!folder.names().some((left) => left.endsWith(".work")));
  });
}

Deno.test("no space left for a GGUF file: one line, and nothing half-written", async () => {
  using folder = temporary();
  const args = run(folder, "embedded", folder.at("out.gguf"), "gguf").filter((arg) =>
    arg !== "--events"
  );
  const limited = new Deno.Command("sh", {
    args: [
      ...["-c", `trap '' XFSZ; ulimit -f 3000; exec "$@"`, "sh", Deno.execPath()],
      ...["run", "-A", "cli.ts", ...args, "--quiet"],
    ],
    cwd: ROOT,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  });
  const { code, stderr } = await finished(limited.spawn());
  assertEquals(code, 1);
  const lines = stderr.trimEnd().split("\n").filter((line) => !line.startsWith("warning"));
  assertEquals(lines.length, 1, stderr);
  assertMatch(lines[0], /^error\[IO\] .*out\.gguf/);
  assert(!folder.names().includes("out.gguf"));
});

Deno.test("a folder that cannot be written: one line, before anything is calibrated", async () => {
  using folder = temporary();
  Deno.mkdirSync(folder.at("closed"), { mode: 0o555 });
  let out = folder.at("closed/out");
  try {
    Deno.writeTextFileSync(folder.at("closed/file"), "");
    // The administrator may write to any folder of a disk, and to none of these.
    out = "/proc/lowbit/out";
  } catch {
    // closed for us
  }
  const { code, stderr } = await runCli([...run(folder, "embedded", out, "lowbit"), "--quiet"]);
  assertEquals(code, 1);
  const lines = stderr.trimEnd().split("\n").filter((line) => !line.startsWith("{"));
  assertEquals(lines.length, 1, stderr);
  assertMatch(lines[0], /^error\[(IO|NOT_FOUND)\] /);
  assert(!/"calibrate"/.test(stderr));
});
