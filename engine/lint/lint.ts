/**
 * The linter: reads a checkpoint once and says what is wrong with it.
 *
 * @module
 */

import type { EventSink } from "../../spec/mod.ts";
import type { OpenOptions } from "../../formats/open.ts";
import { FILE_RULES } from "./file_rules.ts";
import { readForLint } from "./read.ts";
import type { Finding, Rule, Severity } from "./rule.ts";
import { VALUE_RULES } from "./value_rules.ts";

/** Every rule, in the order of reports and documentation. */
export const LINT_RULES: readonly Rule[] = [...FILE_RULES, ...VALUE_RULES];

/** A finding with the rule that made it. */
export interface Report extends Finding {
  /** The code of the rule. */
  code: string;
  /** How bad it is. */
  severity: Severity;
  /** What to do. */
  advice: string;
}

/** What the linter says of a checkpoint. */
export interface LintResult {
  /** What was linted. */
  path: string;
  /** Tensors that were read. */
  tensors: number;
  /** Bytes of the files with weights. */
  bytes: number;
  /** How many findings of each severity. */
  summary: Record<Severity, number>;
  /** The findings. */
  findings: Report[];
}

/**
 * Lints a folder, a file or an address. Findings are no errors; `NOT_FOUND` and `IO` are those of the path.
 */
export async function lintCheckpoint(
  path: string,
  options: OpenOptions = {},
  onEvent?: EventSink,
): Promise<LintResult> {
  const reading = await readForLint(path, options, (done, total) => {
    onEvent?.({ event: "progress", stage: "load", done, total });
  });
  try {
    const { input } = reading;
    const findings = LINT_RULES.flatMap(({ code, severity, advice, check }) =>
      [...check(input)].map((finding): Report => ({ code, severity, ...finding, advice }))
    );
    const summary = { error: 0, warning: 0, note: 0 };
    for (const { severity } of findings) summary[severity]++;
    return {
      path,
      tensors: input.tensors.size,
      bytes: input.files.reduce((sum, file) => sum + file.bytes, 0),
      summary,
      findings,
    };
  } finally {
    reading.close();
  }
}
