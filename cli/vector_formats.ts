/**
 * What `lowbit formats` does with vector formats.
 *
 * @module
 */

import { stringify } from "@std/yaml";
import { checkVectorFormat } from "../formats/vectors/check.ts";
import { type VectorFacts, vectorFacts, vectorSizes } from "../formats/vectors/facts.ts";
import type { VectorFormat } from "../spec/mod.ts";
import type { Arguments } from "./arguments.ts";
import { plain, print } from "./lists.ts";
import { table } from "./table.ts";

/** A vector format as `formats list` shows it. */
export function describeVector(
  format: VectorFormat,
): { id: string; family: string; bits_per_weight: number; summary: string } {
  const { id, family, summary } = format;
  return { id, family, bits_per_weight: vectorSizes(format).bits_per_weight, summary };
}

/** `formats show`. */
export function showVectorFormat(args: Arguments, format: VectorFormat): void {
  const { id, family, ...rest } = format;
  const facts = vectorFacts(format);
  const document = { id, family, facts, definition: plain({ family, ...rest }) };
  print(args, document, () =>
    [
      `${id}: ${format.summary}`,
      describeFacts(facts),
      stringify(plain(format)).trimEnd(),
    ].join("\n"));
}

/** `formats test`; the exit code says whether everything holds. */
export function testVectorFormat(args: Arguments, file: string, format: VectorFormat): number {
  const checks = checkVectorFormat(format);
  const facts = vectorFacts(format);
  const ok = checks.every((check) => check.ok);
  print(args, { file, id: format.id, ok, checks, facts }, () =>
    [
      table(
        [format.id, "", ""],
        checks.map((check) => [check.ok ? "ok" : "FAILED", check.name, check.detail]),
      ),
      describeFacts(facts),
    ].join("\n"));
  return ok ? 0 : 1;
}

function describeFacts({ elements, code_bits, bits_per_weight, sqnr_db }: VectorFacts): string {
  const size = `${elements} element${elements === 1 ? "" : "s"}, ${code_bits} bits each; ` +
    `${bits_per_weight} bits a weight of a 4096 x 4096 matrix with tables and scales`;
  if (!sqnr_db) return size;
  const { gaussian, laplace, student_t } = sqnr_db;
  return `${size}\nSQNR of 64 x 256 elements: Gaussian ${gaussian} dB, Laplace ${laplace} dB, ` +
    `Student t ${student_t} dB`;
}
