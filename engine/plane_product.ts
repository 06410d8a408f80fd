/**
 * The product of int8 activations and a weight of a few bits, by tables over its bit planes: the bits
 * of `integerLinear`, by another way.
 *
 * @module
 */

import type { Buffer, Kernels, PackedWeightArguments } from "../spec/mod.ts";
import type { LinearExecutor } from "../models/linear.ts";

const { fround } = Math;
/** The largest integer of an activation. */
const LIMIT = 127;
/** Activations whose largest magnitude is below this count as 0. */
const SMALLEST = 2 ** -100;
/** Added to a number below 2^51 and taken away again, it rounds to an integer, ties to even. */
const ROUNDER = 1.5 * 2 ** 52;

/**
 * The executor; none for a weight that it cannot multiply: one with several scales a row, with
 * minimums, with zero points that differ, or whose values are not a sum over the bits of the code.
 */
export function planeExecutor(
  kernels: Kernels,
  packed: PackedWeightArguments,
): LinearExecutor | undefined {
  const form = planeForm(packed);
  if (!form) return undefined;
  const { rows, columns, tileRows } = packed.tiling;
  const bits = planesOf(packed);
  const weight = kernels.planeWeight({ rows, columns, planes: packed.bits, bits });
  const scales = Float32Array.from({ length: rows }, (_, r) => {
    return packed.scales[Math.floor(r / tileRows)];
  });
  const free = () => weight.free();
  return {
    bytes: weight.bytes,
    apply(x, tokens) {
      const y = kernels.alloc("f32", tokens * rows);
      using q = kernels.alloc("u8", tokens * columns);
      using sums = kernels.alloc("i32", tokens * rows);
      const tokenScales = quantizeTokens(x, q, tokens, columns);
      kernels.linearPlanesInt({ x: q, y: sums, tokens, weight, ...form });
      const [from, to] = [sums.array, y.array];
      for (let t = 0, i = 0; t < tokens; t++) {
        for (let r = 0; r < rows; r++, i++) {
          // 0 + makes 0 of -0, as the total of integerLinear, which starts at 0
          to[i] = (0 + fround(fround(from[i]) * scales[r])) * tokenScales[t];
        }
      }
      return y;
    },
    free,
    [Symbol.dispose]: free,
  };
}

/** Values as `offset + sum of factors over the bits of the code`, in integers; or none. */
function planeForm(
  { tiling, bits, table, zeros, minimums }: PackedWeightArguments,
): { factors: Int32Array; offset: number } | undefined {
  const zero = zeros?.[0] ?? 0;
  const one = tiling.gridColumns === 1 && !minimums && (zeros ?? []).every((z) => z === zero);
  if (!one || !Number.isInteger(zero) || !table.every(Number.isInteger)) return undefined;
  const factors = Int32Array.from({ length: bits }, (_, bit) => table[1 << bit] - table[0]);
  const sums = table.every((value, code) => {
    return value === factors.reduce((sum, f, bit) => sum + (code >> bit & 1) * f, table[0]);
  });
  return sums ? { factors, offset: table[0] - zero } : undefined;
}

/** `[planes][rows][ceil(columns / 8)]` of codes in dense rows. */
function planesOf({ tiling: { rows, columns }, bits, bytes }: PackedWeightArguments): Uint8Array {
  const [from, to] = [Math.ceil(columns * bits / 8), Math.ceil(columns / 8)];
  const planes = new Uint8Array(bits * rows * to);
  for (let r = 0; r < rows; r++) {
    for (let c = 0, at = 8 * r * from; c < columns; c++) {
      for (let bit = 0; bit < bits; bit++, at++) {
        const set = bytes[at >> 3] >> (at & 7) & 1;
        planes[(bit * rows + r) * to + (c >> 3)] |= set << (c & 7);
      }
    }
  }
  return planes;
}

/** Writes q as `integerLinear` has it for 8 bits a token; the scales of the tokens. */
function quantizeTokens(
  x: Buffer<"f32">,
  q: Buffer<"u8">,
  tokens: number,
  columns: number,
): Float32Array {
  const [from, to] = [x.array, q.array];
  return Float32Array.from({ length: tokens }, (_, t) => {
    const [first, end] = [t * columns, (t + 1) * columns];
    let largest = 0;
    for (let i = first; i < end; i++) largest = Math.max(largest, Math.abs(from[i])); // a NaN stays
    if (!Number.isFinite(largest)) return NaN;
    if (largest < SMALLEST) return 0;
    const factor = fround(LIMIT / largest);
    for (let i = first; i < end; i++) to[i] = fround(from[i] * factor) + ROUNDER - ROUNDER;
    return largest / LIMIT;
  });
}
