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
export { importanceBytes, importanceForm, readImportance } from "./containers/importance.ts";
export * from "./containers/output.ts";
export { type OutputOptions } from "./containers/output_place.ts";
export { blobSource, fileSource, memorySource } from "./containers/source.ts";
export { type HttpOptions, httpSource, type RemoteFile } from "./sources/http.ts";
export * from "./library.ts";
export type { SourceOptions } from "./sources/mod.ts";
export { encodeFile } from "./encode_file.ts";
export * from "./lookup.ts";
export * from "./open.ts";
export * from "./pack.ts";
export * from "./parameters.ts";
export * from "./reference.ts";
export * from "./steps.ts";
export { type Tools } from "./dialects/coded.ts";
export { type Adapter, lowRankParts, readAdapter, writeAdapter } from "./dialects/peft.ts";
export { type TargetTools } from "./dialects/lowbit.ts";
export * from "./targets.ts";
export * from "./check_format.ts";
export * from "./facts.ts";
export * from "./user_formats.ts";
export * from "./yaml.ts";
export { checkVectorFormat } from "./vectors/check.ts";
export { vectorCodec } from "./vectors/codec.ts";
export {
  vectorBits,
  type VectorFacts,
  vectorFacts,
  type VectorSizes,
  vectorSizes,
} from "./vectors/facts.ts";
export { decodePoint, nearestPoint, type PointSet, pointSet } from "./vectors/grid.ts";
export { kMeans, type KMeansArguments } from "./vectors/kmeans.ts";
export { nearestEntries, type Vectors } from "./vectors/nearest.ts";
export { packCodes, unpackCodes } from "./vectors/pack.ts";
export { additiveCodes } from "./vectors/tables.ts";
export { stateValues } from "./vectors/trellis.ts";
export {
  tailBiting,
  type TrellisArguments,
  type TrellisCodes,
  viterbi,
} from "./vectors/viterbi.ts";
