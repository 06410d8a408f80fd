/**
 * Hadamard matrices: the rotations that cost no parameters. Which matrix stands for a size is part
 * of the specification, since checkpoints with online rotations depend on it.
 *
 * @module
 */

import { LowbitError } from "./errors.ts";

/** Orders of the matrices that are built from quadratic residues; all others are twice another. */
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

const bases = new Map<string, Int8Array>();

/**
 * The Hadamard matrix of a base order as signs, `[order, order]`: by Paley's first construction
 * where `order - 1` is a prime (3 modulo 4), by his second where `order / 2 - 1` is one.
 */
function baseMatrix(order: number, transposed: boolean): Int8Array {
  const key = `${order} ${transposed}`;
  const known = bases.get(key);
  if (known) return known;
  const matrix = isPrime(order - 1) ? paleyOne(order) : paleyTwo(order);
  const made = transposed
    ? matrix.map((_, i) => matrix[(i % order) * order + Math.floor(i / order)])
    : matrix;
  bases.set(key, made);
  return made;
}

function isPrime(n: number): boolean {
  if (n < 2) return false;
  for (let d = 2; d * d <= n; d++) if (n % d === 0) return false;
  return true;
}

/** `chi(i - j)` over a prime q: 0, 1 for squares, -1 for the others. */
function residues(q: number): (i: number, j: number) => number {
  const character = new Int8Array(q).fill(-1);
  character[0] = 0;
  for (let i = 1; i < q; i++) character[i * i % q] = 1;
  return (i, j) => character[(i - j + q) % q];
}

/** `I + S` with S the skew matrix of residues, bordered by ones. */
function paleyOne(order: number): Int8Array {
  const chi = residues(order - 1);
  const matrix = new Int8Array(order * order);
  for (let i = 0; i < order; i++) {
    for (let j = 0; j < order; j++) {
      const skew = i === 0 ? 1 : j === 0 ? -1 : chi(i - 1, j - 1);
      matrix[i * order + j] = i === j ? 1 : skew;
    }
  }
  return matrix;
}

/** `C x [[1, 1], [1, -1]] + I x [[1, -1], [-1, -1]]` with C the symmetric matrix of residues. */
function paleyTwo(order: number): Int8Array {
  const half = order / 2;
  const chi = residues(half - 1);
  const matrix = new Int8Array(order * order);
  for (let i = 0; i < order; i++) {
    for (let j = 0; j < order; j++) {
      const [a, b] = [i >> 1, j >> 1];
      const [odd, other] = [i % 2 === 1, j % 2 === 1];
      const symmetric = a === 0 || b === 0 ? 1 : chi(a - 1, b - 1);
      matrix[i * order + j] = a === b
        ? (odd || other ? -1 : 1)
        : symmetric * (odd && other ? -1 : 1);
    }
  }
  return matrix;
}

/**
 * Multiplies every run of `size` values of `x` by the Hadamard matrix of that size, `y = x H`, in
 * place: butterflies in the precision of the array, sums of the base order in f64. `H = B x [[1, 1], [1, -1]] x ...`, B of the base
 * order, divided by the square root of the size; `inverse` multiplies by its transpose.
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
  const columns = base > 1 ? baseMatrix(base, !options.inverse) : new Int8Array(0);
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
