/**
 * Hadamard matrices, made from number theory and a little data.
 *
 * - Paley I: order `q + 1` for a prime power q that is 3 modulo 4
 * - Paley II: order `2 (q + 1)` for a prime power q that is 1 modulo 4
 * - Williamson: order `4 n` from four symmetric circulant matrices of order n
 *
 * @module
 */

import { LowbitError } from "./errors.ts";

/** Primes q whose matrix of order q + 1 is the smallest for its odd part. */
const PALEY1: readonly number[] = [11, 19, 43, 59, 67, 83, 107, 131, 139, 163, 179, 211, 227, 251];
/** As `[p, exponent]`: q is a prime or the square of one. */
const PALEY2: readonly (readonly [prime: number, exponent: 1 | 2])[] = [
  [13, 1],
  [17, 1],
  [5, 2],
  [37, 1],
  [7, 2],
  [61, 1],
  [73, 1],
  [97, 1],
  [101, 1],
  [109, 1],
  [11, 2],
];
/**
 * Williamson's sequences: for each order, of each of four circulant matrices the positions
 * `1 .. (n - 1) / 2` of the first row that hold -1 (the row is symmetric, and starts with 1). Found
 * by search: 43 among the rows that do not change when positions are multiplied by 6.
 */
const WILLIAMSON: Readonly<Record<number, readonly (readonly number[])[]>> = {
  23: [[1, 2, 4, 6], [1, 2, 4, 5, 9, 10, 11], [1, 2, 5, 7, 9], [3, 4, 5, 8, 9]],
  29: [
    [2, 3, 4, 5, 9, 12, 14],
    [1, 2, 4, 8, 12],
    [2, 4, 5, 9, 10, 12, 13, 14],
    [5, 6, 7, 9, 11, 14],
  ],
  43: [
    [1, 3, 5, 6, 7, 8, 13, 18, 21],
    [1, 2, 5, 6, 7, 8, 10, 12, 13, 14, 16, 17],
    [2, 4, 5, 8, 12, 13, 14, 15, 19],
    [1, 2, 6, 7, 9, 11, 12, 14, 20],
  ],
};

const MAKERS: ReadonlyMap<number, () => Int8Array> = new Map([
  ...PALEY1.map((q) => [q + 1, () => paley1(q)] as const),
  ...PALEY2.map(([p, e]) => [2 * (p ** e + 1), () => paley2(p, e)] as const),
  ...Object.entries(WILLIAMSON).map(([n, rows]) =>
    [4 * Number(n), () => williamson(Number(n), rows)] as const
  ),
]);

const made = new Map<number, Int8Array>();

/**
 * The orders m, besides 1, whose matrix can be made: a transform has the size `m * 2^k`. Of the sizes
 * 4 n up to 256, those without a matrix here are 156, 188 and 236.
 *
 * @example
 * ```ts
 * import { assert } from "@std/assert";
 * import { hadamardOrders } from "./hadamard_matrices.ts";
 * assert([12, 20, 28, 36, 44, 52, 60].every((m) => hadamardOrders().includes(m)));
 * ```
 */
export function hadamardOrders(): number[] {
  return [...MAKERS.keys()].sort((a, b) => a - b);
}

/**
 * The Hadamard matrix of order m, `[m, m]`: m is 1, or one of `hadamardOrders()`.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { hadamardMatrix } from "./hadamard_matrices.ts";
 * const h = hadamardMatrix(12);
 * assertEquals(h.subarray(0, 12).reduce((dot, v, i) => dot + v * h[12 + i], 0), 0);
 * ```
 */
export function hadamardMatrix(m: number): Int8Array {
  if (m === 1) return Int8Array.of(1);
  const matrix = made.get(m) ?? MAKERS.get(m)?.();
  if (!matrix) {
    throw new LowbitError("SHAPE", `no Hadamard matrix of order ${m} is known here`, {
      field: "m",
    });
  }
  made.set(m, matrix);
  return matrix;
}

/** The Legendre symbol of x modulo a prime. */
function legendre(x: number, p: number): number {
  const residue = ((x % p) + p) % p;
  if (residue === 0) return 0;
  for (let i = 1; i <= p >> 1; i++) if (i * i % p === residue) return 1;
  return -1;
}

/**
 * The quadratic characters of the differences of all elements of a field of `p^exponent` elements.
 * An element `a + b sqrt(d)` of the field with p^2 elements, d no square modulo p, is a square if its
 * norm `a^2 - d b^2` is one modulo p.
 */
function jacobsthal(p: number, exponent: 1 | 2): Int8Array {
  const q = p ** exponent;
  let d = 2;
  while (legendre(d, p) !== -1) d++;
  const character = exponent === 1
    ? (x: number, y: number) => legendre(x - y, p)
    : (x: number, y: number) => {
      const [a, b] = [x % p - y % p, Math.floor(x / p) - Math.floor(y / p)];
      return legendre(a * a - d * b * b, p);
    };
  return Int8Array.from({ length: q * q }, (_, i) => character(Math.floor(i / q), i % q));
}

/** `I + S`, S skew: a row of ones above, minus ones to the left, and the characters. */
function paley1(q: number): Int8Array {
  const [n, characters] = [q + 1, jacobsthal(q, 1)];
  return Int8Array.from({ length: n * n }, (_, at) => {
    const [i, j] = [Math.floor(at / n), at % n];
    if (i === j || i === 0) return 1;
    return j === 0 ? -1 : characters[(i - 1) * q + j - 1];
  });
}

/** The symmetric conference matrix C of order q + 1 as `C (x) [1 1; 1 -1] + I (x) [1 -1; -1 -1]`. */
function paley2(p: number, exponent: 1 | 2): Int8Array {
  const [q, characters] = [p ** exponent, jacobsthal(p, exponent)];
  const n = 2 * (q + 1);
  return Int8Array.from({ length: n * n }, (_, at) => {
    const [row, column] = [Math.floor(at / n), at % n];
    const [i, j] = [row >> 1, column >> 1];
    const both = (row & 1) & (column & 1);
    if (i === j) return row & 1 || column & 1 ? -1 : 1;
    const entry = i === 0 || j === 0 ? 1 : characters[(i - 1) * q + j - 1];
    return both ? -entry : entry;
  });
}

/** Williamson's array of four symmetric circulant matrices. */
function williamson(n: number, negative: readonly (readonly number[])[]): Int8Array {
  const first = negative.map((positions) =>
    Int8Array.from({ length: n }, (_, i) => positions.includes(Math.min(i, n - i)) ? -1 : 1)
  );
  const blocks = [[0, 1, 2, 3], [1, 0, 3, 2], [2, 3, 0, 1], [3, 2, 1, 0]];
  const minus = [[1, 1, 1, 1], [-1, 1, -1, 1], [-1, 1, 1, -1], [-1, -1, 1, 1]];
  return Int8Array.from({ length: 16 * n * n }, (_, at) => {
    const [row, column] = [Math.floor(at / (4 * n)), at % (4 * n)];
    const [i, j] = [Math.floor(row / n), Math.floor(column / n)];
    return minus[i][j] * first[blocks[i][j]][(column - row + 4 * n) % n];
  });
}
