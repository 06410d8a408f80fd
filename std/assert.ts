/**
 * `@std/assert`: the part that the tests use, with types. On JSR this is `jsr:@std/assert`.
 *
 * @module
 */
// @ts-types="./assert.d.ts"
export * from "npm:deno-std@1.4.0/assert/mod.js";
