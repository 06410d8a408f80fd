/**
 * The place of an output: whether it is free, or may be replaced.
 *
 * @module
 */

import { LowbitError } from "../../spec/errors.ts";
import { ioError } from "./io.ts";

/** Options of outputs on disk. */
export interface OutputOptions {
  /** Replace what is already there, once the new output is complete. */
  overwrite?: boolean;
  /** Where it is put together, on the same disk; what is there is replaced. */
  partial?: string;
}

/** What is at `path`, not following a link; undefined for nothing. */
export async function existing(path: string): Promise<Deno.FileInfo | undefined> {
  try {
    return await Deno.lstat(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw ioError(error, path, "read");
  }
}

/** Refuses an output that is already there, unless it may be replaced. */
export async function checkFree(
  path: string,
  kind: "file" | "directory",
  options: OutputOptions,
): Promise<void> {
  const info = await existing(path);
  if (!info) return;
  if (!options.overwrite) {
    throw new LowbitError("EXISTS", "the output is already there", {
      file: path,
      advice: "choose another name or pass --overwrite",
    });
  }
  if (kind === "file" && !info.isFile) {
    throw new LowbitError("EXISTS", "is not a file, so it is not replaced", { file: path });
  }
  if (kind === "directory") await checkReplaceable(path, info);
}

/** Only an empty folder or one that holds a checkpoint is replaced as a whole. */
async function checkReplaceable(path: string, info: Deno.FileInfo): Promise<void> {
  const names: string[] = [];
  let folders = 0;
  if (info.isDirectory) {
    try {
      for await (const entry of Deno.readDir(path)) {
        names.push(entry.name);
        if (entry.isDirectory && entry.name !== "onnx") folders++;
      }
    } catch (error) {
      throw ioError(error, path, "read");
    }
    const checkpoint = names.includes("config.json") &&
      names.some((name) => name.endsWith(".safetensors") || name === "onnx");
    if (folders === 0 && (names.length === 0 || checkpoint)) return;
  }
  throw new LowbitError("EXISTS", "is not a checkpoint, so --overwrite does not replace it", {
    file: path,
    advice: "choose another name or remove it yourself",
  });
}
