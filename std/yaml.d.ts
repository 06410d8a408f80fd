/** Options of {@linkcode parse}. */
export interface ParseOptions {
  /** Whether a duplicate key overwrites the earlier one instead of being an error. */
  allowDuplicateKeys?: boolean;
  /** The set of tags. */
  schema?: "core" | "default" | "failsafe" | "json" | "extended";
}
/** Parses one YAML document; throws `SyntaxError` with line and column. */
export function parse(content: string, options?: ParseOptions): unknown;
/** Writes a value as YAML. */
export function stringify(data: unknown, options?: Record<string, unknown>): string;
