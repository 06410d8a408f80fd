/**
 * Outputs that appear as a whole, by rename, or not at all.
 *
 * @module
 */

import type { ByteSource, FileSink, Output } from "../../spec/checkpoint.ts";
import { LowbitError } from "../../spec/errors.ts";
import { ioError } from "./io.ts";
import { checkFree, existing, type OutputOptions } from "./output_place.ts";
import { fileSource, memorySource } from "./source.ts";

/** A file being written on disk; errors name `shown`, the place where it will appear. */
async function diskSink(path: string, shown: string): Promise<FileSink> {
  let file: Deno.FsFile;
  try {
    file = await Deno.open(path, { write: true, createNew: true });
  } catch (error) {
    throw ioError(error, shown, "write");
  }
  let size = 0;
  let open = true;
  const all = async (bytes: Uint8Array) => {
    for (let done = 0; done < bytes.length;) done += await file.write(bytes.subarray(done));
  };
  return {
    get size() {
      return size;
    },
    async write(bytes) {
      try {
        await all(bytes);
      } catch (error) {
        throw ioError(error, shown, "write");
      }
      size += bytes.length;
    },
    async patch(offset, bytes) {
      checkPatch(offset, bytes.length, size, shown);
      try {
        await file.seek(offset, Deno.SeekMode.Start);
        await all(bytes);
        await file.seek(size, Deno.SeekMode.Start);
      } catch (error) {
        throw ioError(error, shown, "write");
      }
    },
    async close() {
      if (!open) return;
      open = false;
      try {
        await file.sync();
      } catch (error) {
        throw ioError(error, shown, "write");
      } finally {
        file.close();
      }
    },
  };
}

function checkPatch(offset: number, length: number, size: number, shown: string): void {
  if (offset < 0 || offset + length > size) {
    throw new LowbitError(
      "SHAPE",
      `cannot patch bytes ${offset} to ${offset + length} of ${size}`,
      {
        file: shown,
      },
    );
  }
}

/** The path without trailing separators, and its sibling with `mark` and a random part. */
function places(path: string): { final: string; sibling: (mark: string) => string } {
  const final = path.length > 1 ? path.replace(/[/\\]+$/, "") || path : path;
  const random = crypto.randomUUID().slice(0, 8);
  return { final, sibling: (mark) => `${final}.${mark}-${random}` };
}

async function syncFolderOf(path: string): Promise<void> {
  const folder = path.replace(/[^/\\]*$/, "") || ".";
  try {
    using handle = await Deno.open(folder, { read: true });
    await handle.sync();
  } catch {
    // Not every system lets a folder be opened; the rename itself has been done.
  }
}

/** Removes what an earlier run has left. */
async function removeOld(path: string): Promise<void> {
  try {
    await Deno.remove(path, { recursive: true });
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw ioError(error, path, "write");
  }
}

const quietly = async (work: Promise<unknown>) => {
  try {
    await work;
  } catch {
    // Cleaning up after a failure must not hide the failure.
  }
};

/**
 * A folder that appears under `path` when everything in it is complete. Until then it is
 * `PATH.partial-RANDOM` beside it.
 *
 * Errors: `EXISTS`, `IO`. With `overwrite`, an existing folder is replaced if it is empty or holds a
 * checkpoint (`config.json` and `*.safetensors`), and nothing else.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { directoryOutput } from "./output.ts";
 * const folder = await Deno.makeTempDir();
 * const output = await directoryOutput(`${folder}/out`);
 * const sink = await output.file("config.json");
 * await sink.write(new TextEncoder().encode("{}"));
 * await output.commit();
 * assertEquals(await Deno.readTextFile(`${folder}/out/config.json`), "{}");
 * await Deno.remove(folder, { recursive: true });
 * ```
 */
export async function directoryOutput(
  path: string,
  options: OutputOptions = {},
): Promise<Output> {
  const { final, sibling } = places(path);
  await checkFree(final, "directory", options);
  const partial = options.partial ?? sibling("partial");
  try {
    if (options.partial) await removeOld(partial);
    await Deno.mkdir(partial);
  } catch (error) {
    throw ioError(error, final, "write");
  }
  const sinks: FileSink[] = [];
  const names: string[] = [];
  let state: "open" | "committed" | "aborted" = "open";
  const closeAll = async () => {
    for (const sink of sinks) await sink.close();
  };
  const output: Output = {
    name: path,
    async file(name) {
      checkName(name, path);
      if (name.includes("/")) await Deno.mkdir(`${partial}/onnx`, { recursive: true });
      const sink = await diskSink(`${partial}/${name}`, `${final}/${name}`);
      sinks.push(sink);
      names.push(name);
      return sink;
    },
    written: () => Promise.all(names.map((name) => readBack(`${partial}/${name}`, name))),
    async commit() {
      checkOpen(state, path);
      await closeAll();
      await syncFolderOf(`${partial}/`);
      await checkFree(final, "directory", options);
      const replaced = await existing(final) ? sibling("replaced") : undefined;
      try {
        if (replaced) await Deno.rename(final, replaced);
        await Deno.rename(partial, final);
      } catch (error) {
        if (replaced && !(await existing(final))) await quietly(Deno.rename(replaced, final));
        throw ioError(error, final, "write");
      }
      state = "committed";
      await syncFolderOf(final);
      if (replaced) await quietly(Deno.remove(replaced, { recursive: true }));
    },
    async abort() {
      if (state !== "open") return;
      state = "aborted";
      await quietly(closeAll());
      await quietly(Deno.remove(partial, { recursive: true }));
    },
  };
  return output;
}

