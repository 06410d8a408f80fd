/**
 * Receipts held against files, and against a run that is done again.
 *
 * @module
 */

import {
  type ByteSource,
  type FileHash,
  type ImportanceMatrix,
  LowbitError,
  type Receipt,
  receiptSchema,
} from "../spec/mod.ts";
import { parseJson, toPlain } from "../formats/containers/json.ts";
import { hashWindows } from "./calibration.ts";
import { hashJson, hashSources } from "./hash.ts";
import { hashImportance } from "./importance.ts";

/** One file, as it should be and as it is. */
export interface FileCheck {
  /** Its name. */
  name: string;
  /** What was found. */
  state: "same" | "missing" | "different";
}

/** Reads a receipt that anybody may have written, and checks that its recipe is the one it hashes. */
export function parseReceipt(text: string, file: string): Receipt {
  const receipt = receiptSchema.parse(toPlain(parseJson(text, { file })), file);
  checkRecipeHash(receipt, file);
  return receipt;
}

/** Hashes files and holds them against those of a receipt. A file that cannot be opened is missing. */
export async function checkFiles(
  expected: readonly FileHash[],
  open: (name: string) => Promise<ByteSource>,
): Promise<FileCheck[]> {
  const checks: FileCheck[] = [];
  for (const { name, bytes, sha256 } of expected) {
    let source: ByteSource;
    try {
      source = await open(name);
    } catch (error) {
      if (!(error instanceof LowbitError) || error.code !== "NOT_FOUND") throw error;
      checks.push({ name, state: "missing" });
      continue;
    }
    try {
      const same = source.size === bytes && (await hashSources([source]))[0].sha256 === sha256;
      checks.push({ name, state: same ? "same" : "different" });
    } finally {
      source.close();
    }
  }
  return checks;
}

/** Compares hashes of two lists of files by name; a single file may have another name. */
export function compareHashes(
  expected: readonly FileHash[],
  found: readonly FileHash[],
): FileCheck[] {
  const single = expected.length === 1 && found.length === 1;
  return expected.map(({ name, sha256 }) => {
    const other = single ? found[0] : found.find((file) => file.name === name);
    const state = !other ? "missing" : other.sha256 === sha256 ? "same" : "different";
    return { name, state };
  });
}

/** Throws `MISMATCH` if the recipe in a receipt is not the one that it has the hash of. */
function checkRecipeHash({ recipe }: Receipt, file: string): void {
  if (hashJson(recipe.document) === recipe.sha256) return;
  throw new LowbitError("MISMATCH", "is not the recipe that the receipt has the hash of", {
    file,
    field: "recipe.document",
    advice: "the receipt was changed, or made by another version",
  });
}

/** Throws `MISMATCH` if windows are not those that a receipt has the hash of. */
export function checkWindowsHash({ calibration }: Receipt, windows?: readonly Int32Array[]): void {
  if (!calibration || (windows && hashWindows(windows) === calibration.sha256)) return;
  const { source } = calibration;
  const files = source?.files.map(({ name }) => name).join(", ");
  throw new LowbitError("MISMATCH", "the calibration data is not that of the receipt", {
    field: "calibration",
    advice: files ? `give ${files} with --calibration` : "give the same data with --calibration",
  });
}

/** Throws `MISMATCH` if an importance matrix is not the one that a receipt has the hash of. */
export function checkImportanceHash(
  { importance }: Receipt,
  given: ImportanceMatrix | undefined,
): void {
  const found = given && hashImportance(given);
  if (found === importance?.sha256) return;
  const problem = !importance
    ? "the run had no importance matrix"
    : given
    ? "the importance matrix is not that of the receipt"
    : "the run had an importance matrix";
  throw new LowbitError("MISMATCH", problem, {
    field: "importance",
    advice: importance ? "give the same files with --importance" : "leave out --importance",
  });
}
