/** Completions and the doctor: what a shell and a person get. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { NONE, runCli, runJson } from "./process.ts";

const COMMANDS = ["quantize", "compare", "eval", "doctor", "completions"];

for (const shell of ["bash", "zsh", "fish"]) {
  Deno.test(`completions of ${shell} name every command and option`, async () => {
    const { code, stdout, stderr } = await runCli(["completions", shell], NONE);
    assertEquals(code, 0, stderr);
    for (const name of [...COMMANDS, "max-memory", "sweep", "report", "debug"]) {
      assertStringIncludes(stdout, name);
    }
  });
}

Deno.test("bash completes commands, and options of the command", async () => {
  const { stdout } = await runCli(["completions", "bash"], NONE);
  const complete = async (...words: string[]) => {
    const script = `${stdout}\nCOMP_WORDS=(${words.map((w) => `'${w}'`).join(" ")})\n` +
      `COMP_CWORD=${words.length - 1}\n_lowbit\nprintf '%s\\n' "\${COMPREPLY[@]}"`;
    const bash = new Deno.Command("bash", { args: ["--norc", "-c", script] });
    const { code, stdout: out, stderr } = await bash.output();
    assertEquals(code, 0, new TextDecoder().decode(stderr));
    return new TextDecoder().decode(out).trim().split("\n");
  };
  assertEquals(await complete("lowbit", "qua"), ["quantize"]);
  assertEquals(await complete("lowbit", "quantize", "--max"), ["--max-memory"]);
  assertEquals(await complete("lowbit", "compare", "--sw"), ["--sweep"]);
});

Deno.test("an unknown shell is an error with advice", async () => {
  const { code, stderr } = await runCli(["completions", "fisch"], NONE);
  assertEquals(code, 1);
  assertStringIncludes(stderr, "fish");
});

Deno.test("the doctor knows what the kernels need", async () => {
  const found = await runJson(["doctor"], NONE);
  assertEquals([found.simd, found.cores > 0], [true, true]);
  assert(found.kernels.startsWith("wasm"), found.kernels);
  assertEquals(found.memory_bytes, undefined);
  const seen = await runJson(["doctor"], ["--allow-sys"]);
  assert(seen.memory_bytes > 1e8);
  const { stdout } = await runCli(["doctor"], NONE);
  assertStringIncludes(stdout, "relaxed SIMD");
});
