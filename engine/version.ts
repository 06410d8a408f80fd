/**
 * The version of lowbit; `tests/architecture_test.ts` holds it against deno.json.
 *
 * @example
 * ```ts
 * import { assertMatch } from "@std/assert";
 * import { VERSION } from "./version.ts";
 * assertMatch(VERSION, /^\d+\.\d+\.\d+/);
 * ```
 */
export const VERSION = "0.1.0";
