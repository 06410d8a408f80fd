/**
 * The one error type that users see.
 *
 * Every failure a user can cause is a {@linkcode LowbitError}: a stable code, the file and field
 * it is about, what is wrong and what to do. The command line prints it as one line:
 * `error[CODE] file: field: what is wrong; what to do`.
 *
 * @module
 */

/**
 * What each error code means. Codes are stable: they are added, never renamed.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { ERROR_CODES, LowbitError } from "./errors.ts";
 * const error = new LowbitError("TRUNCATED", "ends at byte 7", { file: "model.gguf" });
 * assertEquals(ERROR_CODES[error.code], "a file ends before what its header promises");
 * ```
 */
export const ERROR_CODES = {
  USAGE: "the command line itself is wrong (exit code 2)",
  SCHEMA: "a YAML or JSON document does not follow its schema",
  UNKNOWN_NAME: "a name is not in the catalog it was looked up in",
  FORMAT: "a number format, scheme or layout cannot do what is asked",
  NOT_FOUND: "a file, folder or tensor is missing",
  TRUNCATED: "a file ends before what its header promises",
  MALFORMED: "a file breaks the rules of its container",
  LIMIT: "a declared count, length or size is beyond the limit of the reader",
  UNSUPPORTED: "the input is valid, but this version cannot handle it",
  SHAPE: "a tensor or an argument has the wrong shape",
  NON_FINITE: "a NaN or an infinity where a finite number is required",
  CONFLICT: "the model, the recipe, the plugins and the target do not fit together",
  CALIBRATION: "calibration data is missing or unusable",
  EXISTS: "the output is already there",
  LOCKED: "another run is at work on the same output",
  IO: "the operating system refused to read or write",
  MEMORY: "the work does not fit the memory that was allowed",
  PLUGIN: "a plugin broke its contract",
  MISMATCH: "a file is not what its receipt says",
  NUMERICS: "a computation failed numerically",
} as const;

/** One of the stable error codes in {@linkcode ERROR_CODES}. */
export type ErrorCode = keyof typeof ERROR_CODES;

/** Where and why something failed; the parts of a {@linkcode LowbitError}. */
export interface ErrorDetails {
  /** The file, folder or URL that the error is about. */
  file?: string;
  /** The field, option, tensor or key inside it. */
  field?: string;
  /** What the user can do about it; a clause without a full stop. */
  advice?: string;
  /** The error underneath, kept for `--debug`. */
  cause?: unknown;
}

/**
 * A failure with a stable code, a place and an advice.
 *
 * @example
 * ```ts
 * import { LowbitError } from "./errors.ts";
 * const error = new LowbitError("SHAPE", "has 3 dimensions, expected 2", {
 *   file: "model.safetensors",
 *   field: "lm_head.weight",
 *   advice: "check that the checkpoint matches its config.json",
 * });
 * error.line(); // "error[SHAPE] model.safetensors: lm_head.weight: has 3 dimensions, ..."
 * ```
 */
export class LowbitError extends Error {
  /** The name that `error.name` shows. */
  override readonly name = "LowbitError";
  /** The stable code. */
  readonly code: ErrorCode;
  /** What is wrong, without file and field. */
  readonly problem: string;
  /** The file, folder or URL that the error is about. */
  readonly file?: string;
  /** The field, option, tensor or key inside it. */
  readonly field?: string;
  /** What the user can do about it. */
  readonly advice?: string;

  /** Makes an error from its code, its problem and, where known, its place and an advice. */
  constructor(code: ErrorCode, problem: string, details: ErrorDetails = {}) {
    const place = [details.file, details.field].filter((part) => part !== undefined).join(": ");
    super(
      (place ? `${place}: ` : "") + problem + (details.advice ? `; ${details.advice}` : ""),
      details.cause === undefined ? undefined : { cause: details.cause },
    );
    this.code = code;
    this.problem = problem;
    this.file = details.file;
    this.field = details.field;
    this.advice = details.advice;
  }

  /** The one line that the command line prints. Control characters are made visible. */
  line(): string {
    return `error[${this.code}] ${printable(this.message)}`;
  }

  /** The same error with a file, where it had none: readers of parts do not know their file. */
  in(file: string): LowbitError {
    if (this.file !== undefined) return this;
    const { field, advice, cause } = this;
    return new LowbitError(this.code, this.problem, { file, field, advice, cause });
  }
}

/**
 * Replaces control characters, so that a hostile name cannot rewrite a terminal.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { printable } from "./errors.ts";
 * assertEquals(printable("a\u001b[2Jb"), "a\\u001b[2Jb");
 * ```
 */
export function printable(text: string): string {
  // deno-lint-ignore no-control-regex
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g, (char) => {
    return `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}

/**
 * The known name closest to `name`, if it is close enough to be a slip of the pen.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { closest } from "./errors.ts";
 * assertEquals(closest("gptk", ["rtn", "gptq"]), "gptq");
 * assertEquals(closest("zzz", ["rtn", "gptq"]), undefined);
 * ```
 */
export function closest(name: string, known: Iterable<string>): string | undefined {
  let best: string | undefined;
  // A slip leaves at least one character as it was.
  let bestDistance = Math.min(Math.max(2, Math.floor(name.length / 3)) + 1, name.length);
  for (const candidate of known) {
    const distance = editDistance(name.toLowerCase(), candidate.toLowerCase(), bestDistance);
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best;
}

/**
 * An {@linkcode LowbitError} for a name that a catalog lacks, with the closest known name.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { unknownName } from "./errors.ts";
 * const error = unknownName("plugin", "gptk", ["rtn", "gptq"]);
 * assertEquals(error.line(), 'error[UNKNOWN_NAME] unknown plugin "gptk"; did you mean "gptq"?');
 * ```
 */
export function unknownName(
  kind: string,
  name: string,
  known: Iterable<string>,
  details: ErrorDetails = {},
): LowbitError {
  const names = [...known];
  const guess = closest(name, names);
  const advice = guess
    ? `did you mean ${JSON.stringify(guess)}?`
    : names.length <= 20
    ? `known: ${names.join(", ")}`
    : details.advice;
  return new LowbitError("UNKNOWN_NAME", `unknown ${kind} ${JSON.stringify(name)}`, {
    ...details,
    advice,
  });
}

/** Levenshtein distance, given up (returns `limit`) once it cannot be under `limit`. */
function editDistance(a: string, b: string, limit: number): number {
  if (Math.abs(a.length - b.length) >= limit || a.length > 64 || b.length > 64) return limit;
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const current = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = previous[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1);
      current.push(Math.min(substitution, previous[j] + 1, current[j - 1] + 1));
    }
    previous = current;
  }
  return Math.min(previous[b.length], limit);
}
