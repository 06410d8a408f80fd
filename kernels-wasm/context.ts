/**
 * What every operation works with: an instance, its heap, its threads, and compiled encoders.
 *
 * @module
 */

import type { Buffer, ElementEncoder } from "../spec/kernels.ts";
import { refuse } from "./checks.ts";
import type { Exports, Instance } from "./instance.ts";
import { Heap, WasmBuffer } from "./memory.ts";
import { Pool } from "./pool.ts";

/** Step functions of at least this many elements are looked up through an index. */
const INDEX_WORTH = 8192;
/** Entries of the index: one for each value of the top 12 bits of a key. */
const INDEX_ENTRIES = 4096;
const MAX_KEY = 0xffff_ffff;

/** An encoder as the arguments of the exported functions. */
export interface CompiledEncoder {
  /** 1 for a step function; integers that round to even 0, away from zero 2, down 3. */
  kind: number;
  /** The limits of an integer range. */
  min: number;
  max: number;
  mask: number;
  bias: number;
  shift: number;
  /** Addresses of thresholds and codes of a step function. */
  thresholds: number;
  codes: number;
  /** Address of the index, 0 for none. */
  index: number;
  /** Halvings of the binary search, with or without the index. */
  depth: number;
}

/** A step function in WebAssembly memory. */
interface StoredSteps {
  thresholds: Uint32Array;
  codes: Uint8Array;
  address: number;
  bytes: number;
  index: number;
  indexDepth: number;
}

/** The state that operations share. */
export class Context {
  /** The exported functions. */
  readonly exports: Exports;
  /** Memory. */
  readonly heap: Heap;
  /** Threads. */
  readonly pool: Pool;
  /** Whether the operations of relaxed SIMD are there. */
  readonly relaxed: boolean;
  #steps?: StoredSteps;
  #scratch = { address: 0, bytes: 0 };

  /** A context of one thread. */
  constructor(instance: Instance) {
    this.exports = instance.exports;
    this.heap = new Heap(instance);
    this.pool = new Pool(instance, this.heap);
    this.relaxed = instance.relaxed !== undefined;
  }

  /** The address of at least so many bytes for one operation; they keep nothing until the next. */
  scratch(bytes: number): number {
    if (bytes > this.#scratch.bytes) {
      if (this.#scratch.bytes) this.heap.give(this.#scratch.address, this.#scratch.bytes);
      this.#scratch = { address: 0, bytes: 0 };
      this.#scratch = { address: this.heap.take(bytes), bytes };
    }
    return this.#scratch.address;
  }

  /** The address of a buffer's contents; 0 for an absent one. */
  at(field: string, buffer: Buffer | undefined): number {
    if (buffer === undefined) return 0;
    if (!(buffer instanceof WasmBuffer)) refuse(field, "belongs to other kernels");
    return buffer.address(this.heap, field);
  }

  /** Puts an encoder into memory; the last step function stays there. */
  encoder(e: ElementEncoder, elements: number): CompiledEncoder {
    if (e.kind === "int") {
      const { min, max, mask, rounding = "nearest_even", bias = 0, shift = 0 } = e;
      const kind = { nearest_even: 0, half_away: 2, floor: 3 }[rounding];
      const none = { thresholds: 0, codes: 0, index: 0, depth: 0 };
      return { kind, min, max, mask, bias, shift, ...none };
    }
    const stored = this.#store(e.thresholds, e.codes);
    const count = e.thresholds.length;
    const range = { min: 0, max: 0, mask: 255, bias: 0, shift: 0 };
    const base = { kind: 1, ...range, thresholds: stored.address };
    const codes = stored.address + codesAt(count);
    if (elements < INDEX_WORTH) {
      return { ...base, codes, index: 0, depth: halvings(count) };
    }
    if (stored.indexDepth < 0) {
      stored.indexDepth = this.exports.step_index(stored.address, count, stored.index);
    }
    return { ...base, codes, index: stored.index, depth: stored.indexDepth };
  }

  #store(thresholds: Uint32Array, codes: Uint8Array): StoredSteps {
    const last = this.#steps;
    if (last && same(last.thresholds, thresholds) && same(last.codes, codes)) return last;
    const count = thresholds.length;
    const indexAt = codesAt(count) + Math.ceil((count + 1) / 4) * 4;
    const bytes = indexAt + 2 * INDEX_ENTRIES;
    const address = this.heap.take(bytes);
    if (last) this.heap.give(last.address, last.bytes);
    const keys = this.heap.view("u32", address, codesAt(count) / 4);
    keys.set(thresholds);
    keys.fill(MAX_KEY, count); // what the search may look at beyond the last threshold
    this.heap.view("u8", address + codesAt(count), count + 1).set(codes);
    this.#steps = {
      thresholds: thresholds.slice(),
      codes: codes.slice(),
      address,
      bytes,
      index: address + indexAt,
      indexDepth: -1,
    };
    return this.#steps;
  }
}

/** Halvings that find one of `count + 1` steps. */
function halvings(count: number): number {
  return count === 0 ? 0 : 32 - Math.clz32(count);
}

/** Bytes of the thresholds and of the padding that a search may read. */
function codesAt(count: number): number {
  return 4 * (count + (1 << halvings(count)) + 1);
}

function same(a: Uint32Array | Uint8Array, b: Uint32Array | Uint8Array): boolean {
  return a.length === b.length && a.every((value, i) => value === b[i]);
}
