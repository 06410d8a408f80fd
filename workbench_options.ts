/**
 * What the workbench is made with, and what its runs are given.
 *
 * @module
 */

import type { CollectedStatistics } from "./engine/collected.ts";
import type { SharedStatistics } from "./engine/shared_statistics.ts";
import type { UserFormats } from "./formats/lookup.ts";
import type { SourceOptions } from "./formats/sources/mod.ts";
import type {
  CalibrationSource,
  Checkpoint,
  EventSink,
  ImportanceMatrix,
  Output,
  Plugin,
  Recipe,
} from "./spec/mod.ts";

/** What a workbench is made with. */
export interface WorkbenchOptions {
  /** Threads of the kernels; 1 if absent, 0 for all cores. */
  threads?: number;
  /**
   * Where packed weights are multiplied: `cpu` (the default), or `webgpu`, which is for running
   * models: its results are not the same on every machine.
   */
  device?: "cpu" | "webgpu";
  /** Plugins beside the shipped ones. */
  plugins?: readonly Plugin[];
  /** Number formats and schemes beside those of the catalog. */
  formats?: UserFormats;
  /** Takes progress, warnings and reports. */
  onEvent?: EventSink;
  /** How checkpoints are opened: pickled tensors, remote files. */
  sources?: SourceOptions;
}

/** What `Workbench.quantize` needs. */
export interface QuantizeOptions {
  /** The checkpoint. */
  model: Checkpoint;
  /** A preset's name, or a recipe. */
  recipe: string | Recipe;
  /** Where it is written: a path, or an output such as `memoryOutput()`. */
  out: string | Output;
  /** The id of a target; `lowbit` if absent. */
  to?: string;
  /** Windows of token ids; from the shipped text if absent and needed. */
  calibration?: readonly Int32Array[];
  /** Where these are from, for the receipt; see `Workbench.calibrationFrom`. */
  calibrationSource?: CalibrationSource;
  /** The importance of input channels; `readImportance` reads a file of llama.cpp. */
  importance?: ImportanceMatrix;
  /** Bytes of memory that the plan may need. */
  maxMemory?: number;
  /** Statistics that were collected apart, in place of those of the windows. */
  statistics?: CollectedStatistics;
  /** Statistics that several runs on the same model and calibration share. */
  shared?: SharedStatistics;
  /** Replaces what is already at `out`. */
  overwrite?: boolean;
  /** Stops the run; nothing is left at `out`. */
  signal?: AbortSignal;
}

/** How windows are cut from a text. */
export interface WindowOptions {
  /** Tokens of a window; 512 or the model's context if absent. */
  length?: number;
  /** At most so many windows. */
  count?: number;
  /** Spread over the text, instead of the first ones. */
  spread?: boolean;
}
