/**
 * The residual streams of the calibration windows between two blocks: in memory, or in a file of
 * the work folder from which one window at a time is fetched.
 *
 * @module
 */

import type { Buffer, Kernels, WorkFile } from "../spec/mod.ts";

/** A window that is in memory until it is disposed of. */
export interface Borrowed extends Disposable {
  /** Its values, `[tokens, hidden]`. */
  readonly buffer: Buffer<"f32">;
}

/** What {@linkcode Activations} are made with. */
export interface ActivationsOptions {
  /** The kernels whose memory holds them. */
  kernels: Kernels;
  /** Values of each window. */
  lengths: readonly number[];
  /** A file that has a copy, or all there is. */
  file?: WorkFile;
  /** Whether memory holds them as well as the file. */
  resident: boolean;
}

/** The activations of all windows at one place of the model. */
export class Activations implements Disposable {
  readonly #options: ActivationsOptions;
  readonly #buffers: (Buffer<"f32"> | undefined)[] = [];
  readonly #offsets: number[] = [];
  #filled = 0;

  /** Room for the windows; with `stored`, their values are in the file already. */
  constructor(options: ActivationsOptions, stored = false) {
    this.#options = options;
    let at = 0;
    for (const length of options.lengths) {
      this.#offsets.push(at);
      at += 4 * length;
    }
    if (stored) this.#filled = this.count;
    if (stored && options.resident) {
      for (let i = 0; i < this.count; i++) this.#buffers[i] = this.#fetch(i);
    }
  }

  /** The file and the bytes of it, if there is one. */
  get stored(): { file: WorkFile; bytes: number } | undefined {
    const { file } = this.#options;
    return file && { file, bytes: this.bytes };
  }

  /** Bytes of all windows. */
  get bytes(): number {
    return this.#options.lengths.reduce((sum, length) => sum + 4 * length, 0);
  }

  /** How many windows. */
  get count(): number {
    return this.#options.lengths.length;
  }

  /** How many windows have values. */
  get filled(): number {
    return this.#filled;
  }

  /** A window, for as long as it is needed. */
  borrow(i: number): Borrowed {
    const kept = this.#buffers[i];
    if (kept) return { buffer: kept, [Symbol.dispose]() {} };
    const buffer = this.#fetch(i);
    return { buffer, [Symbol.dispose]: () => buffer.free() };
  }

  /** Takes over a buffer as the values of a window. */
  put(i: number, buffer: Buffer<"f32">): void {
    const { file, resident } = this.#options;
    try {
      const { buffer: memory, byteOffset, byteLength } = buffer.array;
      // File calls refuse shared memory, so the bytes are copied out of it.
      file?.write(this.#offsets[i], new Uint8Array(memory, byteOffset, byteLength).slice());
      this.#filled++;
    } finally {
      if (resident) this.#buffers[i] = buffer;
      else buffer.free();
    }
  }

  /** Gives the memory of a window back. */
  drop(i: number): void {
    this.#buffers[i]?.free();
    this.#buffers[i] = undefined;
  }

  /** Gives the memory of all windows back and closes the file. */
  free(): void {
    for (let i = 0; i < this.count; i++) this.drop(i);
    this.#options.file?.close();
  }

  /** Gives the memory of all windows back and closes the file. */
  [Symbol.dispose](): void {
    this.free();
  }

  #fetch(i: number): Buffer<"f32"> {
    const { kernels, lengths, file } = this.#options;
    const values = new Float32Array(lengths[i]);
    file!.read(this.#offsets[i], new Uint8Array(values.buffer));
    return kernels.upload(values);
  }
}
