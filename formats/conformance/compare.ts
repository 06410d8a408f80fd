/**
 * Comparing the outputs of a program with conformance vectors.
 *
 * @module
 */

import type { VectorBound, VectorEntry, VectorRole } from "../../spec/mod.ts";
import type { VectorTensors } from "./vectors.ts";

/** The outputs of a program for one entry. */
export type VectorOutputs = Partial<Record<VectorRole, ArrayLike<number>>>;

/** How one entry went. */
export interface EntryReport {
  /** The name of the entry. */
  name: string;
  /** What it is. */
  kind: VectorEntry["kind"];
  /** The id of the catalog. */
  id: string;
  /** The oracle and its version. */
  oracle: string;
  /** Numbers compared. */
  cases: number;
  /** How many of them differ. */
  failed: number;
  /** The first difference. */
  first?: string;
  /** Why it was not tried. */
  skipped?: string;
}

/**
 * The report of an entry that was not tried.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { skipped } from "./compare.ts";
 * const oracle = { package: "torch", version: "2.15.0", call: "round" };
 * const entry = { name: "a/b", kind: "number", id: "a", oracle, cases: 3, hold: "exact" } as const;
 * assertEquals(skipped({ ...entry, tensors: {} }, "no such format").skipped, "no such format");
 * ```
 */
export function skipped(entry: VectorEntry, reason: string): EntryReport {
  return { ...head(entry), cases: 0, failed: 0, skipped: reason };
}

function head({ name, kind, id, oracle }: VectorEntry) {
  return { name, kind, id, oracle: `${oracle.package} ${oracle.version}` };
}

/** Outputs that are compared for each kind of entry. */
const COMPARED: Record<VectorEntry["kind"], VectorRole[]> = {
  number: ["codes", "table", "values"],
  scheme: [
    "codes",
    "scales",
    "zeros",
    "second.scales",
    "second.over",
    "second.offset",
    "values",
  ],
  layout: ["codes", "bytes", "scales", "zeros", "values"],
};

/**
 * Compares outputs with the tensors of an entry. An output that is missing is a failure, unless it
 * is named in `optional`.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { compareOutputs } from "./compare.ts";
 * const oracle = { package: "torch", version: "2.15.0", call: "round" };
 * const entry = { name: "a/b", kind: "number", id: "a", oracle, cases: 3, hold: "exact" } as const;
 * const values = Uint8Array.of(1, 2, 3);
 * const codes = { type: "uint8", shape: [3], bytes: values, values } as const;
 * const report = compareOutputs({ ...entry, tensors: {} }, { codes }, { codes: [1, 2, 4] });
 * assertEquals([report.cases, report.failed], [3, 1]);
 * assertEquals(report.first, "codes[2] is 4, expected 3");
 * ```
 */
export function compareOutputs(
  entry: VectorEntry,
  expected: VectorTensors,
  outputs: VectorOutputs,
  optional: readonly VectorRole[] = [],
): EntryReport {
  const report: EntryReport = { ...head(entry), cases: 0, failed: 0 };
  const fail = (count: number, message: string) => {
    report.failed += count;
    report.first ??= message;
  };
  for (const role of COMPARED[entry.kind]) {
    const hold = entry.hold === "exact" ? "exact" : entry.hold[role];
    const wanted = role === "values" && entry.kind === "number"
      ? decoded(expected)
      : expected[role]?.values;
    if (!hold || !wanted) continue;
    // Bytes without codes are what is read, not what is made.
    if (role === "bytes" && !expected.codes && !outputs.bytes) continue;
    const actual = outputs[role];
    if (!actual) {
      if (optional.includes(role)) continue;
      report.cases += wanted.length;
      fail(wanted.length, `there are no ${role}`);
      continue;
    }
    report.cases += wanted.length;
    if (actual.length !== wanted.length) {
      fail(wanted.length, `there are ${actual.length} ${role}, expected ${wanted.length}`);
      continue;
    }
    const x = expected.x?.values;
    const same = sameness(role, hold, x);
    for (let i = 0; i < wanted.length; i++) {
      if (same(actual[i], wanted[i], i)) continue;
      const input = x?.length === wanted.length ? ` of ${shown(x[i])}` : "";
      fail(1, `${role}[${i}]${input} is ${shown(actual[i])}, expected ${shown(wanted[i])}`);
    }
  }
  return report;
}

/** What the expected codes of a number format mean, where the table is known. */
function decoded({ codes, table }: VectorTensors): Float32Array | undefined {
  return codes && table && Float32Array.from(codes.values, (code) => table.values[code]);
}

type Same = (actual: number, wanted: number, index: number) => boolean;

function sameness(role: VectorRole, hold: "exact" | VectorBound, x?: ArrayLike<number>): Same {
  const free = role.endsWith("scales") || role === "zeros";
  if (hold === "exact") {
    return (actual, wanted) => (free && Number.isNaN(wanted)) || Object.is(actual, wanted);
  }
  const { absolute, error } = hold;
  return (actual, wanted, i) =>
    Object.is(actual, wanted) ||
    (absolute !== undefined && Math.abs(actual - wanted) <= absolute) ||
    (error !== undefined && x !== undefined &&
      Math.abs(actual - x[i]) <= Math.abs(wanted - x[i]) + error);
}

function shown(value: number): string {
  return Object.is(value, -0) ? "-0" : String(value);
}
