/** Runs that are stopped anywhere: the next one goes on and ends with the same bytes. */

import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { memoryOutput } from "../formats/containers/output.ts";
import { diskWork } from "../formats/containers/work_folder.ts";
import type { QuantizeArguments } from "../engine/run_arguments.ts";
import { quantizeModel } from "../engine/quantize.ts";
import { presetRecipe } from "../recipes/mod.ts";
import { LowbitError, type Recipe, type RunEvent, type WorkFile } from "../spec/mod.ts";
import { bench, recipeOf, testPlugin, WINDOWS } from "./engine_bench.ts";
import { memoryWork } from "./memory_work.ts";
import { finished, runCli, startCli } from "./process.ts";
import { type Temporary, temporary, UNTIED } from "./temporary.ts";

const warns = testPlugin("warns", {
  compensate({ context, linear }) {
    context.warn(`sees ${linear.id}`);
    return {};
  },
});

/** Runs on the tiny model, with a work folder, and gives the files and the events. */
async function quantize(recipe: Recipe, more: Partial<QuantizeArguments> = {}) {
  const lowbit = bench(warns);
  const checkpoint = await lowbit.open(UNTIED);
  const output = memoryOutput("out");
  const events: RunEvent[] = [];
  try {
    await quantizeModel({
      checkpoint,
      recipe,
      output,
      target: lowbit.target(),
      plugins: lowbit.plugins,
      kernels: lowbit.kernels,
      codecs: lowbit.codecs,
      calibration: WINDOWS,
      onEvent: (event) => events.push(event),
      ...more,
    });
  } finally {
    checkpoint.close();
  }
  return { files: output.files, events };
}

const RECIPES: Recipe[] = [
  presetRecipe("gptq-w4g32"),
  recipeOf(["gptq", "warns"], { propagate: "quantized" }),
  presetRecipe("rtn-w4g32"),
  { ...presetRecipe("rtn-w4g32"), assign: [{ select: ["blocks.*"], weight: "lut4_channel" }] },
];

for (const [i, recipe] of RECIPES.entries()) {
  Deno.test(`failing at every write of the journal, then going on: recipe ${i}`, async () => {
    const expected = (await quantize(recipe)).files;
    let resumed = 0;
    for (let writes = 0;; writes++) {
      const { work, files } = memoryWork("out", writes);
      const failed = await quantize(recipe, { work }).then(() => false, (error) => {
        assert(error instanceof LowbitError && error.code === "IO", String(error));
        return true;
      });
      if (!failed) break;
      const again = await quantize(recipe, { work: memoryWork("out", Infinity, files).work });
      assertEquals(again.files, expected);
      if (again.events.some(({ event }) => event === "resume")) resumed++;
    }
    assert(resumed > 2, `${resumed} runs went on`);
  });
}

Deno.test("a journal of another recipe, other windows or another target is thrown away", async () => {
  const recipe = presetRecipe("gptq-w4g32");
  const other = presetRecipe("gptq-w3g32");
  const { work, files } = memoryWork("out");
  await quantize(recipe, { work });
  for (
    const [wanted, more] of [
      [other, {}],
      [recipe, { calibration: WINDOWS.slice(1) }],
    ] as const
  ) {
    const copy = new Map([...files].map(([name, bytes]) => [name, bytes.slice()]));
    const { files: made, events } = await quantize(wanted, {
      ...more,
      work: memoryWork("out", Infinity, copy).work,
    });
    assertEquals(made, (await quantize(wanted, more)).files);
    assert(!events.some(({ event }) => event === "resume"));
  }
});

Deno.test("a damaged journal is used up to the damage", async () => {
  const recipe = presetRecipe("gptq-w4g32");
  const expected = (await quantize(recipe)).files;
  const { work, files } = memoryWork("out");
  await quantize(recipe, { work });
  for (const name of files.keys()) {
    for (const keep of [0, 0.5, 0.9]) {
      const damaged = new Map(files);
      const bytes = files.get(name)!;
      damaged.set(name, bytes.slice(0, Math.floor(keep * bytes.length)));
      const again = await quantize(recipe, { work: memoryWork("out", Infinity, damaged).work });
      assertEquals(again.files, expected, `${name} cut to ${keep}`);
    }
  }
});

Deno.test("activations that live on disk give the bytes of those in memory", async () => {
  const lowbit = bench();
  const checkpoint = await lowbit.open(UNTIED);
  const recipe = presetRecipe("gptq-w4g32");
  const plan = (maxMemory?: number) =>
    lowbit.plan({ model: checkpoint, recipe, calibration: WINDOWS, maxMemory });
  const resident = plan();
  const spilled = plan(resident.memory_bytes - 1);
  checkpoint.close();
  assertEquals(spilled.conflicts, []);
  assert(spilled.memory_bytes < resident.memory_bytes);
  for (const propagate of ["original", "quantized"] as const) {
    const wanted = { ...recipe, propagate };
    const { work } = memoryWork("out");
    const maxMemory = resident.memory_bytes - 1;
    const { files } = await quantize(wanted, { work, maxMemory });
    assertEquals(files, (await quantize(wanted)).files);
  }
});

