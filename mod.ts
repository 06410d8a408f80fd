/**
 * lowbit: number formats as data, quantisation algorithms as plugins, kernels in WebAssembly.
 *
 * ```ts
 * import { createWorkbench } from "./mod.ts";
 *
 * using lowbit = await createWorkbench();
 * const model = await lowbit.open("embedded");
 * console.log([...model.tensors.values()].slice(0, 3).map((t) => [t.name, t.shape]));
 * ```
 *
 * @module
 */

export type { BudgetPlan, BudgetPoint } from "./engine/budget.ts";
export {
  createWorkbench,
  modelPath,
  parseRecipe,
  type QuantizeOptions,
  type WindowOptions,
  Workbench,
  type WorkbenchOptions,
} from "./workbench.ts";
export { type Embedded, embeddedPath } from "./embedded/mod.ts";
export type { ConversionResult, ConvertedTensor } from "./engine/convert/convert.ts";
export type { ConversionKind } from "./engine/convert/choose.ts";
export type { ConvertOptions } from "./engine/convert/request.ts";
export { cutWindows } from "./engine/calibration.ts";
export type { CalibrationData, CalibrationInput } from "./engine/calibration_data.ts";
export type { LinearOptions } from "./engine/executor.ts";
export type { QuantizeResult } from "./engine/quantize.ts";
export { adaptCheckpoint } from "./engine/adapted.ts";
export {
  type CollectedStatistics,
  collectStatistics,
  type MergeableStatistic,
  mergeStatistics,
  readStatistics,
  statisticsBytes,
} from "./engine/collected.ts";
export { SharedStatistics } from "./engine/shared_statistics.ts";
export { VERSION } from "./engine/version.ts";
export {
  importanceBytes,
  importanceForm,
  readImportance,
} from "./formats/containers/importance.ts";
export { memoryOutput } from "./formats/containers/output.ts";
export {
  open,
  type OpenedCheckpoint,
  type OpenedTensor,
  type TensorCodes,
  type TensorRange,
} from "./formats/library.ts";
export type { SourceOptions } from "./formats/sources/mod.ts";
export type { Tools } from "./formats/dialects/coded.ts";
export { type ModelGraph, openModel } from "./models/architecture.ts";
export type { ParameterInfo } from "./models/parameters.ts";
export type { CacheChoice } from "./engine/cache.ts";
export { type AttentionMemory, type AttentionPast, KeyValueCache } from "./models/cache.ts";
export { type StreamArguments, StreamedModel } from "./models/evaluate.ts";
export type { Values } from "./models/interpreter.ts";
export type { LinearExecutor, LinearFactory } from "./models/linear.ts";
export { type GenerateArguments, LanguageModel, type LoadArguments } from "./models/model.ts";
export { createTokenizer, type Tokenizer } from "./models/tokenizer.ts";
export { presetRecipe, presetRecipes } from "./recipes/mod.ts";
export { type Override, overrideRecipe } from "./recipes/override.ts";
export * from "./spec/mod.ts";
