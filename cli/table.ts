/**
 * Tables and sizes for people. The one module that sees the table library.
 *
 * @module
 */

import Table from "cli-table3";
import { printable } from "../spec/mod.ts";

/** A table with a head; columns of numbers are aligned right. */
export function table(head: string[], rows: (string | number)[][]): string {
  const right = head.map((_, column) => rows.every((row) => isNumeric(row[column])));
  const result = new Table({
    head,
    colAligns: right.map((numeric) => numeric ? "right" : "left"),
    style: { head: [], border: [], compact: true },
  });
  for (const row of rows) result.push(row.map((cell) => printable(String(cell))));
  return result.toString();
}

function isNumeric(cell: string | number | undefined): boolean {
  return cell === undefined || cell === "" || cell === "-" || /^[-\d.,]/.test(String(cell));
}

/** Bytes in a unit that people read: `8.4 MB`. */
export function formatBytes(bytes: number): string {
  for (const [unit, size] of [["GB", 1e9], ["MB", 1e6], ["kB", 1e3]] as const) {
    if (bytes >= size) return `${(bytes / size).toFixed(2)} ${unit}`;
  }
  return `${bytes} B`;
}
