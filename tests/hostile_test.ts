/** The hostile corpus: every broken file has its one clear line, every odd valid one is read. */

import { assert, assertEquals } from "@std/assert";
import { corpus } from "../tools/hostile/make.ts";
import { outcome } from "../tools/hostile/readers.ts";
import { read } from "./source_tree.ts";

interface Stored {
  reader: string;
  name: string;
  files: Record<string, string>;
  expect: string;
}

const text = read("tests/hostile/corpus.json");
const cases: Stored[] = JSON.parse(text);
const broken = (expect: string, result: string) =>
  expect.startsWith("error[") || result.startsWith("error[");

Deno.test("the hostile corpus is what its script makes", () => {
  assertEquals(text === corpus(), true, "run tools/hostile/make.ts");
});

Deno.test("hostile files: each reader says what is expected, in time", async (t) => {
  let [refused, valid] = [0, 0];
  for (const { reader, name, files, expect } of cases) {
    await t.step(`${reader}: ${name}`, async () => {
      const bytes = Object.entries(files).map(([file, base64]): [string, Uint8Array] => [
        file,
        Uint8Array.from(atob(base64), (c) => c.charCodeAt(0)),
      ]);
      const result = await outcome(reader, new Map(bytes));
      assert(result.includes(expect), `${result.slice(0, 300)}, expected ${expect}`);
      assert(!result.includes("\n"), "the error has one line");
      if (broken(expect, result)) refused++;
      else valid++;
    });
  }
  console.log(`hostile: ${refused} broken files, ${valid} unusual but valid`);
  assert(refused >= 150 && valid >= 50, `${refused} broken, ${valid} valid`);
  assertEquals(({} as Record<string, unknown>).x, undefined, "a prototype was changed");
});
