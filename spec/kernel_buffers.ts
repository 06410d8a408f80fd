/**
 * Buffers: memory of the kernels, as typed arrays.
 *
 * @module
 */

/** The element types of buffers. */
export type BufferType = "u8" | "u32" | "i32" | "f32" | "f64";

/** The typed array behind each buffer type. */
export interface BufferArrays {
  /** Codes and packed bytes. */
  u8: Uint8Array;
  /** Indices and order-preserving keys. */
  u32: Uint32Array;
  /** Token ids and group indices. */
  i32: Int32Array;
  /** Weights, activations, scales. */
  f32: Float32Array;
  /** Hessians and their factors. */
  f64: Float64Array;
}

/** A piece of memory of the kernel implementation. Freed by `free()` or `using`. */
export interface Buffer<T extends BufferType = BufferType> extends Disposable {
  /** The element type. */
  readonly type: T;
  /** The number of elements. */
  readonly length: number;
  /**
   * A view of the contents, valid until the next call of any operation or `alloc`: memory may
   * move. Take it again instead of keeping it.
   */
  readonly array: BufferArrays[T];
  /** A window `[start, start + length)` of the same memory; must not outlive it; not freed itself. */
  slice(start: number, length: number): Buffer<T>;
  /** Gives the memory back. Using the buffer afterwards is an error. */
  free(): void;
}
