/**
 * Low-rank parts among side tensors.
 *
 * @module
 */

import { LowbitError, type LowRankPart, type SideTensor } from "../spec/mod.ts";

/** Side tensors with another low-rank part; two of them are one of the sum of their ranks. */
export function withLowRank(
  side: readonly SideTensor[],
  part: LowRankPart,
  columns: number,
): SideTensor[] {
  const at = side.findIndex(({ kind }) => kind === "low_rank");
  const before = side[at];
  if (before?.kind !== "low_rank") return [...side, part];
  if (side.slice(at + 1).some(({ kind }) => kind === "rotation")) {
    throw new LowbitError("UNSUPPORTED", "a low-rank part lies behind a rotation already", {
      advice: "leave out one of the two plugins that add low-rank parts",
    });
  }
  const rank = before.rank + part.rank, rows = part.left.length / part.rank;
  const left = new Float32Array(rows * rank), right = new Float32Array(rank * columns);
  for (let row = 0; row < rows; row++) {
    left.set(before.left.subarray(row * before.rank, (row + 1) * before.rank), row * rank);
    left.set(part.left.subarray(row * part.rank, (row + 1) * part.rank), row * rank + before.rank);
  }
  right.set(before.right);
  right.set(part.right, before.right.length);
  return side.with(at, { kind: "low_rank", rank, left, right });
}
