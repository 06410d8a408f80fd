/**
 * Importance matrices of the arguments: `--importance`, and where the one that was used goes.
 *
 * @module
 */

import {
  importanceBytes,
  importanceForm,
  readImportance,
} from "../formats/containers/importance.ts";
import { fileOutput } from "../formats/containers/output.ts";
import { fileSource } from "../formats/containers/source.ts";
import { type ImportanceMatrix, mergeImportance } from "../spec/mod.ts";
import type { Arguments, Option } from "./arguments.ts";

/** The option that names importance matrices. */
export const importanceOption: Option = {
  name: "importance",
  type: "text",
  value: "FILE",
  help:
    "importance matrix of llama.cpp (GGUF or .dat), for rtn on K-quants, IQ4, Q4_0, ...; merged",
  many: true,
};

/** The option that writes the matrix that was used. */
export const saveImportanceOption: Option = {
  name: "save-importance",
  type: "text",
  value: "FILE",
  help: "write the importance matrix that was used, collected unless given; .dat is the old form",
};

/** The matrices of `--importance`, merged; undefined without any. */
export async function readImportances(args: Arguments): Promise<ImportanceMatrix | undefined> {
  let merged: ImportanceMatrix | undefined;
  for (const path of args.texts("importance")) {
    const source = await fileSource(path);
    try {
      const matrix = await readImportance(source);
      merged = merged ? mergeImportance(merged, matrix) : matrix;
    } finally {
      source.close();
    }
  }
  return merged;
}

/** Writes a matrix, in the form that the name of the file says. */
export async function saveImportance(path: string, matrix: ImportanceMatrix): Promise<void> {
  const output = await fileOutput(path, { overwrite: true });
  const sink = await output.file(path);
  await sink.write(await importanceBytes(matrix, importanceForm(path)));
  await sink.close();
  await output.commit();
}
