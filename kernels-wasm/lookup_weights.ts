/**
 * Weights of the products by look-up in WebAssembly memory.
 *
 * @module
 */

import { LowbitError } from "../spec/errors.ts";
import type {
  CodebookWeightArguments,
  LookupKernels,
  LookupWeight,
  PlaneWeightArguments,
} from "../spec/kernels_lookup.ts";
import * as check from "./checks_lookup.ts";
import type { Context } from "./context.ts";
import type { Heap } from "./memory.ts";
import { denseWeight, PANEL, type WasmWeight } from "./weights.ts";

/** A typed array that is copied into a block, or a number of bytes that are zeroed. */
type Content = Uint8Array | Uint16Array | Uint32Array | Float32Array | number;

/** A weight: blocks of memory by position, and the numbers that its product needs. */
export class WasmLookupWeight implements LookupWeight {
  readonly bytes: number;
  #blocks: { address: number; bytes: number }[] = [];
  #heap: Heap;
  #freed = false;

  /** Takes a block for each content, and copies it. */
  constructor(
    heap: Heap,
    readonly form: LookupWeight["form"],
    readonly rows: number,
    readonly columns: number,
    /** What the product needs besides addresses. */
    readonly numbers: readonly number[],
    contents: readonly Content[],
    /** Dense factors of a low-rank weight. */
    readonly factors: readonly WasmWeight[] = [],
  ) {
    this.#heap = heap;
    try {
      for (const content of contents) {
        const bytes = typeof content === "number" ? content : content.byteLength;
        const address = heap.take(bytes);
        this.#blocks.push({ address, bytes });
        if (typeof content === "number") continue;
        const plain = new Uint8Array(content.buffer, content.byteOffset, content.byteLength);
        heap.view("u8", address, bytes).set(plain);
      }
    } catch (error) {
      this.free();
      throw error;
    }
    const own = this.#blocks.reduce((sum, block) => sum + block.bytes, 0);
    this.bytes = factors.reduce((sum, factor) => sum + factor.bytes, own);
  }

  /** The addresses of the blocks; refuses a freed weight and one of other kernels. */
  addresses(heap: Heap): number[] {
    if (this.#freed) {
      throw new LowbitError("SHAPE", "is used after it was freed", { field: "weight" });
    }
    if (heap !== this.#heap) {
      throw new LowbitError("SHAPE", "belongs to other kernels", { field: "weight" });
    }
    return this.#blocks.map(({ address }) => address);
  }

  free(): void {
    if (this.#freed) return;
    this.#freed = true;
    for (const { address, bytes } of this.#blocks) this.#heap.give(address, bytes);
    for (const factor of this.factors) factor.free();
  }

  [Symbol.dispose](): void {
    this.free();
  }
}

/** Bit planes in panels; alphas as `[panel][group][plane][16]`, offsets as `[panel][group][16]`. */
export function planeWeight(c: Context, a: PlaneWeightArguments): WasmLookupWeight {
  const { group, groups } = check.planes(a);
  const { rows, columns, planes } = a;
  const [panels, rowBytes] = [Math.ceil(rows / PANEL), Math.ceil(columns / 8)];
  const lay = (grid: Float32Array | undefined, of: number) => {
    const out = new Float32Array(grid ? panels * groups * of * PANEL : 0);
    grid?.forEach((value, i) => {
      const [plane, at] = [Math.floor(i / (rows * groups)), i % (rows * groups)];
      const [row, g] = [Math.floor(at / groups), at % groups];
      const panel = Math.floor(row / PANEL);
      out[((panel * groups + g) * of + plane) * PANEL + row % PANEL] = value;
    });
    return out;
  };
  const weight = new WasmLookupWeight(
    c.heap,
    "planes",
    rows,
    columns,
    [planes, group, groups, a.alphas ? 1 : 0, a.offsets ? 1 : 0],
    [panels * rowBytes * planes * PANEL, lay(a.alphas, planes), lay(a.offsets, 1)],
  );
  const [out] = weight.addresses(c.heap);
  try {
    c.heap.with(a.bits.length, (staging) => {
      c.heap.view("u8", staging, a.bits.length).set(a.bits);
      c.exports.plane_panels(staging, planes, rows, rowBytes, out);
    });
  } catch (error) {
    weight.free();
    throw error;
  }
  return weight;
}

/** Codes, tables and scales as they are; codes of up to 256 entries in one byte. */
export function codebookWeight(c: Context, a: CodebookWeightArguments): WasmLookupWeight {
  const { entries, groups } = check.codebook(a);
  const codes = entries <= 256 ? Uint8Array.from(a.codes) : Uint16Array.from(a.codes);
  return new WasmLookupWeight(
    c.heap,
    "codebook",
    a.rows,
    a.columns,
    [entries <= 256 ? 0 : 1, a.books, entries, a.dim, groups, a.group],
    [codes, a.tables, a.scales],
  );
}

/** Entries by rows. */
export function sparseWeight(
  c: Context,
  a: Parameters<LookupKernels["sparseWeight"]>[0],
): WasmLookupWeight {
  const contents = [check.sparse(a), a.columnIndex, a.values];
  return new WasmLookupWeight(c.heap, "sparse", a.rows, a.columns, [], contents);
}

/** Two dense factors. */
export function lowRankWeight(
  c: Context,
  a: Parameters<LookupKernels["lowRankWeight"]>[0],
): WasmLookupWeight {
  check.lowRank(a);
  const right = denseWeight(c.heap, c.exports, a.right, a.rank, a.columns);
  let left: WasmWeight;
  try {
    left = denseWeight(c.heap, c.exports, a.left, a.rows, a.rank);
  } catch (error) {
    right.free();
    throw error;
  }
  return new WasmLookupWeight(c.heap, "low_rank", a.rows, a.columns, [a.rank], [], [right, left]);
}
