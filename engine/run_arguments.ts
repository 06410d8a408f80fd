/**
 * What a run is given.
 *
 * @module
 */

import type { CollectedStatistics } from "./collected.ts";
import type { SharedStatistics } from "./shared_statistics.ts";
import type {
  CalibrationSource,
  Checkpoint,
  Codecs,
  EventSink,
  ImportanceMatrix,
  Kernels,
  Output,
  Plugin,
  Recipe,
  Target,
  TargetWriter,
  WorkFolder,
} from "../spec/mod.ts";
import type { ModelGraph } from "../models/architecture.ts";
import type { AutodiffLoader } from "./differentiate.ts";
import type { Importance } from "./importance.ts";
import type { Journal } from "./journal.ts";
import type { Pipeline } from "./pipeline.ts";
import type { PlannedParameter } from "./preflight.ts";

/** What a run needs. */
export interface QuantizeArguments {
  /** The checkpoint. */
  checkpoint: Checkpoint;
  /** The recipe. */
  recipe: Recipe;
  /** The plugins on offer. */
  plugins: readonly Plugin[];
  /** How the result is written. */
  target: Target;
  /** Where the result is written; `commit` is called at the end. */
  output: Output;
  /** The kernels. */
  kernels: Kernels;
  /** The codecs on these kernels. */
  codecs: Codecs;
  /** Windows of token ids. */
  calibration?: readonly Int32Array[];
  /** Where they are from, for the receipt. */
  calibrationSource?: CalibrationSource;
  /** The importance of input channels; collected where the recipe asks for it, if absent. */
  importance?: ImportanceMatrix;
  /** Loads the autodiff library, for plugins that ask for gradients. */
  autodiff?: AutodiffLoader;
  /** Bytes of memory that the plan may need. */
  maxMemory?: number;
  /** Scratch space: for a journal, and for activations that memory is not to hold. */
  work?: WorkFolder;
  /**
   * Statistics that were collected apart, in place of what the run would collect. Windows are still
   * needed where transforms are proven or blocks learned; one is enough for a proof.
   */
  statistics?: CollectedStatistics;
  /** Statistics that several runs on the same model and calibration share. */
  shared?: SharedStatistics;
  /** Takes the events of the run. */
  onEvent?: EventSink;
  /** Stops the run; nothing is left at the output. */
  signal?: AbortSignal;
}

/** What `Run` is made with. */
export interface RunParts {
  /** The model that is quantised. */
  model: ModelGraph;
  /** The steps. */
  pipeline: Pipeline;
  /** Every tensor of the output. */
  parameters: readonly PlannedParameter[];
  /** Takes the tensors. */
  writer: TargetWriter;
  /** Finished blocks of this run and of one before it that was stopped. */
  journal?: Journal;
  /** Whether activations live in the work folder only. */
  spill: boolean;
  /** The diagonals of the Fisher information of weights, by linear. */
  fisher: ReadonlyMap<string, Float32Array>;
  /** The importance of input channels: given, or collected as the run goes. */
  importance: Importance;
  /** Warnings so far; grows. */
  warnings: string[];
}
