/**
 * An output whose files become blobs: the browser may keep those outside the memory of the tab.
 *
 * @module
 */

import { memoryOutput } from "../../formats/containers/output.ts";
import { blobSource } from "../../formats/containers/source.ts";
import { type FileSink, LowbitError, type Output } from "../../spec/mod.ts";

/** Bytes that are collected before they become a part of a blob. */
const PART = 8 << 20;

/** An output in blobs. */
export interface BlobOutput extends Output {
  /** The files; empty before `commit` and after `abort`. */
  readonly files: ReadonlyMap<string, Blob>;
}

/** Collects a file: the end in memory, the rest in blobs. */
class BlobSink implements FileSink {
  #blob = new Blob([]);
  #tail: Uint8Array<ArrayBuffer>[] = [];
  #tailBytes = 0;

  get size(): number {
    return this.#blob.size + this.#tailBytes;
  }

  // deno-lint-ignore require-await
  async write(bytes: Uint8Array): Promise<void> {
    this.#tail.push(new Uint8Array(bytes));
    this.#tailBytes += bytes.length;
    if (this.#tailBytes >= PART) this.blob();
  }

  // deno-lint-ignore require-await
  async patch(offset: number, bytes: Uint8Array): Promise<void> {
    if (offset < 0 || offset + bytes.length > this.size) {
      throw new LowbitError("IO", `cannot write ${bytes.length} bytes at ${offset}`);
    }
    const blob = this.blob();
    const after = blob.slice(offset + bytes.length);
    this.#blob = new Blob([blob.slice(0, offset), new Uint8Array(bytes), after]);
  }

  async close(): Promise<void> {}

  /** All bytes so far. */
  blob(): Blob {
    if (this.#tailBytes > 0) this.#blob = new Blob([this.#blob, ...this.#tail]);
    this.#tail = [];
    this.#tailBytes = 0;
    return this.#blob;
  }
}

/**
 * An output in blobs; otherwise as `memoryOutput`, whose checks of names and states it keeps.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { blobOutput } from "./blob_output.ts";
 * const output = blobOutput("out");
 * const sink = await output.file("a.bin");
 * await sink.write(Uint8Array.of(1, 2, 3));
 * await sink.patch(1, Uint8Array.of(9));
 * await output.commit();
 * assertEquals([...await output.files.get("a.bin")!.bytes()], [1, 9, 3]);
 * ```
 */
export function blobOutput(name: string): BlobOutput {
  const states = memoryOutput(name);
  const pending = new Map<string, BlobSink>();
  const files = new Map<string, Blob>();
  return {
    name,
    files,
    async file(file) {
      await states.file(file);
      const sink = new BlobSink();
      pending.set(file, sink);
      return sink;
    },
    // deno-lint-ignore require-await
    async written() {
      return [...pending].map(([file, sink]) => blobSource(sink.blob(), file));
    },
    async commit() {
      await states.commit();
      for (const [file, sink] of pending) files.set(file, sink.blob());
    },
    async abort() {
      await states.abort();
      pending.clear();
    },
  };
}
