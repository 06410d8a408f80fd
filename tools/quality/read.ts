/**
 * Reads the generated tables of quality back, for the page.
 *
 * @module
 */

import type { QualityRow } from "../../web/quality.ts";

/** The rows of all tables `docs/generated/quality-*.md` under a folder. */
export function qualityRows(root: string): QualityRow[] {
  const folder = `${root}/docs/generated`;
  const names = [...Deno.readDirSync(folder)].map(({ name }) => name)
    .filter((name) => /^quality-.*\.md$/.test(name)).sort();
  return names.flatMap((name) => parseQuality(Deno.readTextFileSync(`${folder}/${name}`)));
}

/**
 * The rows of one table.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { parseQuality } from "./read.ts";
 * const table = "# Quality on a toy\n\n| recipe | bits a weight | perplexity | KL | top-1 |\n" +
 *   "|---|---|---|---|---|\n| rtn-w8 | 8.1 | 30.04 | 0.0027 | 0.96 |\n";
 * const row = { model: "a toy", recipe: "rtn-w8", bits: 8.1, perplexity: 30.04, kl: 0.0027, top1: 0.96 };
 * assertEquals(parseQuality(table), [row]);
 * ```
 */
export function parseQuality(text: string): QualityRow[] {
  const model = /^# Quality on (.*)$/m.exec(text)?.[1] ?? "";
  const [head, , ...rows] = text.split("\n").filter((line) => line.startsWith("|"))
    .map((line) => line.split("|").slice(1, -1).map((cell) => cell.trim()));
  const number = (row: string[], column: string) => Number(row[head.indexOf(column)]);
  return rows.map((row) => ({
    model,
    recipe: row[0],
    bits: number(row, "bits a weight"),
    perplexity: number(row, "perplexity"),
    kl: number(row, "KL"),
    top1: number(row, "top-1"),
  })).filter(({ bits }) => Number.isFinite(bits));
}
