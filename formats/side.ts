/**
 * Side tensors: what is done to decoded values.
 *
 * @module
 */

import { rotate, type RotationPart, type SideTensor } from "../spec/mod.ts";

/**
 * Does to decoded values `[rows, columns]` what a side tensor says, in place; sums in f64.
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
  if (side.kind === "rotation") return turnBack(values, columns, side);
  const { rank, left, right } = side;
  for (let row = 0; row * columns < values.length; row++) {
    for (let column = 0; column < columns; column++) {
      let sum = 0;
      for (let r = 0; r < rank; r++) sum += left[row * rank + r] * right[r * columns + column];
      values[row * columns + column] += sum;
    }
  }
}

function turnBack(values: Float32Array, columns: number, part: RotationPart): void {
  const rows = values.length / columns;
  const exact = Float64Array.from(values);
  if (part.columns) rotate(exact, part.columns, { inverse: true });
  if (part.rows) {
    const turned = new Float64Array(exact.length);
    for (let r = 0; r < rows; r++) {
      for (let c = 0; c < columns; c++) turned[c * rows + r] = exact[r * columns + c];
    }
    rotate(turned, part.rows, { inverse: true });
    for (let r = 0; r < rows; r++) {
      for (let c = 0; c < columns; c++) exact[r * columns + c] = turned[c * rows + r];
    }
  }
  const { factors } = part;
  for (let i = 0; i < exact.length; i++) {
    values[i] = factors ? exact[i] * factors[i % columns] : exact[i];
  }
}
