/** Every button of the atlas: what it runs goes through the program of the page's worker. */

import { assert } from "@std/assert";
import { parseQuality } from "../tools/quality/read.ts";
import { readMethods } from "../tools/methods.ts";
import { Session } from "../web/worker/session.ts";
import { ROOT } from "./process.ts";
import { read } from "./source_tree.ts";

const methods = readMethods(ROOT).filter(({ has }) => has !== undefined);

Deno.test("every method that lowbit has can be run, or says why not; figures are of these", () => {
  for (const { name, runs, idle } of methods) {
    assert((runs === undefined) !== (idle === undefined), `${name} has no button and no reason`);
  }
  const known = new Set(methods.map(({ runs }) => runs));
  const table = parseQuality(read("docs/generated/quality-methods.md"));
  assert(table.length > 20);
  for (const { recipe } of table) assert(known.has(recipe), `${recipe} is no button`);
});

for (const [runs, { recipe, cache }] of new Map(methods.map((method) => [method.runs, method]))) {
  if (runs === undefined) continue;
  Deno.test(`the button of ${runs}`, async () => {
    const session = await Session.start({ threads: 1, base: `file://${ROOT}/` });
    try {
      await session.open({ files: "embedded" });
      if (recipe !== undefined) {
        const { bits } = await session.quantize({ recipe, to: "lowbit" }, () => {});
        assert(bits > 0 && bits < 16, String(bits));
      }
      const figures = await session.evaluate({ windows: 1, length: 64, cache }, () => {});
      assert(figures.kl > 0 && Number.isFinite(figures.perplexity), JSON.stringify(figures));
    } finally {
      session.close();
    }
  });
}
