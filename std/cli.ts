/**
 * `@std/cli`: the part that the command line uses, with types. On JSR this is `jsr:@std/cli`.
 *
 * @module
 */
// @ts-types="./cli.d.ts"
export * from "npm:deno-std@1.4.0/cli/parse_args.js";
