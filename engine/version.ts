/** The version of lowbit; `tests/architecture_test.ts` holds it against deno.json. */
export const VERSION = "0.1.0";
