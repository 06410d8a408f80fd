/**
 * Outputs by path: a folder or a file, as a target writes it.
 *
 * @module
 */

import type { Output, Target } from "../../spec/mod.ts";
import { directoryOutput, fileOutput } from "./output.ts";
import type { OutputOptions } from "./output_place.ts";

/** The output at a path, as a target writes it; an output stays what it is. */
export async function outputAt(
  out: string | Output,
  { output }: Pick<Target, "output">,
  options: OutputOptions = {},
): Promise<Output> {
  if (typeof out !== "string") return out;
  return output === "directory"
    ? await directoryOutput(out, options)
    : await fileOutput(out, options);
}

/** Writes a small file as a whole, or not at all. */
export async function writeText(path: string, text: string): Promise<void> {
  const output = await fileOutput(path, { overwrite: true });
  const sink = await output.file(path);
  await sink.write(new TextEncoder().encode(text));
  await sink.close();
  await output.commit();
}