/** Everything that a run has left, by name. */
function contents(folder: Temporary, name: string): Map<string, Uint8Array> {
  const files = [...Deno.readDirSync(folder.at(name))].map((entry) => entry.name).sort();
  return new Map(files.map((file) => [file, Deno.readFileSync(folder.at(`${name}/${file}`))]));
}

/** Arguments of a run of some seconds. */
const longRun = (out: string) => [
  ...["quantize", "embedded", out, "--recipe", "gptq-w4g128", "--threads", "1", "--events"],
];

/** Starts it and waits for a line of its events. */
async function until(out: string, wanted: RegExp) {
  const child = startCli(longRun(out));
  const [watched, kept] = child.stderr.tee();
  const text = new Response(kept).text();
  for await (const line of watched.pipeThrough(new TextDecoderStream())) {
    if (wanted.test(line)) break;
  }
  return { child, text };
}

Deno.test("SIGKILL at three places and SIGINT at one: the run goes on, with the same bytes", async () => {
  using folder = temporary();
  const whole = await runCli(longRun(folder.at("whole")));
  assertEquals(whole.code, 0, whole.stderr);
  for (const moment of [/"detail":"block 0"/, /"done":1,"total":4/, /"detail":"block 3"/]) {
    const { child, text } = await until(folder.at("out"), moment);
    child.kill("SIGKILL");
    await child.status;
    await child.stdout.cancel();
    await text;
    assertEquals(folder.names().filter((name) => name !== "out.work"), ["whole"]);
  }
  const { child, text } = await until(folder.at("out"), /"detail":"block 3"/);
  child.kill("SIGINT");
  const { code } = await child.status;
  await child.stdout.cancel();
  const lines = (await text).trimEnd().split("\n").filter((line) => !line.startsWith("{"));
  assertEquals([code, lines], [1, [
    "error[IO] interrupted; nothing was written; the same command goes on from here",
  ]]);
  const last = await runCli(longRun(folder.at("out")));
  assertEquals(last.code, 0, last.stderr);
  assertMatch(last.stderr, /"event":"resume","blocks":[1-4],"total":4/);
  assertEquals(contents(folder, "out"), contents(folder, "whole"));
  assertEquals(folder.names(), ["out", "whole"]);
});

Deno.test("two runs on one output: the second is refused, and a dead owner holds nothing", async () => {
  using folder = temporary();
  const { child, text } = await until(folder.at("out"), /"calibrate"/);
  const second = await runCli([...longRun(folder.at("out")), "--quiet"]);
  assertEquals(second.code, 1);
  assertMatch(second.stderr, /^error\[LOCKED\] .*another run is writing this output; wait/m);
  child.kill("SIGKILL");
  await child.status;
  await child.stdout.cancel();
  await text;
  diskWork(folder.at("out")).discard();
  assertEquals(folder.names(), []);
});

Deno.test("no space left: one line that says so; with space the run goes on", async () => {
  using folder = temporary();
  const out = folder.at("out");
  // The shell's limit of the size of files stands for a full disk: blocks of 512 bytes or 1 KiB.
  const limited = new Deno.Command("sh", {
    args: [
      "-c",
      `trap '' XFSZ; ulimit -f 2000; exec "$@"`,
      "sh",
      Deno.execPath(),
      "run",
      "-A",
      "cli.ts",
      ...longRun(out).slice(0, -1),
      "--quiet",
    ],
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  });
  const { code, stderr } = await finished(limited.spawn());
  assertEquals(code, 1);
  assertMatch(stderr.trimEnd(), /^error\[IO\] [^\n]*out[^\n]*$/);
  assert(!folder.names().includes("out"));
  const last = await runCli(longRun(out));
  assertEquals(last.code, 0, last.stderr);
  assertEquals(folder.names(), ["out"]);
});

Deno.test("work folder: files, a lock for one, and what release and discard leave", async () => {
  using folder = temporary();
  const work = diskWork(folder.at("a/"));
  const file: WorkFile = work.open("x");
  file.write(2, Uint8Array.of(5));
  assertEquals(file.size, 3);
  const bytes = new Uint8Array(3);
  file.read(0, bytes);
  assertEquals([...bytes], [0, 0, 5]);
  await assertRejects(
    () => Promise.resolve().then(() => file.read(1, bytes)),
    LowbitError,
    "early",
  );
  file.truncate(1);
  assertEquals(file.size, 1);
  work.remove("x");
  work.remove("x");
  assertEquals(work.has("x"), false);
  work.release();
  assertEquals(folder.names(), ["a.work"]);
  diskWork(folder.at("a")).discard();
  assertEquals(folder.names(), []);
});
