/**
 * Runs whose output is on disk: one at a time for each place, with a work folder beside it that the
 * next run finds if this one is stopped.
 *
 * @module
 */

import { outputAt, writeText } from "../formats/containers/output_at.ts";
import { checkFree, type OutputOptions } from "../formats/containers/output_place.ts";
import { diskWork } from "../formats/containers/work_folder.ts";
import { LowbitError, type WorkFolder } from "../spec/mod.ts";
import { hasProgress } from "./journal.ts";
import { quantizeModel, type QuantizeResult } from "./quantize.ts";
import { receiptText } from "./receipt.ts";
import type { QuantizeArguments } from "./run_arguments.ts";

/** Quantises a checkpoint to a path; beside an output of one file its receipt is a file as well. */
export async function quantizeToPath(
  args: Omit<QuantizeArguments, "output" | "work">,
  out: string,
  { overwrite }: OutputOptions = {},
): Promise<QuantizeResult> {
  const kind = args.target.output;
  await checkFree(out, kind, { overwrite });
  const work = diskWork(out);
  try {
    const output = await outputAt(out, args.target, { overwrite, partial: work.partial });
    const result = await quantizeModel({ ...args, output, work });
    if (kind === "file") await writeText(`${out}.receipt.json`, receiptText(result.receipt));
    work.discard();
    return result;
  } catch (error) {
    throw leave(work, error);
  }
}

/**
 * Ends the work on an output that failed. What could be done again with success, after a signal or
 * with more space on the disk, is kept, and the error says so; anything else is removed.
 */
function leave(work: WorkFolder, error: unknown): unknown {
  const again = error instanceof LowbitError && error.code === "IO";
  let kept = false;
  try {
    kept = again && hasProgress(work);
  } catch {
    // A folder that cannot be read has nothing to go on with.
  }
  if (!kept) {
    work.discard();
    return error;
  }
  work.release();
  const { code, problem, file, field, advice, cause } = error as LowbitError;
  const goes = "the same command goes on from here";
  return new LowbitError(code, problem, {
    file,
    field,
    cause,
    advice: advice ? `${advice}; ${goes}` : goes,
  });
}
