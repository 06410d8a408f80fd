/**
 * Receipts: what anyone needs to check a run, or to do it again.
 *
 * @module
 */

import type {
  CalibrationSource,
  FileHash,
  ImportanceMatrix,
  Kernels,
  Receipt,
  Recipe,
  Target,
  TensorReport,
} from "../spec/mod.ts";
import type { ModelGraph } from "../models/architecture.ts";
import { hashWindows } from "./calibration.ts";
import { hashJson } from "./hash.ts";
import { hashImportance } from "./importance.ts";
import type { Pipeline } from "./pipeline.ts";
import { VERSION } from "./version.ts";

/** Makes the receipt of a finished run. */
export function makeReceipt(args: {
  files: FileHash[];
  recipe: Recipe;
  target: Target;
  kernels: Kernels;
  calibration?: readonly Int32Array[];
  calibrationSource?: CalibrationSource;
  importance?: ImportanceMatrix;
  statistics?: Receipt["statistics"];
  model: ModelGraph;
  pipeline: Pipeline;
  tensors: TensorReport[];
  warnings: string[];
  written: FileHash[];
}): Receipt {
  const { files, recipe, calibration, pipeline } = args;
  return {
    receipt: 1,
    lowbit: VERSION,
    model: { architecture: args.model.architecture.id, files },
    recipe: { name: recipe.name, sha256: hashJson(recipe), document: recipe },
    plugins: pipeline.steps.map(({ plugin: { meta } }) => ({
      name: meta.name,
      version: meta.version,
      api: meta.apiVersion,
    })),
    seed: recipe.seed,
    ...(calibration && pipeline.needsCalibration && {
      calibration: {
        windows: calibration.length,
        tokens: calibration.reduce((sum, window) => sum + window.length, 0),
        sha256: hashWindows(calibration),
        ...(args.calibrationSource && { source: args.calibrationSource }),
      },
    }),
    ...(args.importance && {
      importance: {
        datasets: args.importance.datasets,
        sha256: hashImportance(args.importance),
      },
    }),
    ...(args.statistics && { statistics: args.statistics }),
    target: args.target.id,
    kernels: args.kernels.name,
    tensors: args.tensors,
    warnings: args.warnings,
    output: args.written,
  };
}

/** The text of a receipt file. */
export function receiptText(receipt: Receipt): string {
  return JSON.stringify(receipt, null, 2) + "\n";
}
