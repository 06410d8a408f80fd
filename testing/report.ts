/**
 * What the test kit finds: one result for each check.
 *
 * @module
 */

import { LowbitError } from "../spec/mod.ts";

/**
 * The checks, in the order in which they run, with what each holds a plugin to.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { CHECKS } from "./report.ts";
 * assertEquals(Object.keys(CHECKS)[0], "manifest");
 * ```
 */
export const CHECKS = {
  manifest: "manifest, version of the interface and hooks are as the contract says",
  options: "options are strict, and every leaf has a default and a description",
  inputs: "nothing that a hook is given is changed",
  repeat: "the same bytes twice",
  order: "the same bytes when weights come in another order",
  batches: "the same statistics and bytes when calibration is split differently",
  formats: "every declared format and granularity on hard tensors; NaN is refused",
  error: "the error stays within the stated factor of round to nearest",
  function: "transforms leave the function of the model as it is",
  roundtrip: "packed, exported and read back, tensors decode to the same values",
  twin: "reference kernels and WebAssembly give the same bytes",
  run: "a run of the engine on a tiny model works",
  cache: "a cache appends, reads, forgets and counts its bytes",
  figures: "figures do not depend on how positions are split",
} as const;

/** The name of a check. */
export type CheckName = keyof typeof CHECKS;

/** What became of one check. */
export interface CheckResult {
  /** The check. */
  check: CheckName;
  /** `absent`: the plugin has no hook that it is about. */
  outcome: "held" | "broken" | "absent";
  /** Cases that were tried. */
  cases: number;
  /** What is wrong; the first few. */
  problems: string[];
}

/** What the kit says about a plugin. */
export interface PluginReport {
  /** The plugin's name. */
  plugin: string;
  /** Whether no check is broken. */
  ok: boolean;
  /** Every check. */
  checks: CheckResult[];
}

/** Problems of one check that are kept. */
const KEPT = 5;

/** Collects cases and problems. */
export class Findings {
  readonly #cases = new Map<CheckName, number>();
  readonly #problems = new Map<CheckName, string[]>();

  /** One case of a check; `problem` is undefined where it held. */
  case(check: CheckName, problem?: string): void {
    this.#cases.set(check, (this.#cases.get(check) ?? 0) + 1);
    if (problem === undefined) return;
    const problems = this.#problems.get(check) ?? [];
    this.#problems.set(check, problems);
    if (problems.length < KEPT && !problems.includes(problem)) problems.push(problem);
  }

  /** Runs a case; what it throws is the problem. Returns what it gives, or undefined. */
  try<T>(check: CheckName, place: string, work: () => T): T | undefined {
    try {
      const value = work();
      this.case(check);
      return value;
    } catch (error) {
      this.case(check, `${place}: ${messageOf(error)}`);
      return undefined;
    }
  }

  /** The report. */
  report(plugin: string): PluginReport {
    const checks = (Object.keys(CHECKS) as CheckName[]).map((check): CheckResult => {
      const problems = this.#problems.get(check) ?? [];
      const cases = this.#cases.get(check) ?? 0;
      const outcome = problems.length > 0 ? "broken" : cases > 0 ? "held" : "absent";
      return { check, outcome, cases, problems };
    });
    return { plugin, ok: checks.every(({ outcome }) => outcome !== "broken"), checks };
  }
}

/** What an error says. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The error for a report with broken checks. */
export function brokenError({ plugin, checks }: PluginReport): LowbitError {
  const lines = checks.flatMap(({ check, problems }) =>
    problems.map((problem) => `[${check}] ${problem}`)
  );
  return new LowbitError("PLUGIN", `breaks the contract: ${lines.join("; ")}`, { file: plugin });
}
