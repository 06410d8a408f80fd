/**
 * Attention beyond what its own kernel covers: windows, ALiBi, soft caps, both directions, values of
 * another size. Products and softmax are kernels; masks and biases are added in between.
 *
 * @module
 */

import type { Buffer, Kernels } from "../spec/mod.ts";
import { power, tanh } from "./real.ts";

/** What {@linkcode attend} needs. */
export interface AttendArguments {
  /** The kernels. */
  kernels: Kernels;
  /** Queries `[tokens, heads * size]`. */
  q: Buffer<"f32">;
  /** Keys `[length, kvHeads * size]`; the last rows are those of the queries. */
  k: Buffer<"f32">;
  /** Values `[length, kvHeads * valueSize]`. */
  v: Buffer<"f32">;
  /** Query rows. */
  tokens: number;
  /** Rows of keys. */
  length: number;
  /** Heads of queries. */
  heads: number;
  /** Heads of keys and values. */
  kvHeads: number;
  /** Channels of a head of keys. */
  size: number;
  /** Channels of a head of values. */
  valueSize: number;
  /** Multiplies the scores. */
  scale: number;
  /** Scores become `cap * tanh(score / cap)`. */
  softcap?: number;
  /** Keys that a query sees at most, its own included. */
  window?: number;
  /** Whether keys behind a query are hidden. */
  causal: boolean;
  /** The factor of each head's distance, for ALiBi. */
  slopes?: ArrayLike<number>;
}

/**
 * Attention: a new buffer `[tokens, heads * valueSize]`.
 *
 * @example
 * ```ts
 * import { assertAlmostEquals } from "@std/assert";
 * import { referenceKernels } from "../kernels-wasm/reference.ts";
 * import { attend } from "./attention.ts";
 * const kernels = referenceKernels();
 * using x = kernels.upload(Float32Array.of(1, 3));
 * const sizes = { tokens: 2, length: 2, heads: 1, kvHeads: 1, size: 1, valueSize: 1, scale: 0 };
 * using y = attend({ kernels, q: x, k: x, v: x, ...sizes, causal: false });
 * assertAlmostEquals(y.array[0], 2, 1e-6); // the mean of both
 * ```
 */
export function attend(args: AttendArguments): Buffer<"f32"> {
  const { kernels, tokens, length, heads, kvHeads, size, valueSize } = args;
  const y = kernels.alloc("f32", tokens * heads * valueSize);
  using query = kernels.alloc("f32", tokens * size);
  using key = kernels.alloc("f32", size * length);
  using value = kernels.alloc("f32", length * valueSize);
  using scores = kernels.alloc("f32", tokens * length);
  using made = kernels.alloc("f32", tokens * valueSize);
  for (let head = 0; head < heads; head++) {
    const shared = Math.floor(head * kvHeads / heads);
    copyHead(args.q.array, query.array, heads, head, size);
    const [keys, turned] = [args.k.array, key.array];
    for (let j = 0; j < length; j++) {
      for (let i = 0; i < size; i++) {
        turned[i * length + j] = keys[(j * kvHeads + shared) * size + i];
      }
    }
    copyHead(args.v.array, value.array, kvHeads, shared, valueSize);
    kernels.matmul({ x: query, w: key, y: scores, tokens, inner: size, columns: length });
    mask(scores.array, args, head);
    kernels.softmax({ x: scores, rows: tokens, columns: length });
    kernels.matmul({ x: scores, w: value, y: made, tokens, inner: length, columns: valueSize });
    const [rows, out] = [made.array, y.array];
    for (let t = 0; t < tokens; t++) {
      const row = rows.subarray(t * valueSize, (t + 1) * valueSize);
      out.set(row, (t * heads + head) * valueSize);
    }
  }
  return y;
}

/** The rows of one head. */
function copyHead(
  from: Float32Array,
  to: Float32Array,
  heads: number,
  head: number,
  size: number,
): void {
  for (let t = 0; t * size < to.length; t++) {
    const start = (t * heads + head) * size;
    to.set(from.subarray(start, start + size), t * size);
  }
}

/** As good as minus infinity. */
const HIDDEN = -1e30;

/** Scales, caps and biases scores, and hides keys. */
function mask(
  scores: Float32Array,
  { tokens, length, scale, softcap, window, causal, slopes }: AttendArguments,
  head: number,
): void {
  for (let t = 0; t < tokens; t++) {
    const position = length - tokens + t;
    for (let j = 0; j < length; j++) {
      const at = t * length + j;
      const hidden = causal && j > position || window !== undefined && position - j >= window ||
        !causal && window !== undefined && j - position >= window;
      if (hidden) {
        scores[at] = HIDDEN;
        continue;
      }
      let score = scores[at] * scale;
      if (softcap !== undefined) score = softcap * tanh(score / softcap);
      if (slopes) score += slopes[head] * (j - position);
      scores[at] = score;
    }
  }
}

/**
 * The factors of ALiBi: powers of `2^(-8 / n)` for the largest power of two `n` of heads, and every
 * other one of `2n` for the rest.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { alibiSlopes } from "./attention.ts";
 * assertEquals(alibiSlopes(2).map((slope) => Math.round(1e4 * slope)), [625, 39]);
 * ```
 */
export function alibiSlopes(heads: number): number[] {
  let largest = 1;
  while (2 * largest <= heads) largest *= 2;
  const slope = (n: number, k: number) => power(2, -8 * k / n);
  return Array.from(
    { length: heads },
    (_, i) => i < largest ? slope(largest, i + 1) : slope(2 * largest, 2 * (i - largest) + 1),
  );
}
