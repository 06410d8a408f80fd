/**
 * Weights in the form that `linear` multiplies by: panels of 16 output channels.
 *
 * @module
 */

import { LowbitError } from "../spec/errors.ts";
import type { LinearWeight, PackedWeightArguments } from "../spec/kernels.ts";
import type { Exports } from "./instance.ts";
import type { Heap } from "./memory.ts";

/** Output channels of a panel. */
export const PANEL = 16;
/** About how many bytes of a weight are copied at a time while it is prepared. */
const STAGING_BYTES = 1 << 20;

/** A weight in WebAssembly memory: `address` of its blocks by name, 0 for none. */
export class WasmWeight implements LinearWeight {
  readonly rows: number;
  readonly columns: number;
  readonly bytes: number;
  /** What `linear_packed` needs besides addresses; absent for a dense weight. */
  readonly packed?: PackedForm;
  #heap: Heap;
  #blocks: { address: number; bytes: number }[];
  #freed = false;

  /** A weight that owns the given blocks. */
  constructor(
    heap: Heap,
    shape: { rows: number; columns: number },
    blocks: { address: number; bytes: number }[],
    packed?: PackedForm,
  ) {
    this.#heap = heap;
    this.rows = shape.rows;
    this.columns = shape.columns;
    this.#blocks = blocks;
    this.bytes = blocks.reduce((sum, block) => sum + block.bytes, 0);
    this.packed = packed;
  }

  /** The addresses of the blocks; refuses a freed weight and one of other kernels. */
  addresses(heap: Heap): number[] {
    if (this.#freed) {
      throw new LowbitError("SHAPE", "is used after it was freed", { field: "weight" });
    }
    if (heap !== this.#heap) {
      throw new LowbitError("SHAPE", "belongs to other kernels", { field: "weight" });
    }
    return this.#blocks.map((block) => block.address);
  }

