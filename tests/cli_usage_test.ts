/** The command line used wrongly: one line each that says what to type instead, and exit code 2. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { NONE, READ, ROOT, runCli } from "./process.ts";
import { UNTIED } from "./temporary.ts";

Deno.test("usage: names and options that do not exist, with exit code and nearest name", async (t) => {
  const cases: [args: string[], code: number, message: RegExp][] = [
    [[], 2, /^$/],
    [["quantise"], 2, /^error\[USAGE\] unknown command "quantise"; did you mean "quantize"\?$/],
    [
      ["inspect", "--jsn", UNTIED],
      2,
      /^error\[USAGE\] unknown option --jsn; did you mean --json\?$/,
    ],
    [["inspect"], 2, /^error\[USAGE\] too few arguments: 0 of 1; see `lowbit inspect --help`$/],
    [["inspect", "a", "b"], 2, /^error\[USAGE\] unexpected argument "b"/],
    [["quantize", UNTIED, "o"], 2, /^error\[USAGE\] --recipe is missing/],
    [
      ["quantize", UNTIED, "o", "--recipe", "rtn-w4g64", "--threads", "two"],
      2,
      /--threads must be a whole number/,
    ],
    [
      ["quantize", UNTIED, "o", "--recipe", "rtn-w4g64", "--threads=-1"],
      2,
      /--threads must be a whole number/,
    ],
    [
      ["quantize", UNTIED, "o", "--recipe", "rtn-w4g64", "--max-memory", "lots"],
      2,
      /--max-memory must be a size such as 2GiB, not "lots"/,
    ],
    [
      ["quantize", UNTIED, "o", "--recipe", "rtn-w4g64", "--recipe", "rtn-w8"],
      2,
      /--recipe is given more than once/,
    ],
    [["eval", UNTIED], 2, /^error\[USAGE\] give either --text or --ids/],
    [["eval", UNTIED, "--ids", "a", "--context", "1"], 2, /--context must be at least 2/],
    [["eval", UNTIED, "--ids", "a", "--windows", "0"], 2, /--windows must be at least 1/],
    [["generate", UNTIED], 2, /^error\[USAGE\] --prompt is missing/],
    [["formats", "shw", "int4"], 2, /^error\[USAGE\] cannot do "shw int4"/],
    [["plugins", "lst"], 2, /^error\[USAGE\] unknown action "lst"; did you mean "list"\?/],
    [["recipes", "show"], 2, /^error\[USAGE\] show needs a name/],
    [
      ["quantize", UNTIED, "o", "--recipe", "rtn-w4g64", "--to", "ggf"],
      1,
      /^error\[UNKNOWN_NAME\] unknown target "ggf"; did you mean "gguf"\?/,
    ],
    [
      ["quantize", UNTIED, "o", "--recipe", "gtpq-w4g64"],
      1,
      /^error\[UNKNOWN_NAME\] unknown recipe "gtpq-w4g64"; did you mean "gptq-w4g64"\?/,
    ],
    [
      ["formats", "show", "int44"],
      1,
      /^error\[UNKNOWN_NAME\] unknown format "int44"; did you mean "int4"\?/,
    ],
    [
      ["plugins", "show", "gtpq"],
      1,
      /^error\[UNKNOWN_NAME\] unknown plugin "gtpq"; did you mean "gptq"\?/,
    ],
    [["recipes", "show", "rtn-w4g64x"], 1, /did you mean "rtn-w4g64"\?/],
    [
      ["schema", "recipes"],
      1,
      /^error\[UNKNOWN_NAME\] unknown schema "recipes"; did you mean "recipe"\?/,
    ],
  ];
  for (const [args, code, message] of cases) {
    await t.step(args.join(" ").replaceAll(ROOT, ""), async () => {
      const result = await runCli(args, READ);
      assertEquals(result.code, code, result.stderr);
      assertMatch(result.stderr.trimEnd(), message);
      assert(result.stderr.trimEnd().split("\n").length === 1, result.stderr);
    });
  }
});

Deno.test("--help of every command names its options; --version is the version", async () => {
  const { stdout: all } = await runCli(["--help"], NONE);
  const names = [...all.matchAll(/^ {2}(\w+) {2,}/gm)].map((match) => match[1]);
  assert(names.length > 12, names.join());
  for (const name of names) {
    const source = Deno.readTextFileSync(
      `${ROOT}/cli/${["plugins", "recipes", "schema"].includes(name) ? "lists" : name}.ts`,
    );
    const { code, stdout } = await runCli([name, "--help"], NONE);
    assertEquals(code, 0);
    assertMatch(stdout, new RegExp(`^usage: lowbit ${name}\\b`, "m"));
    const options = name === "quantize" || !source.includes("export const pluginsCommand")
      ? [...source.matchAll(/name: "([a-z-]+)",\s+type:/g)].map((match) => match[1])
      : [];
    for (const option of [...options, "json", "events", "quiet", "debug", "help"]) {
      assertMatch(stdout, new RegExp(`^  --${option}[ =]`, "m"));
    }
  }
  const { version } = JSON.parse(Deno.readTextFileSync(`${ROOT}/deno.json`));
  assertEquals((await runCli(["--version"], NONE)).stdout.trim(), version);
});

Deno.test("a missing permission is one line that names it", async () => {
  const { code, stderr } = await runCli(["inspect", UNTIED], NONE);
  assertEquals([code, stderr.trimEnd().split("\n").length], [1, 1]);
  assertMatch(stderr, /^error\[IO\] .*untied: no permission to read it; run with --allow-read$/m);
});

Deno.test("a reader that goes away ends the command quietly", async () => {
  const child = new Deno.Command("sh", {
    args: ["-c", `${Deno.execPath()} run ${ROOT}/cli.ts formats | true`],
    env: { NO_COLOR: "1" },
    stdout: "piped",
    stderr: "piped",
  });
  const { stdout, stderr } = await child.output();
  assertEquals([stdout.length, new TextDecoder().decode(stderr)], [0, ""]);
});
