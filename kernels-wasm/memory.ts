/**
 * Memory of the kernels: blocks of WebAssembly memory and the buffers over them.
 *
 * @module
 */

import { LowbitError } from "../spec/errors.ts";
import type { Buffer, BufferArrays, BufferType } from "../spec/kernels.ts";
import type { Instance } from "./instance.ts";

/** Bytes of an element. */
export const ELEMENT_BYTES: Readonly<Record<BufferType, number>> = {
  u8: 1,
  u32: 4,
  i32: 4,
  f32: 4,
  f64: 8,
};

/** The most bytes that one block may have: what 32-bit pointers reach, less some room. */
const MAX_BLOCK = 0xfff0_0000;

/** Takes and gives blocks, and counts them. */
export class Heap {
  #instance: Instance;
  #bytes = 0;
  #peak = 0;

  /** A heap in the memory of an instance. */
  constructor(instance: Instance) {
    this.#instance = instance;
  }

  /** Bytes held now, and the most that were. */
  get memory(): { bytes: number; peak: number } {
    return { bytes: this.#bytes, peak: this.#peak };
  }

  /** The memory as it is now; it is replaced when it grows. */
  get buffer(): ArrayBufferLike {
    return this.#instance.memory.buffer;
  }

  /** A zeroed block; its address. */
  take(bytes: number): number {
    const address = bytes > MAX_BLOCK ? 0 : this.#allocate(bytes);
    if (address === 0) {
      throw new LowbitError("MEMORY", `no room for ${bytes} bytes (${this.#bytes} are held)`, {
        advice: "free buffers, or work on smaller parts; WebAssembly memory ends at 4 GiB",
      });
    }
    this.#bytes += bytes;
    this.#peak = Math.max(this.#peak, this.#bytes);
    return address;
  }

  #allocate(bytes: number): number {
    try {
      return this.#instance.exports.block_alloc(bytes) >>> 0;
    } catch {
      return 0; // the allocator gave up
    }
  }

  /** Gives a block back. */
  give(address: number, bytes: number): void {
    this.#instance.exports.block_free(address, bytes);
    this.#bytes -= bytes;
  }

  /** Runs `use` with a block that is given back afterwards. */
  with<R>(bytes: number, use: (address: number) => R): R {
    const address = this.take(bytes);
    try {
      return use(address);
    } finally {
      this.give(address, bytes);
    }
  }

  /** A view of typed data, valid until memory grows. */
  view<T extends BufferType>(type: T, address: number, length: number): BufferArrays[T] {
    const buffer = this.buffer as ArrayBuffer;
    switch (type) {
      case "u8":
        return new Uint8Array(buffer, address, length) as BufferArrays[T];
      case "u32":
        return new Uint32Array(buffer, address, length) as BufferArrays[T];
      case "i32":
        return new Int32Array(buffer, address, length) as BufferArrays[T];
      case "f32":
        return new Float32Array(buffer, address, length) as BufferArrays[T];
      default:
        return new Float64Array(buffer, address, length) as BufferArrays[T];
    }
  }
}

/** A block that a buffer and its slices share. */
interface Block {
  heap: Heap;
  address: number;
  bytes: number;
  freed: boolean;
}

/** A buffer in WebAssembly memory. */
export class WasmBuffer<T extends BufferType = BufferType> implements Buffer<T> {
  readonly type: T;
  readonly length: number;
  #block: Block;
  #offset: number;
  #owner: boolean;

  private constructor(type: T, length: number, block: Block, offset: number, owner: boolean) {
    this.type = type;
    this.length = length;
    this.#block = block;
    this.#offset = offset;
    this.#owner = owner;
  }

  /** A zeroed buffer of `length` elements. */
  static alloc<T extends BufferType>(heap: Heap, type: T, length: number): WasmBuffer<T> {
    if (!(type in ELEMENT_BYTES)) {
      throw new LowbitError("SHAPE", `is not a buffer type: ${type}`, { field: "type" });
    }
    if (!Number.isSafeInteger(length) || length < 0) {
      throw new LowbitError("SHAPE", `must be a whole number, not ${length}`, { field: "length" });
    }
    const bytes = length * ELEMENT_BYTES[type];
    const block = { heap, address: heap.take(bytes), bytes, freed: false };
    return new WasmBuffer(type, length, block, 0, true);
  }

  get array(): BufferArrays[T] {
    return this.#block.heap.view(this.type, this.address(this.#block.heap), this.length);
  }

  /** Where the contents start in the memory of `heap`; refuses freed and foreign buffers. */
  address(heap: Heap, field?: string): number {
    if (this.#block.freed) throw new LowbitError("SHAPE", "is used after it was freed", { field });
    if (this.#block.heap !== heap) {
      throw new LowbitError("SHAPE", "belongs to other kernels", { field });
    }
    return this.#block.address + this.#offset;
  }

  slice(start: number, length: number): WasmBuffer<T> {
    this.address(this.#block.heap);
    const whole = Number.isSafeInteger(start) && Number.isSafeInteger(length);
    if (!whole || start < 0 || length < 0 || start + length > this.length) {
      throw new LowbitError(
        "SHAPE",
        `the window [${start}, ${start} + ${length}) is not inside ${this.length} elements`,
        { field: "slice" },
      );
    }
    const offset = this.#offset + start * ELEMENT_BYTES[this.type];
    return new WasmBuffer(this.type, length, this.#block, offset, false);
  }

  free(): void {
    const block = this.#block;
    if (!this.#owner || block.freed) return;
    block.freed = true;
    block.heap.give(block.address, block.bytes);
  }

  [Symbol.dispose](): void {
    this.free();
  }
}
