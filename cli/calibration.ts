/**
 * Calibration data of the arguments: `--calibration`, and what the receipt says of it.
 *
 * @module
 */

import { fileSource } from "../formats/containers/source.ts";
import { hashSources } from "../engine/hash.ts";
import type { CalibrationData } from "../engine/calibration_data.ts";
import { type ByteSource, type Checkpoint, LowbitError, type Recipe } from "../spec/mod.ts";
import type { Workbench } from "../workbench.ts";
import type { Arguments, Option } from "./arguments.ts";
import { checkFor, readIds, splitKey } from "./inputs.ts";

/** The option that names calibration data. */
export const calibrationOption: Option = {
  name: "calibration",
  type: "text",
  value: "FILE[#FIELD]",
  help: "text, .jsonl, .parquet, or .json token ids to calibrate on; the shipped text if absent",
  many: true,
};

const IDS = /\.json(#|$)/;

/**
 * Windows of `--calibration`: all windows of files of ids; of texts, JSONL and parquet as many as the
 * recipe says; of the shipped text if it is absent or `embedded`.
 */
export async function readCalibration(
  args: Arguments,
  lowbit: Workbench,
  model: Checkpoint,
  recipe: Recipe,
): Promise<CalibrationData> {
  const given = args.texts("calibration").filter((name) => name !== "embedded");
  if (given.length < args.texts("calibration").length && given.length > 0) {
    throw new LowbitError("USAGE", "--calibration embedded stands alone", {
      advice: "leave the other files out, or embedded",
    });
  }
  const ids = given.filter((name) => IDS.test(name));
  if (ids.length > 0 && ids.length < given.length) {
    throw new LowbitError("USAGE", "--calibration takes token ids or documents, not both", {
      advice: "make one run with each",
    });
  }
  const inputs = await openAll(given);
  try {
    if (ids.length === 0) {
      const data = await lowbit.calibrationFrom(model, recipe, inputs);
      checkFor(model, data.windows, given[0] ?? "calibration");
      return data;
    }
    const windows: Int32Array[] = [];
    for (const name of ids) windows.push(...await readIds(name, recipe.calibration.length));
    checkFor(model, windows, given[0]);
    const files = await hashSources(inputs.map(({ source }) => source));
    return { windows, source: { kinds: ["ids"], files, samples: windows.length } };
  } finally {
    for (const { source } of inputs) source.close();
  }
}

async function openAll(names: readonly string[]) {
  const inputs: { source: ByteSource; field?: string }[] = [];
  try {
    for (const name of names) {
      const [path, field] = splitKey(name);
      inputs.push({ source: await fileSource(path), field });
    }
  } catch (error) {
    for (const { source } of inputs) source.close();
    throw error;
  }
  return inputs;
}
