/**
 * Schemas: how a document that a person wrote becomes a typed value, or one clear error.
 *
 * Zod does the checking; the rest of the code, and plugins, see only {@linkcode Schema}.
 *
 * @module
 */

import { z } from "zod";
import { closest, LowbitError } from "./errors.ts";

/** A JSON Schema document, as `lowbit schema` prints it. */
export type JsonSchema = Record<string, unknown>;

/** Turns unknown input into a `T` with defaults filled in, or throws a {@linkcode LowbitError}. */
export interface Schema<T> {
  /** What the document is called in errors: "recipe", "number format", ... */
  readonly kind: string;
  /** Checks and completes `input`; `file` names its origin in the error. */
  parse(input: unknown, file?: string): T;
  /** The JSON Schema (draft 2020-12) of the input, for editors. */
  jsonSchema(): JsonSchema;
}

/** A zod schema, as far as {@linkcode schema} needs to know it. */
export interface ZodLike<T> {
  /** Checks without throwing. */
  safeParse(input: unknown): { success: boolean; data?: T; error?: unknown };
}

/**
 * Wraps a zod schema. Unknown keys must be refused by the zod schema itself (`z.strictObject`).
 *
 * @example
 * ```ts
 * import { z } from "zod";
 * import { schema, type Schema } from "./schema.ts";
 * const point: Schema<{ x: number }> = schema("point", z.strictObject({ x: z.number() }));
 * point.parse({ x: 1 }).x; // 1
 * ```
 */
export function schema<T>(kind: string, zod: ZodLike<T>): Schema<T> {
  const type = zod as unknown as z.ZodType<T>;
  return {
    kind,
    parse(input, file) {
      const result = type.safeParse(input);
      if (result.success) return result.data;
      throw toError(kind, result.error.issues, file);
    },
    jsonSchema: () => z.toJSONSchema(type, { io: "input", unrepresentable: "any" }) as JsonSchema,
  };
}

type Issue = z.core.$ZodIssue;

/** One error for all issues: the first is spelled out, the others follow in the same line. */
function toError(kind: string, issues: Issue[], file?: string): LowbitError {
  const flat = issues.flatMap(deepest);
  const [first, ...rest] = flat.map(describe);
  const others = rest.slice(0, 4).map(({ field, problem }) => `${field || kind}: ${problem}`);
  const more = rest.length > 4 ? ` (and ${rest.length - 4} more)` : "";
  const problem = [first.problem, ...others].join("; also ") + more;
  return new LowbitError("SCHEMA", problem, {
    file: file ?? kind,
    field: first.field || undefined,
    advice: first.advice ?? `run \`lowbit schema\` to see what is allowed`,
  });
}

/** For a failed union, the issues of the branch that came closest. */
function deepest(issue: Issue): Issue[] {
  if (issue.code !== "invalid_union" || issue.errors.length === 0) return [issue];
  const branches = issue.errors.map((branch) =>
    branch.flatMap((inner) => deepest({ ...inner, path: [...issue.path, ...inner.path] } as Issue))
  );
  const depth = (branch: Issue[]) => Math.max(0, ...branch.map((i) => i.path.length));
  const wrongType = (branch: Issue[]) =>
    branch.every((i) => i.code === "invalid_type" && i.path.length === issue.path.length);
  const useful = branches.filter((branch) => branch.length > 0 && !wrongType(branch));
  if (useful.length === 0) return [issue];
  return useful.sort((a, b) => depth(b) - depth(a) || a.length - b.length)[0];
}

function describe(issue: Issue): { field: string; problem: string; advice?: string } {
  const field = issue.path.map(String).join(".");
  if (issue.code === "unrecognized_keys") {
    const key = issue.keys[0];
    const known = (issue as { known?: string[] }).known;
    const guess = known && closest(key, known);
    return {
      field: [field, key].filter(Boolean).join("."),
      problem: "unknown field",
      advice: guess ? `did you mean ${JSON.stringify(guess)}?` : undefined,
    };
  }
  const text = issue.message.replace(/^Invalid (input|option|string|number)?:? ?/i, "");
  return { field, problem: text.charAt(0).toLowerCase() + text.slice(1) };
}
