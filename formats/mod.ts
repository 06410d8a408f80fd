/**
 * Formats: what the words of the specification mean. Catalogs, the normative reference, codecs,
 * containers and dialects.
 *
 * @module
 */

export * from "./codec.ts";
export * from "./conformance/compare.ts";
export * from "./conformance/ours.ts";
export * from "./conformance/vectors.ts";
export * from "./containers/output.ts";
export * from "./containers/source.ts";
export { encodeFile } from "./encode_file.ts";
export * from "./lookup.ts";
export * from "./open.ts";
export * from "./pack.ts";
export * from "./parameters.ts";
export * from "./reference.ts";
export * from "./steps.ts";
export { type Tools } from "./dialects/coded.ts";
export { type TargetTools } from "./dialects/lowbit.ts";
export * from "./targets.ts";
export * from "./check_format.ts";
export * from "./facts.ts";
export * from "./user_formats.ts";
export * from "./yaml.ts";
