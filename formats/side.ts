/**
 * Side tensors: what is added to decoded values.
 *
 * @module
 */

import type { SideTensor } from "../spec/mod.ts";

/**
 * Adds a side tensor to decoded values `[rows, columns]`, in place; f64 sums for low rank.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { addSide } from "./side.ts";
 * const [rows, columns] = [Uint32Array.of(1), Uint32Array.of(0)];
 * const values = Float32Array.of(1, 2, 3, 4);
 * addSide(values, 2, { kind: "sparse", rows, columns, values: Float32Array.of(0.5) });
 * assertEquals([...values], [1, 2, 3.5, 4]);
 * ```
 */
export function addSide(values: Float32Array, columns: number, side: SideTensor): void {
  if (side.kind === "sparse") {
    side.values.forEach((value, i) => values[side.rows[i] * columns + side.columns[i]] += value);
    return;
  }
  const { rank, left, right } = side;
  for (let row = 0; row * columns < values.length; row++) {
    for (let column = 0; column < columns; column++) {
      let sum = 0;
      for (let r = 0; r < rank; r++) sum += left[row * rank + r] * right[r * columns + column];
      values[row * columns + column] += sum;
    }
  }
}
