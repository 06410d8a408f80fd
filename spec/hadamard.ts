/**
 * Hadamard matrices: the rotations that cost no parameters. Which matrix stands for a size is part
 * of the specification, since checkpoints with online rotations depend on it.
 *
 * @module
 */

import { LowbitError } from "./errors.ts";
import { hadamardMatrix } from "./hadamard_matrices.ts";

/** Orders of `hadamard_matrices.ts` that online rotations are made of; other sizes double them. */
const BASES = [1, 12, 20, 28, 36, 44, 60, 68, 76, 84, 108, 124, 140, 148];

/**
 * How a size is made: `base * 2^doublings`, with the smallest base; undefined where no matrix of
 * this size is known here.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { hadamardParts } from "./hadamard.ts";
 * assertEquals(hadamardParts(576), { base: 36, doublings: 4 });
 * assertEquals(hadamardParts(640), { base: 20, doublings: 5 });
 * assertEquals(hadamardParts(172), undefined);
 * ```
 */
export function hadamardParts(size: number): { base: number; doublings: number } | undefined {
  for (const base of BASES) {
    const doublings = Math.log2(size / base);
    if (Number.isInteger(doublings) && doublings >= 0) return { base, doublings };
  }
  return undefined;
}

/**
 * The largest size that divides a number of channels and has a matrix.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { largestHadamard } from "./hadamard.ts";
 * assertEquals([1536, 172, 9].map(largestHadamard), [1536, 4, 1]);
 * ```
 */
export function largestHadamard(channels: number): number {
  for (let size = channels; size > 1; size--) {
    if (channels % size === 0 && hadamardParts(size)) return size;
  }
  return 1;
}

const transposes = new Map<number, Int8Array>();

/** The transposed matrix of a base order: its columns, one after the other. */
function transposedMatrix(order: number): Int8Array {
  let transposed = transposes.get(order);
  if (!transposed) {
    const matrix = hadamardMatrix(order);
    transposed = matrix.map((_, i) => matrix[(i % order) * order + Math.floor(i / order)]);
    transposes.set(order, transposed);
  }
  return transposed;
}

/**
 * Multiplies every run of `size` values of `x` by the Hadamard matrix of that size, `y = x H`, in
 * place: butterflies in the precision of the array, sums of the base order in f64.
 * `H = B x [[1, 1], [1, -1]] x ...`, B of the base order, divided by the square root of the size;
 * `inverse` multiplies by its transpose.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { hadamard } from "./hadamard.ts";
 * const x = Float64Array.of(1, 0, 0, 0);
 * assertEquals([...hadamard(x, 4)], [0.5, 0.5, 0.5, 0.5]);
 * assertEquals([...hadamard(x, 4, { inverse: true })], [1, 0, 0, 0]);
 * ```
 */
export function hadamard<T extends Float32Array | Float64Array>(
  x: T,
  size: number,
  options: { inverse?: boolean } = {},
): T {
  const parts = hadamardParts(size);
  if (!parts || x.length % size !== 0) {
    throw new LowbitError("SHAPE", `no Hadamard matrix of ${size} for ${x.length} values`, {
      advice: `sizes are ${BASES.join(", ")}, times powers of two`,
    });
  }
  const { base } = parts;
  const inner = size / base;
  const factor = 1 / Math.sqrt(size);
  const sums = x.slice(0, base) as T;
  // Columns of the base matrix, one after the other.
  const columns = options.inverse ? hadamardMatrix(base) : transposedMatrix(base);
  for (let start = 0; start < x.length; start += size) {
    for (let span = 1; span < inner; span *= 2) butterflies(x, start, start + size, span);
    if (base > 1) {
      for (let at = start; at < start + inner; at++) {
        for (let j = 0; j < base; j++) {
          let sum = 0;
          for (let i = 0; i < base; i++) {
            sum += columns[j * base + i] * x[at + i * inner];
          }
          sums[j] = sum;
        }
        for (let j = 0; j < base; j++) x[at + j * inner] = sums[j];
      }
    }
    for (let i = start; i < start + size; i++) x[i] *= factor;
  }
  return x;
}

/** One level of the fast transform on `[start, end)`: pairs `span` apart. */
function butterflies(
  x: Float32Array | Float64Array,
  start: number,
  end: number,
  span: number,
): void {
  for (let i = start; i < end; i += 2 * span) {
    for (let j = i; j < i + span; j++) {
      const [a, b] = [x[j], x[j + span]];
      x[j] = a + b;
      x[j + span] = a - b;
    }
  }
}
