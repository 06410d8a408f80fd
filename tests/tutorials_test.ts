/** Runs every block of docs/tutorials in an empty folder, as a reader would. */

import { assert, assertEquals } from "@std/assert";
import { ROOT } from "./process.ts";
import { temporary } from "./temporary.ts";

const folder = `${ROOT}/docs/tutorials`;
const pages = [...Deno.readDirSync(folder)].map(({ name }) => name).filter((n) =>
  n !== "README.md"
);

/** How the names of the package are resolved in a checkout. */
const EXPORTS: Record<string, string> =
  JSON.parse(Deno.readTextFileSync(`${ROOT}/deno.json`)).exports;

function resolved(source: string): string {
  return source.replace(
    /"@lowbit\/lowbit(\/[a-z]+)?"/g,
    (_, path = "") => `"file://${ROOT}/${EXPORTS[`.${path}`].slice(2)}"`,
  );
}

for (const page of pages.sort()) {
  Deno.test(`docs/tutorials/${page}`, async () => {
    using place = temporary();
    place.text(
      "text.txt",
      Deno.readTextFileSync(`${ROOT}/embedded/evaluation.txt`).slice(0, 12000),
    );
    const markdown = Deno.readTextFileSync(`${folder}/${page}`);
    const blocks = [...markdown.matchAll(/```(\w+)([^\n]*)\n(.*?)```/gs)];
    for (const [, , info, text] of blocks) {
      const name = /file=(\S+)/.exec(info)?.[1];
      if (name) place.text(name, resolved(text));
    }
    let commands = 0;
    for (const [, kind, , text] of blocks) {
      if (kind !== "sh") continue;
      for (const line of text.trim().split("\n")) {
        const words = [...line.matchAll(/"([^"]*)"|(\S+)/g)].map((m) => m[1] ?? m[2])
          .map((word) => word === "TEXT" ? "text.txt" : word);
        const args = words[0] === "lowbit"
          ? ["run", "--allow-read", "--allow-write", `${ROOT}/cli.ts`, ...words.slice(1)]
          : ["run", "-A", "--config", `${ROOT}/deno.json`, ...words.slice(3)];
        const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
          args,
          cwd: place.at("."),
        }).output();
        const said = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
        assertEquals(code, 0, `${line}\n${said}`);
        commands++;
      }
    }
    assert(commands >= 1, page);
  });
}

Deno.test("there is a tutorial for each of the six", () => {
  assertEquals(pages.length, 5); // and docs/new-format.md, which tutorial_test.ts runs
});
