/**
 * Command-line arguments: declared once, parsed strictly, and the source of `--help`.
 *
 * @module
 */

import { parseArgs } from "@std/cli";
import { closest, LowbitError } from "../spec/mod.ts";

/** One option of a command. */
export interface Option {
  /** Its name, without dashes. */
  name: string;
  /** `flag` is true or absent; the others take a value. */
  type: "flag" | "text" | "integer" | "number" | "bytes";
  /** One line for `--help`. */
  help: string;
  /** How its value is called in `--help`. */
  value?: string;
  /** May be given several times. */
  many?: boolean;
}

/** A command. */
export interface Command {
  /** Its name. */
  name: string;
  /** Positional arguments, as in `--help`. */
  usage: string;
  /** One line: what it does. */
  summary: string;
  /** Positional arguments: at least and at most so many. */
  positional: [least: number, most: number];
  /** Its options. */
  options: readonly Option[];
  /** Does it. The result is the exit code; 0 if there is none. */
  run(args: Arguments): Promise<number | void> | number | void;
}

/** Options that every command has. */
export const COMMON: readonly Option[] = [
  { name: "json", type: "flag", help: "print one JSON document on stdout" },
  { name: "events", type: "flag", help: "print events as NDJSON on stderr, instead of bars" },
  { name: "quiet", type: "flag", help: "print no progress and no notes" },
  { name: "debug", type: "flag", help: "print the stack trace of an error" },
  { name: "help", type: "flag", help: "print this help" },
];

/** Parsed arguments of one command. */
export class Arguments {
  readonly #values: Map<string, unknown>;

  /** Wraps parsed values. */
  constructor(
    readonly positional: readonly string[],
    values: Map<string, unknown>,
    /** What they were parsed from. */
    readonly argv: readonly string[] = [],
  ) {
    this.#values = values;
  }

  /** Whether a flag was given. */
  flag(name: string): boolean {
    return this.#values.get(name) === true;
  }

  /** The text of an option. */
  text(name: string): string | undefined {
    return this.#values.get(name) as string | undefined;
  }

  /** All texts of an option that may be repeated. */
  texts(name: string): string[] {
    return (this.#values.get(name) as string[] | undefined) ?? [];
  }

  /** The number of an option. */
  number(name: string): number | undefined {
    return this.#values.get(name) as number | undefined;
  }
}

/** Parses the arguments after the name of a command. Errors are `USAGE`. */
export function parseArguments(command: Command, args: string[]): Arguments {
  const options = [...command.options, ...COMMON];
  const known = options.map((option) => option.name);
  const parsed = parseArgs(args, {
    boolean: options.filter((o) => o.type === "flag").map((o) => o.name),
    string: ["_", ...options.filter((o) => o.type !== "flag").map((o) => o.name)],
    collect: options.filter((o) => o.type !== "flag").map((o) => o.name),
    unknown(arg, key) {
      if (key === undefined) return true;
      const guess = closest(key, known);
      throw usage(
        command,
        `unknown option ${arg.split("=")[0]}`,
        guess && `did you mean --${guess}?`,
      );
    },
  });
  const values = new Map<string, unknown>();
  for (const option of options) {
    const given = parsed[option.name];
    if (option.type === "flag") {
      if (given === true) values.set(option.name, true);
      continue;
    }
    const texts = (given as unknown[] | undefined ?? []).map(String);
    if (texts.length === 0) continue;
    if (texts.length > 1 && !option.many) {
      throw usage(command, `--${option.name} is given more than once`);
    }
    const converted = texts.map((text) => convert(command, option, text));
    values.set(option.name, option.many ? converted : converted[0]);
  }
  const positional = parsed._.map(String);
  const [least, most] = command.positional;
  if (!values.has("help") && positional.length < least) {
    throw usage(command, `too few arguments: ${positional.length} of ${least}`);
  }
  if (positional.length > most) {
    throw usage(command, `unexpected argument ${JSON.stringify(positional[most])}`);
  }
  return new Arguments(positional, values, args);
}

function convert(command: Command, option: Option, text: string): string | number {
  if (text === "") throw usage(command, `--${option.name} needs a value`);
  if (option.type === "text") return text;
  if (option.type === "bytes") return parseBytes(command, option.name, text);
  const number = Number(text);
  const whole = option.type === "integer";
  if (!Number.isFinite(number) || number < 0 || (whole && !Number.isSafeInteger(number))) {
    const wanted = whole ? "a whole number" : "a number";
    throw usage(
      command,
      `--${option.name} must be ${wanted} of at least 0, not ${JSON.stringify(text)}`,
    );
  }
  return number;
}

const UNITS: Record<string, number> = {
  "": 1,
  B: 1,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  KIB: 2 ** 10,
  MIB: 2 ** 20,
  GIB: 2 ** 30,
};

function parseBytes(command: Command, name: string, text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/i.exec(text);
  const unit = match && UNITS[match[2].toUpperCase()];
  if (!match || unit === undefined || unit === null) {
    throw usage(command, `--${name} must be a size such as 2GiB, not ${JSON.stringify(text)}`);
  }
  return Math.round(Number(match[1]) * unit);
}

/** A `USAGE` error with the way to `--help`. */
export function usage(command: Command, problem: string, advice?: string): LowbitError {
  return new LowbitError("USAGE", problem, {
    advice: advice ?? `see \`lowbit ${command.name} --help\``,
  });
}

/** The help of one command. */
export function commandHelp(command: Command): string {
  const rows = [...command.options, ...COMMON].map((option) => [
    `  --${option.name}${option.type === "flag" ? "" : ` ${option.value ?? "VALUE"}`}`,
    option.help + (option.many ? " (repeatable)" : ""),
  ]);
  const width = Math.max(...rows.map(([left]) => left.length)) + 2;
  return [
    `${command.summary}`,
    "",
    `usage: lowbit ${command.name} ${command.usage}`.trimEnd(),
    "",
    ...rows.map(([left, right]) => left.padEnd(width) + right),
  ].join("\n");
}