/**
 * One file that appears under `path` when it is complete. Until then it is `PATH.partial-RANDOM`
 * beside it. The name given to `file()` does not matter; it can be called once.
 *
 * Errors: `EXISTS`, `IO`.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { fileOutput } from "./output.ts";
 * const folder = await Deno.makeTempDir();
 * const output = await fileOutput(`${folder}/a.bin`);
 * const sink = await output.file("a.bin");
 * await sink.write(Uint8Array.of(1, 2));
 * await output.commit();
 * assertEquals([...await Deno.readFile(`${folder}/a.bin`)], [1, 2]);
 * await Deno.remove(folder, { recursive: true });
 * ```
 */
export async function fileOutput(path: string, options: OutputOptions = {}): Promise<Output> {
  const { final, sibling } = places(path);
  await checkFree(final, "file", options);
  const partial = options.partial ?? sibling("partial");
  if (options.partial) await removeOld(partial);
  let sink: FileSink | undefined;
  let state: "open" | "committed" | "aborted" = "open";
  return {
    name: path,
    async file() {
      if (sink) throw new LowbitError("CONFLICT", "the output is one file", { file: path });
      return sink = await diskSink(partial, final);
    },
    written: async () => sink ? [await readBack(partial, final)] : [],
    async commit() {
      checkOpen(state, path);
      if (!sink) throw new LowbitError("IO", "nothing was written", { file: path });
      await sink.close();
      await checkFree(final, "file", options);
      try {
        await Deno.rename(partial, final);
      } catch (error) {
        throw ioError(error, final, "write");
      }
      state = "committed";
      await syncFolderOf(final);
    },
    async abort() {
      if (state !== "open") return;
      state = "aborted";
      if (!sink) return;
      await quietly(sink.close());
      await quietly(Deno.remove(partial));
    },
  };
}

/** A written file as a source, under the name that it will have. */
async function readBack(path: string, name: string): Promise<ByteSource> {
  const source = await fileSource(path);
  return {
    name,
    size: source.size,
    read: (offset, length) => source.read(offset, length),
    close: () => source.close(),
  };
}

function checkOpen(state: string, path: string): void {
  if (state !== "open") {
    throw new LowbitError("IO", `the output was already ${state}`, { file: path });
  }
}

/**
 * Names inside an output folder are plain (no separators, no `..`, no control characters), but for
 * those of files in `onnx/`, where transformers.js looks for models.
 */
function checkName(name: string, path: string): void {
  // deno-lint-ignore no-control-regex
  if (!/^(?:onnx\/)?[^/\\:\u0000-\u001f]{1,255}$/.test(name) || /(^|\/)\.\.?$/.test(name)) {
    throw new LowbitError("IO", `${JSON.stringify(name)} is not a plain file name`, { file: path });
  }
}

/** An {@linkcode Output} in memory, for tests and browsers. */
export interface MemoryOutput extends Output {
  /** The files by name; empty before `commit` and after `abort`. */
  readonly files: ReadonlyMap<string, Uint8Array<ArrayBuffer>>;
}

/**
 * An output in memory.
 *
 * @example
 * ```ts
 * import { memoryOutput } from "./output.ts";
 * const output = memoryOutput("out");
 * const sink = await output.file("a.bin");
 * await sink.write(new Uint8Array([1, 2]));
 * await output.commit();
 * output.files.get("a.bin"); // Uint8Array [1, 2]
 * ```
 */
export function memoryOutput(name = "memory"): MemoryOutput {
  const pending = new Map<string, () => Uint8Array<ArrayBuffer>>();
  const files = new Map<string, Uint8Array<ArrayBuffer>>();
  let state: "open" | "committed" | "aborted" = "open";
  return {
    name,
    files,
    // deno-lint-ignore require-await
    async file(file) {
      checkName(file, name);
      if (pending.has(file)) throw new LowbitError("EXISTS", "is already there", { file });
      const { sink, bytes } = memorySink(`${name}/${file}`);
      pending.set(file, bytes);
      return sink;
    },
    // deno-lint-ignore require-await
    async written() {
      return [...pending].map(([file, bytes]) => memorySource(file, bytes()));
    },
    // deno-lint-ignore require-await
    async commit() {
      checkOpen(state, name);
      state = "committed";
      for (const [file, bytes] of pending) files.set(file, bytes());
    },
    // deno-lint-ignore require-await
    async abort() {
      if (state === "open") state = "aborted";
      pending.clear();
    },
  };
}

/** A sink that grows an array, doubling it. */
function memorySink(name: string): { sink: FileSink; bytes: () => Uint8Array<ArrayBuffer> } {
  let buffer = new Uint8Array(1024);
  let size = 0;
  const sink: FileSink = {
    get size() {
      return size;
    },
    // deno-lint-ignore require-await
    async write(bytes) {
      if (size + bytes.length > buffer.length) {
        const larger = new Uint8Array(Math.max(buffer.length * 2, size + bytes.length));
        larger.set(buffer.subarray(0, size));
        buffer = larger;
      }
      buffer.set(bytes, size);
      size += bytes.length;
    },
    // deno-lint-ignore require-await
    async patch(offset, bytes) {
      checkPatch(offset, bytes.length, size, name);
      buffer.set(bytes, offset);
    },
    async close() {},
  };
  return { sink, bytes: () => buffer.slice(0, size) };
}