  free(): void {
    if (this.#freed) return;
    this.#freed = true;
    for (const { address, bytes } of this.#blocks) this.#heap.give(address, bytes);
  }

  [Symbol.dispose](): void {
    this.free();
  }
}

/** How the codes of a packed weight are read. */
export interface PackedForm {
  /** Bits of a code. */
  bits: number;
  /** Tiles in a row. */
  groups: number;
  /** Columns of a tile. */
  group: number;
  /** Whether the weight has zero points. */
  zeros: boolean;
  /** Whether it has minimums. */
  minimums: boolean;
  /** The table as integers `code + base`, if it is that. */
  base?: number;
}

/** Prepares f32 rows. */
export function denseWeight(
  heap: Heap,
  exports: Exports,
  data: Float32Array,
  rows: number,
  columns: number,
): WasmWeight {
  const bytes = Math.ceil(rows / PANEL) * PANEL * columns * 4;
  const step = stagedRows(columns * 4);
  const address = heap.take(bytes);
  try {
    heap.with(Math.min(step, rows) * columns * 4, (staging) => {
      for (let row = 0; row < rows; row += step) {
        const count = Math.min(step, rows - row);
        const part = data.subarray(row * columns, (row + count) * columns);
        heap.view("f32", staging, part.length).set(part);
        exports.dense_panels(staging, count, columns, address + row * columns * 4);
      }
    });
  } catch (error) {
    heap.give(address, bytes);
    throw error;
  }
  return new WasmWeight(heap, { rows, columns }, [{ address, bytes }]);
}

/** Rows to copy at a time: whole panels. */
export function stagedRows(rowBytes: number): number {
  return Math.max(1, Math.floor(STAGING_BYTES / Math.max(1, rowBytes * PANEL))) * PANEL;
}

/** Prepares packed codes; they stay packed, and scales are laid out by panel. */
export function packedWeight(heap: Heap, exports: Exports, a: PackedWeightArguments): WasmWeight {
  const { rows, columns, tileColumns, gridColumns } = a.tiling;
  const panels = Math.ceil(rows / PANEL);
  const sizes = [
    panels * Math.ceil(columns / 8) * PANEL * a.bits,
    a.table.byteLength,
    panels * gridColumns * PANEL * 4,
    a.zeros ? panels * gridColumns * PANEL * 4 : 0,
    a.minimums ? panels * gridColumns * PANEL * 4 : 0,
  ];
  const integer = integerZeros(a.zeros) ? integerTable(a.table) : undefined;
  const flip = integer?.flip ?? 0;
  const blocks: { address: number; bytes: number }[] = [];
  try {
    for (const bytes of sizes) blocks.push({ address: heap.take(bytes), bytes });
    const [codes, table, scales, zeros, minimums] = blocks.map((block) => block.address);
    packCodes(heap, exports, a, flip, codes);
    heap.view("f32", table, a.table.length).set(a.table.map((_, i) => a.table[i ^ flip]));
    layGrid(heap.view("f32", scales, sizes[2] / 4), a.scales, a.tiling);
    if (a.zeros) layGrid(heap.view("f32", zeros, sizes[3] / 4), a.zeros, a.tiling);
    if (a.minimums) layGrid(heap.view("f32", minimums, sizes[4] / 4), a.minimums, a.tiling);
  } catch (error) {
    for (const { address, bytes } of blocks) heap.give(address, bytes);
    throw error;
  }
  return new WasmWeight(heap, { rows, columns }, blocks, {
    bits: a.bits,
    groups: gridColumns,
    group: tileColumns,
    zeros: a.zeros !== undefined,
    minimums: a.minimums !== undefined,
    base: integer?.base,
  });
}

function packCodes(
  heap: Heap,
  exports: Exports,
  a: PackedWeightArguments,
  flip: number,
  out: number,
): void {
  const { rows, columns } = a.tiling;
  const rowBytes = Math.ceil(columns * a.bits / 8);
  const panelRowBytes = Math.ceil(columns / 8) * a.bits;
  const step = Math.min(stagedRows(columns), Math.ceil(rows / PANEL) * PANEL);
  heap.with(step * (rowBytes + columns), (staging) => {
    const codes = staging + step * rowBytes;
    for (let row = 0; row < rows; row += step) {
      const count = Math.min(step, rows - row);
      const part = a.bytes.subarray(row * rowBytes, (row + count) * rowBytes);
      heap.view("u8", staging, part.length).set(part);
      exports.unpack(codes, staging, a.bits, columns, rowBytes, 0, 0, 0, 0, 0, count);
      exports.packed_panels(codes, count, columns, a.bits, flip, out + row * panelRowBytes);
    }
  });
}

/** One value a tile becomes `[panel][group][16]`. */
export function layGrid<T extends Float32Array | Int16Array>(
  out: T,
  grid: T,
  t: PackedWeightArguments["tiling"],
): void {
  for (let row = 0; row < t.rows; row++) {
    const from = Math.floor(row / t.tileRows) * t.gridColumns;
    const to = Math.floor(row / PANEL) * t.gridColumns * PANEL + row % PANEL;
    for (let g = 0; g < t.gridColumns; g++) out[to + g * PANEL] = grid[from + g];
  }
}

/** Whether differences of table entries and zero points are whole numbers, exact in f32. */
function integerZeros(zeros: Float32Array | undefined): boolean {
  return !zeros || zeros.every((z) => Number.isInteger(z) && Math.abs(z) <= 1 << 20);
}

/** Whether a table holds the integers `(code ^ flip) + base`, which need no look-up. */
function integerTable(table: Float32Array): { flip: number; base: number } | undefined {
  for (const flip of [0, table.length / 2]) {
    const base = table[flip];
    if (!Number.isInteger(base) || Math.abs(base) > 1 << 20) continue;
    if (table.every((value, code) => Object.is(value, (code ^ flip) + base))) return { flip, base };
  }
  return undefined;
}
