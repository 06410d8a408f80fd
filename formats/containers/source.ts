/**
 * Random access to bytes: a file, memory, or a browser's `File`. Remote ones are in `../sources/`.
 *
 * @module
 */

import type { ByteSource } from "../../spec/checkpoint.ts";
import { LowbitError } from "../../spec/errors.ts";
import { ioError } from "./io.ts";

/** Checks the range of a read against the size; the error says how much is missing. */
export function checkRange(name: string, size: number, offset: number, length: number): void {
  if (!Number.isSafeInteger(offset) || !Number.isSafeInteger(length) || offset < 0 || length < 0) {
    throw new LowbitError("TRUNCATED", `cannot read ${length} bytes from offset ${offset}`, {
      file: name,
    });
  }
  if (offset + length > size) {
    throw new LowbitError(
      "TRUNCATED",
      `ends at byte ${size}, but bytes ${offset} to ${offset + length} are needed`,
      { file: name, advice: "copy or download the file again" },
    );
  }
}

/** A buffer, or one clear error where the runtime has no such amount of memory. */
export function allocate(name: string, length: number): Uint8Array<ArrayBuffer> {
  try {
    return new Uint8Array(length);
  } catch (cause) {
    throw new LowbitError("MEMORY", `cannot hold ${length} bytes at once`, { file: name, cause });
  }
}

/**
 * A file on disk. Its size is taken once, when it is opened.
 *
 * Errors: `NOT_FOUND`, `IO`; reads throw `TRUNCATED`, also when the file shrinks meanwhile.
 *
 * @example
 * ```ts
 * import { fileSource } from "./source.ts";
 * const source = await fileSource("deno.json");
 * const start = await source.read(0, 8);
 * source.close();
 * ```
 */
export async function fileSource(path: string): Promise<ByteSource> {
  let file: Deno.FsFile;
  let size: number;
  try {
    file = await Deno.open(path, { read: true });
  } catch (error) {
    throw ioError(error, path, "read");
  }
  try {
    const info = await file.stat();
    if (!info.isFile) throw new LowbitError("IO", "is not a regular file", { file: path });
    size = info.size;
  } catch (error) {
    file.close();
    throw ioError(error, path, "read");
  }
  let open = true;
  // Where the file stands; reads in order need no seek.
  let at: number | undefined = 0;
  // Reads share one file position, so each waits for the one before it.
  let queue: Promise<unknown> = Promise.resolve();
  const readNow = async (offset: number, length: number) => {
    if (!open) throw new LowbitError("IO", "was read after it was closed", { file: path });
    const bytes = allocate(path, length);
    try {
      if (at !== offset) await file.seek(offset, Deno.SeekMode.Start);
      at = undefined;
      for (let done = 0; done < length;) {
        const count = await file.read(bytes.subarray(done));
        if (count === null) {
          throw new LowbitError("TRUNCATED", `became shorter than its ${size} bytes`, {
            file: path,
          });
        }
        done += count;
      }
      at = offset + length;
    } catch (error) {
      throw ioError(error, path, "read");
    }
    return bytes;
  };
  return {
    name: path,
    size,
    async read(offset, length) {
      checkRange(path, size, offset, length);
      const result = queue.then(() => readNow(offset, length));
      queue = result.catch(() => {});
      return await result;
    },
    close() {
      if (open) file.close();
      open = false;
    },
  };
}

/**
 * Bytes in memory. Reads return copies.
 *
 * @example
 * ```ts
 * import { memorySource } from "./source.ts";
 * const source = memorySource("three.bin", new Uint8Array([1, 2, 3]));
 * await source.read(1, 2); // Uint8Array [2, 3]
 * ```
 */
export function memorySource(name: string, bytes: Uint8Array): ByteSource {
  return {
    name,
    size: bytes.length,
    // deno-lint-ignore require-await
    async read(offset, length) {
      checkRange(name, bytes.length, offset, length);
      return new Uint8Array(bytes.subarray(offset, offset + length));
    },
    close() {},
  };
}

/**
 * A `Blob` or a `File` of a browser; `name` is taken from a `File` if it is not given.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { blobSource } from "./source.ts";
 * const source = blobSource(new Blob([Uint8Array.of(1, 2, 3)]), "three.bin");
 * assertEquals([...await source.read(1, 2)], [2, 3]);
 * ```
 */
export function blobSource(blob: Blob, name?: string): ByteSource {
  const title = name ?? (blob as Partial<File>).name ?? "blob";
  return {
    name: title,
    size: blob.size,
    async read(offset, length) {
      checkRange(title, blob.size, offset, length);
      try {
        return new Uint8Array(await blob.slice(offset, offset + length).arrayBuffer());
      } catch (error) {
        throw ioError(error, title, "read");
      }
    },
    close() {},
  };
}
