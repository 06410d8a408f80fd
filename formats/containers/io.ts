/**
 * Failures of the operating system as one clear line each.
 *
 * @module
 */

import { LowbitError } from "../../spec/errors.ts";

/** What was being done to the file. */
export type Access = "read" | "write";

/**
 * The {@linkcode LowbitError} for an error that the operating system or the runtime threw:
 * `NOT_FOUND` for a missing file that should be read, `EXISTS` for one that is in the way, `IO` for
 * everything else. A `LowbitError` is returned as it is.
 */
export function ioError(error: unknown, file: string, access: Access): LowbitError {
  if (error instanceof LowbitError) return error;
  const name = error instanceof Error ? error.name : "";
  const code = (error as { code?: string } | undefined)?.code ?? "";
  const made = (kind: "NOT_FOUND" | "EXISTS" | "IO", problem: string, advice?: string) =>
    new LowbitError(kind, problem, { file, advice, cause: error });
  if (name === "NotCapable") {
    return made("IO", `no permission to ${access} it`, `run with --allow-${access}`);
  }
  if (name === "NotFound" || code === "ENOENT") {
    return access === "read"
      ? made("NOT_FOUND", "no such file or folder")
      : made("IO", "its folder does not exist", "create the folder first");
  }
  if (name === "AlreadyExists" || code === "EEXIST" || code === "ENOTEMPTY") {
    return made("EXISTS", "is already there", "choose another name or pass --overwrite");
  }
  if (name === "PermissionDenied" || code === "EACCES" || code === "EPERM") {
    return made("IO", `the system refuses to ${access} it`, "check its owner and its permissions");
  }
  if (code === "ENOSPC" || code === "EDQUOT") {
    return made("IO", "no space left on the disk", "free some space and run the command again");
  }
  if (code === "EROFS") return made("IO", "the file system is read-only");
  if (code === "EISDIR" || name === "IsADirectory") return made("IO", "is a folder, not a file");
  if (code === "ENOTDIR" || name === "NotADirectory") return made("IO", "is not in a folder");
  const message = error instanceof Error ? error.message : String(error);
  return made("IO", `cannot ${access} it: ${message.replace(/ \(os error \d+\).*$/s, "")}`);
}
