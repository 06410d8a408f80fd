/** What {@linkcode parseArgs} is told about the options. */
export interface ParseOptions {
  /** Options that are true or false. */
  boolean?: readonly string[];
  /** Options that are kept as text. */
  string?: readonly string[];
  /** Options that may be given several times; collected in an array. */
  collect?: readonly string[];
  /** Other names of an option. */
  alias?: Record<string, string | readonly string[]>;
  /** Called for what is not declared; return false to leave it out of the result. */
  unknown?: (arg: string, key?: string, value?: unknown) => unknown;
  /** Whether everything after the first positional argument is positional. */
  stopEarly?: boolean;
}
/** The parsed arguments: positional ones under `_`. */
export interface Args {
  /** Positional arguments. */
  _: (string | number)[];
  /** Options. */
  [name: string]: unknown;
}
/** Parses command-line arguments. */
export function parseArgs(args: string[], options?: ParseOptions): Args;
