/**
 * The command line of lowbit.
 *
 * ```sh
 * lowbit quantize MODEL OUT --recipe gptq-w4g128
 * ```
 *
 * Results go to stdout, everything else to stderr. Exit codes: 0 done, 1 an error in the input or
 * the work, 2 wrong usage, 3 warnings of lint alone; 130 a second interrupt.
 *
 * @module
 */

import { adapterCommand } from "./cli/adapter.ts";
import { type Command, commandHelp, parseArguments } from "./cli/arguments.ts";
import { compareCommand } from "./cli/compare.ts";
import { completionsCommand } from "./cli/completions.ts";
import { convertCommand } from "./cli/convert.ts";
import { doctorCommand } from "./cli/doctor.ts";
import { evalCommand } from "./cli/eval.ts";
import { formatsCommand } from "./cli/formats.ts";
import { generateCommand } from "./cli/generate.ts";
import { inspectCommand } from "./cli/inspect.ts";
import { lintCommand } from "./cli/lint.ts";
import { recipesCommand, schemaCommand } from "./cli/lists.ts";
import { writeError, writeLine } from "./cli/progress.ts";
import { pluginsCommand } from "./cli/plugins.ts";
import { planCommand } from "./cli/plan.ts";
import { quantizeCommand } from "./cli/quantize.ts";
import { verifyCommand } from "./cli/verify.ts";
import { webCommand } from "./cli/web.ts";
import { workerCommand } from "./cli/worker.ts";
import { VERSION } from "./engine/version.ts";
import { LowbitError, printable, unknownName } from "./spec/mod.ts";

/** Every command, in the order of `--help`. */
const COMMANDS: readonly Command[] = [
  quantizeCommand,
  planCommand,
  evalCommand,
  compareCommand,
  generateCommand,
  convertCommand,
  adapterCommand,
  inspectCommand,
  verifyCommand,
  lintCommand,
  formatsCommand,
  pluginsCommand,
  recipesCommand,
  schemaCommand,
  webCommand,
  workerCommand,
  doctorCommand,
  completionsCommand(() => COMMANDS),
];

/**
 * Runs one command line and returns its exit code.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { main } from "./cli.ts";
 * assertEquals(await main(["--version"]), 0); // prints the version
 * ```
 */
export async function main(args: string[]): Promise<number> {
  const [name, ...rest] = args;
  const debug = args.includes("--debug");
  try {
    if (name === undefined || ["--help", "-h", "help"].includes(name)) {
      writeLine(help());
      return name === undefined ? 2 : 0;
    }
    if (name === "--version") {
      writeLine(VERSION);
      return 0;
    }
    const command = COMMANDS.find((command) => command.name === name);
    if (!command) {
      const { problem, advice } = unknownName("command", name, COMMANDS.map((c) => c.name));
      throw new LowbitError("USAGE", problem, { advice });
    }
    const parsed = parseArguments(command, rest);
    if (parsed.flag("help")) {
      writeLine(commandHelp(command));
      return 0;
    }
    return await command.run(parsed) ?? 0;
  } catch (error) {
    if (debug && error instanceof Error) writeError(printableLines(error.stack ?? String(error)));
    // Whoever read the output has seen enough, as `head` has.
    if (error instanceof Deno.errors.BrokenPipe) return 0;
    if (error instanceof LowbitError) {
      writeError(error.line());
      return error.code === "USAGE" ? 2 : 1;
    }
    writeError(`error[INTERNAL] ${printable(String(error))}; run with --debug and report it`);
    return 1;
  }
}

function printableLines(text: string): string {
  return text.split("\n").map(printable).join("\n");
}

function help(): string {
  const width = Math.max(...COMMANDS.map((command) => command.name.length)) + 2;
  return [
    `lowbit ${VERSION}: number formats and quantisation for language models`,
    "",
    "usage: lowbit COMMAND [arguments]",
    "",
    ...COMMANDS.map((command) => `  ${command.name.padEnd(width)}${command.summary}`),
    "",
    "`lowbit COMMAND --help` shows the options of a command.",
    "Exit codes: 0 done; 1 an error in the input or the work; 2 wrong usage; 3 warnings of lint alone.",
  ].join("\n");
}

if (import.meta.main) Deno.exit(await main(Deno.args));
