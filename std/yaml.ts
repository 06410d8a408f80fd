/**
 * `@std/yaml`: the part that the readers of YAML use, with types. On JSR this is `jsr:@std/yaml`.
 *
 * @module
 */
// @ts-types="./yaml.d.ts"
export * from "npm:deno-std@1.4.0/yaml/mod.js";
