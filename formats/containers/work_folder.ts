/**
 * The work folder of an output on disk: `OUT.work` beside it, held by a lock of the system, which
 * goes when its owner goes.
 *
 * @module
 */

import { LowbitError } from "../../spec/errors.ts";
import type { WorkFile, WorkFolder } from "../../spec/work.ts";
import { ioError } from "./io.ts";

/** A work folder on disk. */
export interface DiskWork extends WorkFolder {
  /** Its path. */
  readonly path: string;
  /** Where the output is put together, on the same disk. */
  readonly partial: string;
}

const LOCK = "lock";

/**
 * Takes the work folder of an output, with what an earlier run left in it. Errors: `LOCKED` if
 * another process holds it, `IO`.
 *
 * @example
 * ```ts
 * import { assertEquals, assertThrows } from "@std/assert";
 * import { diskWork } from "./work_folder.ts";
 * const folder = await Deno.makeTempDir();
 * const work = diskWork(`${folder}/out`);
 * const file = work.open("a");
 * file.write(0, Uint8Array.of(1, 2));
 * file.close();
 * assertThrows(() => diskWork(`${folder}/out`), Error, "another run is writing this output");
 * work.release();
 * assertEquals(diskWork(`${folder}/out`).has("a"), true);
 * await Deno.remove(folder, { recursive: true });
 * ```
 */
export function diskWork(out: string): DiskWork {
  const final = out.length > 1 ? out.replace(/[/\\]+$/, "") || out : out;
  const path = `${final}.work`;
  const guard = <T>(work: () => T): T => {
    try {
      return work();
    } catch (error) {
      throw ioError(error, out, "write");
    }
  };
  const lock = guard(() => takeLock(path, out));
  const open = new Set<WorkFile>();
  const at = (name: string) => `${path}/${name}`;
  const remove = (name: string) => {
    try {
      Deno.removeSync(at(name), { recursive: true });
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw ioError(error, out, "write");
    }
  };
  const closeAll = () => open.forEach((file) => file.close());
  return {
    name: out,
    path,
    partial: at("output"),
    remove,
    has: (name) => guard(() => isThere(at(name))),
    open(name) {
      const file = guard(() => workFile(at(name), out));
      open.add(file);
      return file;
    },
    release() {
      closeAll();
      lock.close();
    },
    discard() {
      closeAll();
      try {
        // The lock goes last, so that nobody finds half of the folder.
        for (const { name } of Deno.readDirSync(path)) if (name !== LOCK) remove(name);
        Deno.removeSync(path, { recursive: true });
      } catch {
        // What is left is taken over by the next run.
      }
      lock.close();
    },
  };
}

function isThere(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** Makes the folder and locks it; the system gives the lock back when the process ends. */
function takeLock(path: string, out: string): Deno.FsFile {
  for (let attempt = 0; attempt < 100; attempt++) {
    Deno.mkdirSync(path, { recursive: attempt > 0 || isThere(path) });
    let file: Deno.FsFile;
    try {
      file = Deno.openSync(`${path}/${LOCK}`, { read: true, write: true, create: true });
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) continue; // its owner has just removed it
      throw error;
    }
    if (!file.tryLockSync(true)) {
      file.close();
      throw new LowbitError("LOCKED", "another run is writing this output", {
        file: out,
        advice: "wait for it to end, or choose another name",
      });
    }
    // A lock on a file that its last owner has removed is worth nothing.
    if (sameFile(file, `${path}/${LOCK}`)) return file;
    file.close();
  }
  throw new LowbitError("IO", "cannot be locked", { file: out });
}

function sameFile(file: Deno.FsFile, path: string): boolean {
  try {
    const [own, there] = [file.statSync(), Deno.lstatSync(path)];
    return own.ino === there.ino && own.dev === there.dev;
  } catch {
    return false;
  }
}

function workFile(path: string, out: string): WorkFile {
  const file = Deno.openSync(path, { read: true, write: true, create: true });
  let size = file.statSync().size;
  let isOpen = true;
  const guard = (access: "read" | "write", work: () => void) => {
    try {
      work();
    } catch (error) {
      throw ioError(error, out, access);
    }
  };
  return {
    get size() {
      return size;
    },
    read(offset, bytes) {
      guard("read", () => {
        file.seekSync(offset, Deno.SeekMode.Start);
        for (let done = 0; done < bytes.length;) {
          const count = file.readSync(bytes.subarray(done));
          if (count === null) {
            throw new LowbitError("TRUNCATED", "its journal ends early", { file: path });
          }
          done += count;
        }
      });
    },
    write(offset, bytes) {
      guard("write", () => {
        file.seekSync(offset, Deno.SeekMode.Start);
        for (let done = 0; done < bytes.length;) done += file.writeSync(bytes.subarray(done));
      });
      size = Math.max(size, offset + bytes.length);
    },
    truncate(to) {
      guard("write", () => file.truncateSync(to));
      size = to;
    },
    sync: () => guard("write", () => file.syncDataSync()),
    close() {
      if (isOpen) file.close();
      isOpen = false;
    },
  };
}
