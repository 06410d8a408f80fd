/** Runs the commands of docs/new-format.md in an empty folder, as a reader would. */

import { assert, assertEquals, assertMatch } from "@std/assert";

interface Block {
  kind: "yaml" | "sh";
  info: string;
  text: string;
}

const root = new URL("..", import.meta.url).pathname;

function blocksOf(markdown: string): Block[] {
  return [...markdown.matchAll(/```(yaml|sh)([^\n]*)\n(.*?)```/gs)].map(
    ([, kind, info, text]) => ({ kind: kind as Block["kind"], info: info.trim(), text }),
  );
}

Deno.test("docs/new-format.md: every file is written, every command does what the text says", async () => {
  const blocks = blocksOf(await Deno.readTextFile(`${root}docs/new-format.md`));
  const folder = await Deno.makeTempDir();
  let commands = 0;
  try {
    for (const { kind, info, text } of blocks) {
      if (kind === "yaml") await Deno.writeTextFile(`${folder}/${info.split("=")[1]}`, text);
    }
    for (const { kind, info, text } of blocks) {
      if (kind !== "sh") continue;
      for (const line of text.trim().split("\n")) {
        const args = [...line.matchAll(/"([^"]*)"|(\S+)/g)].map((m) => m[1] ?? m[2]);
        assertEquals(args.shift(), "lowbit");
        const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
          args: ["run", "--allow-read", "--allow-write", `${root}cli.ts`, ...args],
          cwd: folder,
        }).output();
        const [out, err] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
        if (info === "fails") {
          assertEquals(code, 1);
          assertMatch(err.trim(), /^error\[SCHEMA\] float5-wrong\.yaml:4: bits: .*6/);
        } else assertEquals(code, 0, `${line}\n${out}${err}`);
        if (args[0] === "inspect") assert(out.includes("float5_g64_sym"), out);
        if (args.includes("--dry-run")) assert(out.includes("float5_g32_sym"), out);
        commands++;
      }
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
  assertEquals(commands, 6);
});
