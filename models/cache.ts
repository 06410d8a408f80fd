/**
 * Memories of attention: keys and values of the tokens so far, in full precision or by the policy of
 * a plugin.
 *
 * @module
 */

import { type Buffer, type CachePolicy, type Kernels, LowbitError } from "../spec/mod.ts";

/** Keys and values to attend over; `release` frees what was made for this call. */
export interface AttentionPast {
  /** Keys `[length, kvHeads * headSize]`. */
  keys: Buffer<"f32">;
  /** Values `[length, kvHeads * headSize]`. */
  values: Buffer<"f32">;
  /** Rows; the last ones are the new tokens. */
  length: number;
  /** To be called when they have been read. */
  release(): void;
}

/** What one block remembers of its sequence. */
export interface AttentionMemory extends Disposable {
  /** Tokens that it has seen: the position of the next one. */
  readonly position: number;
  /** Bytes that it holds. */
  readonly bytes: number;
  /** New tokens must come one at a time; see `CachePolicy`. */
  readonly stepwise?: boolean;
  /** Takes keys and values of new tokens and gives all that they attend over. */
  extend(keys: Buffer<"f32">, values: Buffer<"f32">, tokens: number): AttentionPast;
  /** Forgets everything from position `length` on. */
  truncate(length: number): void;
  /** Gives the memory back. */
  free(): void;
}

/**
 * A memory in full precision that grows by doubling. `width` is `kvHeads * headSize`; values may have
 * another.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { referenceKernels } from "../kernels-wasm/reference.ts";
 * import { fullMemory } from "./cache.ts";
 * const kernels = referenceKernels();
 * using memory = fullMemory(kernels, 2);
 * using x = kernels.upload(Float32Array.of(1, 2));
 * memory.extend(x, x, 1).release();
 * const { keys, length } = memory.extend(x, x, 1);
 * assertEquals([length, ...keys.array], [2, 1, 2, 1, 2]);
 * ```
 */
export function fullMemory(kernels: Kernels, width: number, valueWidth = width): AttentionMemory {
  let capacity = 32, length = 0;
  let keys = kernels.alloc("f32", capacity * width),
    values = kernels.alloc("f32", capacity * valueWidth);
  const grow = (old: Buffer<"f32">, rows: number, size: number) => {
    const larger = kernels.alloc("f32", rows * size);
    larger.slice(0, length * size).array.set(old.array.subarray(0, length * size));
    old.free();
    return larger;
  };
  const memory: AttentionMemory = {
    get position() {
      return length;
    },
    get bytes() {
      return 4 * capacity * (width + valueWidth);
    },
    extend(newKeys, newValues, tokens) {
      if (length + tokens > capacity) {
        const rows = Math.max(length + tokens, 2 * capacity);
        keys = grow(keys, rows, width);
        values = grow(values, rows, valueWidth);
        capacity = rows;
      }
      keys.array.set(newKeys.array, length * width);
      values.array.set(newValues.array, length * valueWidth);
      length += tokens;
      return {
        keys: keys.slice(0, length * width),
        values: values.slice(0, length * valueWidth),
        length,
        release() {},
      };
    },
    truncate(to) {
      length = Math.min(length, to);
    },
    free() {
      keys.free();
      values.free();
    },
    [Symbol.dispose]: () => memory.free(),
  };
  return memory;
}

/**
 * A memory that a plugin's policy decides on. The policy may keep fewer tokens than it was given,
 * but not fewer than the new ones; the last rows that it reads back are the new tokens.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { referenceKernels } from "../kernels-wasm/reference.ts";
 * import type { CachePolicy } from "../spec/mod.ts";
 * import { policyMemory } from "./cache.ts";
 *
 * const kernels = referenceKernels();
 * let newest: ReturnType<CachePolicy["read"]>;
 * const forgetful: CachePolicy = {
 *   append: (keys, values, length) => void (newest = { keys, values, length }),
 *   read: () => newest,
 *   truncate() {},
 *   bytes: 0,
 * };
 * using memory = policyMemory(kernels, forgetful, 2);
 * using x = kernels.upload(Float32Array.of(1, 2));
 * memory.extend(x, x, 1).release();
 * const past = memory.extend(x, x, 1);
 * assertEquals([memory.position, past.length], [2, 1]);
 * past.release();
 * ```
 */
export function policyMemory(
  kernels: Kernels,
  policy: CachePolicy,
  width: number,
  valueWidth = width,
): AttentionMemory {
  let position = 0;
  const memory: AttentionMemory = {
    get position() {
      return position;
    },
    get bytes() {
      return policy.bytes;
    },
    stepwise: policy.stepwise,
    extend(newKeys, newValues, tokens) {
      policy.append(newKeys.array.slice(), newValues.array.slice(), tokens);
      position += tokens;
      const { keys, values, length } = policy.read();
      if (
        length < tokens || keys.length !== length * width || values.length !== length * valueWidth
      ) {
        throw new LowbitError("PLUGIN", `read() gives ${length} rows of ${keys.length} numbers`, {
          field: "cache",
          advice: `rows have ${width} numbers, and the ${tokens} new tokens must be among them`,
        });
      }
      const k = kernels.upload(keys), v = kernels.upload(values);
      return {
        keys: k,
        values: v,
        length,
        release() {
          k.free();
          v.free();
        },
      };
    },
    truncate(to) {
      policy.truncate(to);
      position = Math.min(position, to);
    },
    free() {},
    [Symbol.dispose]() {},
  };
  return memory;
}

/**
 * The memories of all blocks of a model, for one sequence.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { referenceKernels } from "../kernels-wasm/reference.ts";
 * import { fullMemory, KeyValueCache } from "./cache.ts";
 * const kernels = referenceKernels();
 * using cache = new KeyValueCache([fullMemory(kernels, 2), fullMemory(kernels, 2)]);
 * using x = kernels.upload(Float32Array.of(1, 2));
 * for (const block of cache.blocks) block.extend(x, x, 1).release();
 * assertEquals(cache.position, 1);
 * cache.truncate(0);
 * assertEquals(cache.position, 0);
 * ```
 */
export class KeyValueCache implements Disposable {
  /** One memory a block. */
  readonly blocks: readonly AttentionMemory[];

  /** Takes over the memories of the blocks. */
  constructor(blocks: readonly AttentionMemory[]) {
    this.blocks = blocks;
  }

  /** Tokens seen: the position of the next one. */
  get position(): number {
    return this.blocks[0]?.position ?? 0;
  }

  /** Bytes held. */
  get bytes(): number {
    return this.blocks.reduce((sum, block) => sum + block.bytes, 0);
  }

  /** Forgets everything from position `length` on. */
  truncate(length: number): void {
    for (const block of this.blocks) block.truncate(length);
  }

  /** Gives the memory back. */
  free(): void {
    for (const block of this.blocks) block.free();
  }

  /** Gives the memory back. */
  [Symbol.dispose](): void {
    this.free();
  }
}
