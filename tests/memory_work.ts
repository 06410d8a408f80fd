/**
 * A work folder in memory that fails when its disk is full.
 *
 * @module
 */

import { LowbitError, type WorkFile, type WorkFolder } from "../spec/mod.ts";

/** A work folder over `files`; all writes after the first `writes` fail. */
export function memoryWork(
  name: string,
  writes = Infinity,
  files: Map<string, Uint8Array<ArrayBuffer>> = new Map(),
): { work: WorkFolder; files: Map<string, Uint8Array<ArrayBuffer>> } {
  let left = writes;
  const open = (file: string): WorkFile => {
    if (!files.has(file)) files.set(file, new Uint8Array());
    return {
      get size() {
        return files.get(file)!.length;
      },
      read(offset, bytes) {
        const stored = files.get(file)!;
        if (offset + bytes.length > stored.length) {
          throw new LowbitError("TRUNCATED", "its journal ends early", { file });
        }
        bytes.set(stored.subarray(offset, offset + bytes.length));
      },
      write(offset, bytes) {
        const full = --left < 0;
        // A full disk takes a part of what it is given.
        const taken = full ? bytes.subarray(0, bytes.length >> 1) : bytes;
        const old = files.get(file)!;
        const grown = new Uint8Array(Math.max(old.length, offset + taken.length));
        grown.set(old);
        grown.set(taken, offset);
        files.set(file, grown);
        if (full) throw new LowbitError("IO", "no space left on the disk", { file: name });
      },
      truncate: (size) => void files.set(file, files.get(file)!.slice(0, size)),
      sync() {},
      close() {},
    };
  };
  return {
    files,
    work: {
      name,
      open,
      has: (file) => files.has(file),
      remove: (file) => void files.delete(file),
      release() {},
      discard: () => files.clear(),
    },
  };
}
