/**
 * The words of lowbit: every contract as types and strict schemas. Imports nothing but zod.
 *
 * @module
 */

export * from "./checkpoint.ts";
export * from "./codec.ts";
export * from "./errors.ts";
export * from "./events.ts";
export * from "./graph.ts";
export * from "./granularity.ts";
export * from "./kernels.ts";
export * from "./layout.ts";
export * from "./number_format.ts";
export * from "./plugin.ts";
export * from "./recipe.ts";
export * from "./schema.ts";
export * from "./scheme.ts";
export * from "./target.ts";
export * from "./tensor.ts";
