/** The tables of quality: that they are what their figures give, and what they say of them. */

import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { parseCases } from "../tools/quality/cases.ts";
import { qualityTable, type Row } from "../tools/quality/table.ts";

const root = new URL("../", import.meta.url);
const read = (path: string) => Deno.readTextFileSync(new URL(path, root));

for (const name of ["embedded", "stories260k", "smollm2"]) {
  Deno.test(`the table of quality on ${name} is that of its figures`, () => {
    const figures = JSON.parse(read(`docs/generated/quality-${name}.json`));
    const table = qualityTable(parseCases(read(`tools/quality/${name}.yaml`)), figures);
    assertEquals(read(`docs/generated/quality-${name}.md`), table);
  });
}

const CASES = parseCases(`
title: a toy
rows:
  - { recipe: rtn-w3g64 }
  - { recipe: rtn-w4g64 }
  - { recipe: good, baseline: rtn-w4g64, peers: [{ kl: 0.0512, source: exact }] }
  - { recipe: bad, baseline: rtn-w4g64, peers: [{ kl: 0.1, source: better }], note: For a reason. }
  - { recipe: planned, baseline: rtn-w4g64, budget: true }
`);

function row(name: string, bits_quantized: number, kl: number): Row {
  const rest = { perplexity: 9, top1: 0.5, seconds: 1, peak_mib: 1, kernels: "k", threads: 1 };
  return { name, bits: 9, bits_quantized, kl, ...rest, version: "v", date: "2026-01-01" };
}

Deno.test("a table says which methods do not beat their baseline or another implementation", () => {
  const rows = [row("rtn-w4g64", 4, 0.1), row("good", 4, 0.05), row("bad", 4, 0.12)];
  const table = qualityTable(CASES, {
    ...{ perplexity: 8, windows: 2, length: 4, predictions: 6, rows },
  });
  assertStringIncludes(table, "1 of 2 rows with a baseline are better");
  assertStringIncludes(table, "- `bad`: KL 1.200 times that of `rtn-w4g64`. For a reason.");
  assertStringIncludes(table, "1 of 2 figures of other implementations");
  assertStringIncludes(table, "- `bad`: KL 0.1200, better 0.1. For a reason.");
  assertEquals(table.includes("`good`"), false);
});

Deno.test("a plan is compared with uniform schemes of the same bits, between them on a line", () => {
  const rows = [row("rtn-w3g64", 3, 0.4), row("rtn-w4g64", 4, 0.1), row("planned", 3.5, 0.1)];
  const table = qualityTable(CASES, {
    ...{ perplexity: 8, windows: 2, length: 4, predictions: 6, rows },
  });
  // The geometric mean of 0.4 and 0.1 is 0.2.
  assertStringIncludes(
    table,
    "| planned | 3.500 | 9.0000 | 0.1000 | 0.2000 | 0.500 | yes | yes | 1.0 |",
  );
});

Deno.test("baselines that are no rows, rows of one name and unknown fields are refused", () => {
  const rows = (text: string) => () => parseCases(`title: x\nrows:\n${text}`);
  assertThrows(rows("  - { recipe: a, baseline: b }"), Error, "the baseline b of a is no row");
  assertThrows(rows("  - { recipe: a }\n  - { recipe: a }"), Error, "two rows are called a");
  assertThrows(rows("  - { recipe: a, bit: 4 }"), Error, "a has an unknown field bit");
});
