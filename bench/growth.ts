/**
 * How the time of a product grows with each of its sizes.
 *
 * @module
 */

import type { Kernels, PackedWeightArguments } from "../spec/kernels.ts";
import { takeTurns } from "./measure.ts";

/** One size that grows. */
export interface Series {
  /** What grows. */
  name: string;
  /** Seconds at each value. */
  points: { at: number; seconds: number }[];
}

/** The sizes of a product. */
interface Sizes {
  tokens: number;
  rows: number;
  columns: number;
  bits: number;
  group: number;
}

const USUAL: Sizes = { tokens: 1, rows: 1024, columns: 1024, bits: 4, group: 64 };

const GROWING: [name: string, key: keyof Sizes, values: number[]][] = [
  ["Tokens (M)", "tokens", [1, 2, 4, 8, 16, 32, 64, 128]],
  ["Rows (N)", "rows", [256, 512, 1024, 2048, 4096]],
  ["Columns (K)", "columns", [256, 512, 1024, 2048, 4096]],
  ["Bits", "bits", [1, 2, 3, 4, 5, 6, 7, 8]],
  ["Columns of a group", "group", [16, 32, 64, 128, 256, 1024]],
];

/** Measures every series. */
export async function growth(
  kernels: Kernels,
  weight: (n: number, k: number, bits: number, group: number) => PackedWeightArguments,
  turns: { rounds: number; slice: number },
): Promise<Series[]> {
  const all: Series[] = [];
  for (const [name, key, values] of GROWING) {
    const contenders = values.map((value) => {
      const sizes: Sizes = { ...USUAL };
      sizes[key] = value;
      const { tokens, rows, columns, bits, group } = sizes;
      const prepared = kernels.integerWeight(weight(rows, columns, bits, group));
      const x = kernels.upload(new Float32Array(tokens * columns).map((_, i) => Math.sin(i)));
      const y = kernels.alloc("f32", tokens * rows);
      const run = () => kernels.integerLinear({ x, y, tokens, weight: prepared });
      const free = () => [prepared, x, y].forEach((item) => item.free());
      return { name: String(value), run, free };
    });
    const seconds = await takeTurns(contenders, { ...turns, slice: turns.slice / 3 });
    for (const { free } of contenders) free();
    all.push({ name, points: values.map((at) => ({ at, seconds: seconds.get(String(at))! })) });
  }
  return all;
}
