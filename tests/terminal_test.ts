/**
 * The command line on a terminal: with the documented permissions nothing may ask for another one,
 * and bars are drawn. Where there is no terminal a missing permission is refused without a word, so
 * only this shows it. Needs `script` of util-linux.
 */

import { assert, assertEquals } from "@std/assert";

const root = new URL("..", import.meta.url).pathname;

/** Runs a command line on a terminal of its own; what it showed, and its exit code. */
async function onTerminal(permissions: string[], args: string[]) {
  const folder = await Deno.makeTempDir();
  try {
    const words = [Deno.execPath(), "run", ...permissions, `${root}cli.ts`, ...args];
    const command = words.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(" ");
    const { code } = await new Deno.Command("timeout", {
      args: ["90", "script", "-qefc", command, `${folder}/shown`],
      stdin: "null",
      stdout: "null",
      stderr: "null",
      cwd: root,
    }).output();
    return { code, shown: await Deno.readTextFile(`${folder}/shown`) };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("no command asks for more than its documented permissions", async () => {
  const out = await Deno.makeTempDir();
  const text = "embedded/evaluation.txt";
  const write = ["--allow-read", "--allow-write"];
  const cases: [permissions: string[], args: string[]][] = [
    [write, ["quantize", "embedded", `${out}/a`, "--recipe", "gptq-w4g128"]],
    [["--allow-read"], ["eval", "embedded", "--text", text, "--windows", "4"]],
    [["--allow-read"], ["generate", "embedded", "--prompt", "And the king", "--tokens", "6"]],
    [["--allow-read"], ["inspect", "embedded"]],
    [["--allow-read"], ["formats", "compare", "nf4", "--on", "embedded"]],
    [[], ["formats", "show", "nf4"]],
    [[], ["formats", "list"]],
    [[], ["recipes"]],
    [[], ["plugins"]],
    [[], ["schema", "recipe"]],
  ];
  try {
    for (const [permissions, args] of cases) {
      const { code, shown } = await onTerminal(permissions, args);
      assert(!shown.includes("Deno requests"), `${args[0]} asks:\n${shown}`);
      assertEquals(code, 0, shown);
      if (args[0] === "quantize") assert(shown.includes("█") || shown.includes("░"), "no bar");
    }
  } finally {
    await Deno.remove(out, { recursive: true });
  }
});
