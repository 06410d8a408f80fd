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
  const jsonSchema = () =>
    z.toJSONSchema(type, { io: "input", unrepresentable: "any" }) as JsonSchema;
  return {
    kind,
    parse(input, file) {
      const result = type.safeParse(input);
      if (result.success) return result.data;
      const known = (path: PropertyKey[]) => keysAt(jsonSchema(), path.map(String));
      throw toError(kind, result.error.issues, known, file);
    },
    jsonSchema,
  };
}

/** The keys that a document may have at a path, in any branch of its schema. */
function keysAt(node: JsonSchema, [first, ...rest]: string[]): string[] {
  const branches = (node.anyOf ?? node.oneOf) as JsonSchema[] | undefined;
  const path = first === undefined ? [] : [first, ...rest];
  if (branches) return branches.flatMap((branch) => keysAt(branch, path));
  const properties = (node.properties ?? {}) as Record<string, JsonSchema>;
  if (first === undefined) return Object.keys(properties);
  const next = Object.hasOwn(properties, first) ? properties[first] : node.items;
  return next ? keysAt(next as JsonSchema, rest) : [];
}

type Issue = z.core.$ZodIssue;
type Known = (path: PropertyKey[]) => string[];

/** One error for all issues: the first is spelled out, the others follow in the same line. */
function toError(kind: string, issues: Issue[], known: Known, file?: string): LowbitError {
  // A wrong key explains that the right one is missing, so it comes first.
  const flat = issues.flatMap(deepest);
  const wrongKeys = flat.filter((issue) => issue.code === "unrecognized_keys");
  const others = flat.filter((issue) => issue.code !== "unrecognized_keys");
  const [first, ...rest] = [...wrongKeys, ...others].map((issue) => describe(issue, known));
  const more = rest.slice(0, 4).map(({ field, problem }) => `${field || kind}: ${problem}`);
  const count = rest.length > 4 ? ` (and ${rest.length - 4} more)` : "";
  const problem = [first.problem, ...more].join("; also ") + count;
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

function describe(issue: Issue, known: Known): { field: string; problem: string; advice?: string } {
  const field = issue.path.map(String).join(".");
  if (issue.code === "unrecognized_keys") {
    const key = issue.keys[0];
    const guess = closest(key, known(issue.path));
    return {
      field: [field, key].filter(Boolean).join("."),
      problem: "unknown field",
      advice: guess ? `did you mean ${JSON.stringify(guess)}?` : undefined,
    };
  }
  const text = issue.message.replace(/^Invalid (input|option|string|number)?:? ?/i, "");
  return { field, problem: text.charAt(0).toLowerCase() + text.slice(1) };
}
