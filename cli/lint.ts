/**
 * `lowbit lint`
 *
 * @module
 */

import { lintCheckpoint } from "../engine/lint/lint.ts";
import { printable } from "../spec/mod.ts";
import { createWorkbench, modelPath } from "../workbench.ts";
import type { Command } from "./arguments.ts";
import { progressView, writeLine } from "./progress.ts";
import { SOURCE_OPTIONS, sourceOptions } from "./sources.ts";
import { formatBytes } from "./table.ts";

/** The exit codes: of errors, and where there are but warnings. */
const ERRORS = 1, WARNINGS = 3;

/** The command. */
export const lintCommand: Command = {
  name: "lint",
  usage: "PATH",
  summary: "Read a checkpoint once and report what is wrong with it (exit 1 errors, 3 warnings).",
  positional: [1, 1],
  options: SOURCE_OPTIONS,
  async run(args) {
    const path = modelPath(args.positional[0]);
    const view = progressView(args);
    using lowbit = await createWorkbench({ onEvent: view.onEvent });
    const sources = sourceOptions(args);
    const { kernels, codecs } = lowbit;
    const result = await lintCheckpoint(path, { kernels, codecs, ...sources }, view.onEvent);
    view.close();
    const { error, warning } = result.summary;
    const exit = error > 0 ? ERRORS : warning > 0 ? WARNINGS : 0;
    if (args.flag("json")) {
      writeLine(JSON.stringify({ ...result, exit }));
      return exit;
    }
    for (const { severity, code, where, problem, advice } of result.findings) {
      writeLine(printable(`${severity}[${code}] ${where}: ${problem}; ${advice}`));
    }
    writeLine(
      `${result.tensors} tensors, ${
        formatBytes(result.bytes)
      }: ${error} errors, ${warning} warnings`,
    );
    return exit;
  },
};
