/**
 * How the kernels split a Hadamard transform, and the signs of its matrix as masks.
 *
 * @module
 */

import { hadamardMatrix, hadamardOrders } from "../spec/hadamard_matrices.ts";

export { hadamardMatrix, hadamardOrders };

const ORDERS: ReadonlySet<number> = new Set(hadamardOrders());

/** A size as `m * 2^k`; undefined if there is no matrix for it. */
export function hadamardSplit(size: number): { m: number; block: number } | undefined {
  if (!Number.isSafeInteger(size) || size < 1) return undefined;
  let block = 1;
  while (size % (2 * block) === 0) block *= 2;
  if (block === size) return { m: 1, block };
  const m = 4 * (size / block);
  return block >= 4 && ORDERS.has(m) ? { m, block: block / 4 } : undefined;
}

/** The masks that give a value the sign of an entry of the matrix, or of its transpose. */
export function hadamardMasks(m: number, transpose: boolean): Uint32Array {
  const matrix = hadamardMatrix(m);
  return Uint32Array.from(matrix, (_, i) => {
    const entry = transpose ? matrix[i % m * m + Math.floor(i / m)] : matrix[i];
    return entry < 0 ? 0x80000000 : 0;
  });
}
