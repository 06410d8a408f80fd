/** `lowbit formats conform` and `formats test --vectors`, as processes. */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { splitCommand } from "../cli/conform.ts";
import { ROOT, runCli, runJson } from "./process.ts";
import { temporary, writeTensors } from "./temporary.ts";

const ALL = ["--allow-read", "--allow-write", "--allow-run"];
const deno = `"${Deno.execPath()}" run --no-prompt --allow-read --allow-write`;
const OURS = `${deno} "${ROOT}/cli.ts" formats encode {id} {in} {out} --rounding={rounding} ` +
  "--overflow={overflow} --scale-rule={scale_rule} --bits={bits}";

/** Runs conform and gives its document, whatever the exit code. */
async function conform(args: string[], permissions = ALL) {
  const { code, stdout, stderr } = await runCli(
    ["formats", "conform", "--json", ...args],
    permissions,
  );
  assert(stdout.startsWith("{"), stderr);
  const { entries, ok } = JSON.parse(stdout);
  assertEquals(code, ok ? 0 : 1);
  return entries as {
    name: string;
    cases: number;
    failed: number;
    first?: string;
    skipped?: string;
  }[];
}

Deno.test("our own command line passes as the other program", async () => {
  const ids = [
    "float4_e2m1fn/gfloat",
    "float8_e5m2/onnxruntime",
    "mxfp4/torchao/even",
    "q8_0",
    "ggml_q4_0",
    "ggml_mxfp4", // a scheme and a layout
  ];
  const entries = await conform([...ids.flatMap((id) => ["--id", id]), "--exec", OURS]);
  assertEquals(entries.filter(({ failed, skipped }) => failed > 0 || skipped), []);
  assert(entries.length >= 10 && entries.every(({ cases }) => cases > 200));
});

Deno.test("a wrong program fails, with the first difference", async () => {
  const exec = `${deno} "${ROOT}/tests/programs/rounds_down.ts" {id} {in} {out}`;
  const [entry] = await conform(["--id", "float4_e2m1fn/ml_dtypes", "--exec", exec]);
  assert(entry.failed > 100 && entry.failed < entry.cases);
  assertMatch(entry.first!, /^codes\[\d+\] of \S+ is \d+, expected \d+$/);
});

Deno.test("programs that die, hang, refuse, or write nonsense are told apart", async () => {
  const run = async (code: string, ...more: string[]) => {
    const exec = `"${Deno.execPath()}" eval '${code}' {in} {out}`;
    return (await conform(["--id", "int4/onnxruntime", "--exec", exec, ...more]))[0];
  };
  const dies = await run("console.error(`out of luck`); Deno.exit(3)");
  assertEquals(dies.first, "the program ended with exit code 3: out of luck");
  assertEquals(dies.failed, dies.cases);
  assertEquals((await run("")).first, "the program wrote no file {out}");
  const nonsense = await run("Deno.writeTextFileSync(Deno.args[1], `nonsense`)");
  assertStringIncludes(nonsense.first!, "the program wrote no readable safetensors file");
  const copies = await run("Deno.copyFileSync(Deno.args[0], Deno.args[1])");
  assertEquals(copies.first, "the program wrote no x.codes and no x.values, but: x");
  const hangs = await run("await new Promise((done) => setTimeout(done, 1e5))", "--timeout", "1");
  assertEquals(hangs.first, "ran longer than 1 seconds");
  const refuses = await run("console.error(`not mine`); Deno.exit(77)");
  assertEquals([refuses.skipped, refuses.cases], ["not mine", 0]);
});

Deno.test("conform without a program runs our own codecs", async () => {
  const entries = await conform(["--id", "mxfp4", "--id", "nf4"], ["--allow-read"]);
  assert(entries.filter(({ skipped }) => !skipped).length >= 8);
  assertEquals(entries.filter(({ failed }) => failed > 0), []);
});

Deno.test("conform: bad command lines get one line", async () => {
  const cases: [string[], string[], RegExp][] = [
    [["--exec", "prog {in}"], ALL, /^error\[USAGE\] --exec needs \{in\} and \{out\}/],
    [["--exec", "prog {in} {out} {ids}"], ALL, /^error\[USAGE\] .* unknown placeholder \{ids\}/],
    [["--id", "nothing"], ALL, /^error\[NOT_FOUND\] .*no entry is of that id and kind/],
    [["--vectors", "nowhere"], ALL, /^error\[NOT_FOUND\] nowhere\/manifest.json: there is no/],
    [
      ["--id", "int4", "--exec", "no-such-program {in} {out}"],
      ALL,
      /^error\[NOT_FOUND\] no-such-program: there is no such program/,
    ],
    [
      ["--id", "int4", "--exec", `"${Deno.execPath()}" {in} {out}`],
      ["--allow-read", "--allow-write"],
      /^error\[IO\] .*deno: may not be started; formats conform --exec needs --allow-run/,
    ],
  ];
  for (const [args, permissions, message] of cases) {
    const { code, stderr } = await runCli(["formats", "conform", ...args], permissions);
    assertMatch(stderr.trim(), message);
    assert(code !== 0 && stderr.trim().split("\n").length === 1);
  }
});

Deno.test("commands are split into words without a shell", () => {
  assertEquals(splitCommand(`"a b" 'c d' e"f g" --x={in} {out}`), [
    "a b",
    "c d",
    "ef g",
    "--x={in}",
    "{out}",
  ]);
});

Deno.test("formats test takes vectors of a user's format", async () => {
  using folder = temporary();
  const yaml = folder.text(
    "mine.yaml",
    "id: mine\nsummary: three levels\nfamily: codebook\nbits: 2\nvalues: [-1, 0, 1, null]\n",
  );
  const write = async (file: string, codes: number[]) => {
    const x = Float32Array.of(-3, 0.1, 0.9);
    await writeTensors(
      folder.at(file),
      new Map([
        ["x", { shape: [3], values: x }],
        ["codes", { shape: [3], values: Uint8Array.from(codes) }],
      ]),
    );
    return folder.at(file);
  };
  const good = await runJson([
    "formats",
    "test",
    yaml,
    "--vectors",
    await write("good", [0, 1, 2]),
  ]);
  assertEquals([good.ok, good.checks.at(-1).detail], [true, "3 cases"]);
  const args = ["formats", "test", yaml, "--vectors", await write("bad", [0, 1, 1]), "--json"];
  const { code, stdout } = await runCli(args);
  assertEquals(code, 1);
  const { name, ok, detail } = JSON.parse(stdout).checks.at(-1);
  assertEquals([name.startsWith("vectors of "), ok], [true, false]);
  assertEquals(detail, "codes[2] of 0.8999999761581421 is 2, expected 1");
});
