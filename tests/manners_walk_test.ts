/**
 * Manners that hold for all commands: one JSON document on stdout, silence with --quiet, no colours
 * where nobody sees them, an advice in every error; completions that shells accept; the gate of the
 * tutorial.
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { NONE, READ, ROOT, runCli, WRITE } from "./process.ts";
import { temporary, UNTIED } from "./temporary.ts";

/** A command line of each command that is done in a second; `OUT` is an empty folder. */
const LINES: Record<string, string[]> = {
  quantize: [UNTIED, "OUT/q", "--recipe", "rtn-w8"],
  plan: [UNTIED, "--recipe", "hawq-gptq", "--bits", "6", "--calibration", "OUT/ids.json"],
  eval: [UNTIED, "--ids", "OUT/ids.json"],
  compare: [UNTIED, "--ids", "OUT/ids.json", "--recipes", "rtn-w8", "--no-cache"],
  generate: ["embedded", "--prompt", "And the king", "--tokens", "2"],
  convert: [UNTIED, "OUT/c", "--to", "safetensors"],
  inspect: [UNTIED],
  verify: ["OUT/q/receipt.json"],
  lint: [UNTIED],
  formats: ["list"],
  plugins: ["list"],
  recipes: ["list"],
  schema: ["recipe"],
  doctor: [],
};
/** Serve until they are stopped; prints a program; needs a model with an adapter (see its own test). */
const OTHERS = ["web", "worker", "completions", "adapter"];

async function commandNames(): Promise<string[]> {
  const { stdout } = await runCli(["--help"], NONE);
  return [...stdout.matchAll(/^ {2}(\w+) {2,}/gm)].map((match) => match[1]);
}

Deno.test("every command: --json is one document, --quiet is silent, nothing is coloured", async (t) => {
  assertEquals([...Object.keys(LINES), ...OTHERS].sort(), (await commandNames()).sort());
  using place = temporary();
  const ids = Array.from(
    { length: 8 },
    (_, w) => Array.from({ length: 24 }, (_, i) => (w + i) % 40),
  );
  place.text("ids.json", JSON.stringify(ids));
  for (const [command, words] of Object.entries(LINES)) {
    const line = [command, ...words.map((word) => word.replace("OUT", place.path))];
    const again = ["quantize", "convert"].includes(command) ? ["--overwrite"] : [];
    await t.step(command, async () => {
      const { code, stdout, stderr } = await runCli([...line, "--json", "--quiet"], WRITE);
      assertEquals([code, stderr], [0, ""]);
      assertEquals(typeof JSON.parse(stdout), "object");
      const shown = await runCli([...line, ...again], WRITE);
      assertEquals(shown.code, 0, shown.stderr);
      // deno-lint-ignore no-control-regex
      assert(!/\x1b/.test(shown.stdout + shown.stderr), "escapes where there is no terminal");
      const events = await runCli([...line, ...again, "--events"], WRITE);
      for (
        const text of events.stderr.trimEnd().split("\n").filter((text) => text.startsWith("{"))
      ) {
        assertEquals(typeof JSON.parse(text).event, "string");
      }
    });
  }
});

Deno.test("every command: what it does not know is exit code 2 with an advice", async () => {
  for (const command of await commandNames()) {
    const { code, stdout, stderr } = await runCli([command, "--no-such-option"], READ);
    assertEquals([code, stdout], [2, ""], command);
    assertMatch(stderr, /^error\[USAGE\] unknown option --no-such-option; /, command);
  }
  assertMatch((await runCli(["--help"], NONE)).stdout, /^Exit codes: 0 done; 1 .* 2 .* 3 /m);
});

Deno.test("every error that is made in the command line and the engine has an advice", () => {
  const without: string[] = [];
  const walk = (folder: string) => {
    for (const { name, isDirectory } of Deno.readDirSync(folder)) {
      const path = `${folder}/${name}`;
      if (isDirectory) walk(path);
      else if (/(?<!_test)\.ts$/.test(name)) look(path);
    }
  };
  const look = (path: string) => {
    const source = Deno.readTextFileSync(path);
    for (const { index } of source.matchAll(/new LowbitError\(/g)) {
      // Up to the bracket that closes the call.
      let depth = 0, end = source.indexOf("(", index);
      do depth += source[end] === "(" ? 1 : source[end] === ")" ? -1 : 0; while (
        end++ < source.length && depth > 0
      );
      const call = source.slice(index, end);
      if (!call.includes("advice")) without.push(`${path.slice(ROOT.length)}: ${call}`);
    }
  };
  for (const folder of ["cli", "engine", "compare"]) walk(`${ROOT}/${folder}`);
  look(`${ROOT}/cli.ts`);
  assertEquals(without, []);
});

/** A shell that is on this machine, or undefined. */
function shellAt(name: string): string | undefined {
  const paths = ["/bin", "/usr/bin", "/usr/local/bin"].map((folder) => `${folder}/${name}`);
  return paths.find((path) => {
    try {
      return Deno.statSync(path).isFile;
    } catch {
      return false;
    }
  });
}

for (const [shell, check] of [["bash", "-n"], ["zsh", "-n"], ["fish", "--no-execute"]]) {
  const program = shellAt(shell);
  Deno.test({
    name: `${shell} accepts its completions`,
    ignore: program === undefined,
    async fn() {
      using place = temporary();
      const { stdout } = await runCli(["completions", shell], NONE);
      const script = place.text("completions", stdout);
      const { code, stderr } = await new Deno.Command(program!, { args: [check, script] }).output();
      assertEquals([code, new TextDecoder().decode(stderr)], [0, ""]);
    },
  });
}

Deno.test("the gate of the tutorial lets a good model through and stops a bad one", async () => {
  using place = temporary();
  const page = Deno.readTextFileSync(`${ROOT}/docs/tutorials/ci-engineer.md`);
  const gate = place.text("gate.ts", /```ts ignore file=gate\.ts\n(.*?)```/s.exec(page)![1]);
  const text = place.text(
    "text.txt",
    Deno.readTextFileSync(`${ROOT}/embedded/evaluation.txt`).slice(0, 6000),
  );
  for (const [recipe, wanted] of [["rtn-w8", 0], ["rtn-w2", 1]] as const) {
    const out = place.at(recipe);
    const made = await runCli(["quantize", "embedded", out, "--recipe", recipe, "--quiet"]);
    assertEquals(made.code, 0, made.stderr);
    const evaluate = ["eval", out, "--text", text, "--reference", "embedded", "--windows", "2"];
    const command = ["run", "--allow-read", `${ROOT}/cli.ts`, ...evaluate, "--json", "--quiet"];
    const { code, stdout } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--config", `${ROOT}/deno.json`, gate, Deno.execPath(), ...command],
    }).output();
    assertMatch(new TextDecoder().decode(stdout), /^KL [\d.e-]+ ± /);
    assertEquals(code, wanted, recipe);
  }
});
