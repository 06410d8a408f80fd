/**
 * The meaning of the operations of linear algebra.
 *
 * @module
 */

import type { FeedbackArguments, Kernels } from "../spec/kernels.ts";
import * as check from "./checks.ts";
import { apply, code } from "./reference_codes.ts";

const fround = Math.fround;

/** Columns whose products are summed before they are added to an output of `linear`. */
const CHUNK = 256;
/** Rows whose products are summed in f32 before they are added to a Gram matrix. */
const BLOCK = 128;

/** `y = x W^T`, in the order of {@linkcode Kernels.linear}. */
export function linear(
  x: Float32Array,
  y: Float32Array,
  tokens: number,
  weight: { values: Float32Array; rows: number; columns: number },
): void {
  const { values, rows, columns } = weight;
  for (let t = 0; t < tokens; t++) {
    for (let r = 0; r < rows; r++) {
      let total = 0;
      for (let first = 0; first < columns; first += CHUNK) {
        let sum = 0;
        for (let c = first; c < Math.min(first + CHUNK, columns); c++) {
          sum = fround(sum + fround(x[t * columns + c] * values[r * columns + c]));
        }
        total = fround(total + sum);
      }
      y[t * rows + r] = total;
    }
  }
}

/** See {@linkcode Kernels.trailingUpdate}: one subtraction after the other, `i` ascending. */
export function trailingUpdate(a: Parameters<Kernels["trailingUpdate"]>[0]): void {
  check.block(a);
  check.buffer("w", a.w, "f32", a.rows * a.columns);
  check.buffer("errors", a.errors, "f32", a.rows * a.count);
  check.buffer("u", a.u, "f32", a.columns * a.columns);
  const [w, errors, u] = [a.w.array, a.errors.array, a.u.array];
  for (let r = 0; r < a.rows; r++) {
    for (let c = a.start + a.count; c < a.columns; c++) {
      let value = w[r * a.columns + c];
      for (let i = 0; i < a.count; i++) {
        const product = fround(errors[r * a.count + i] * u[(a.start + i) * a.columns + c]);
        value = fround(value - product);
      }
      w[r * a.columns + c] = value;
    }
  }
}

/** See {@linkcode Kernels.gram}; the lower triangle is a mirror of the upper one. */
export function gram(a: Parameters<Kernels["gram"]>[0]): void {
  check.matrix("x", a.x, a.rows, a.columns);
  check.buffer("gram", a.gram, "f64", a.columns * a.columns);
  const [x, out, n] = [a.x.array, a.gram.array, a.columns];
  for (let j = 0; j < n; j++) {
    for (let i = 0; i <= j; i++) {
      for (let top = 0; top < a.rows; top += BLOCK) {
        let sum = 0;
        for (let r = top; r < Math.min(top + BLOCK, a.rows); r++) {
          sum = fround(sum + fround(x[r * n + i] * x[r * n + j]));
        }
        out[i * n + j] += sum;
      }
      out[j * n + i] = out[i * n + j];
    }
  }
}

/** See {@linkcode Kernels.columnStats}; a NaN never becomes the largest. */
export function columnStats(a: Parameters<Kernels["columnStats"]>[0]): void {
  check.matrix("x", a.x, a.rows, a.columns);
  check.buffer("absMax", a.absMax, "f32", a.columns);
  check.buffer("absSum", a.absSum, "f64", a.columns);
  const [x, absMax, absSum] = [a.x.array, a.absMax.array, a.absSum.array];
  x.forEach((v, i) => {
    const [c, size] = [i % a.columns, Math.abs(v)];
    if (size > absMax[c]) absMax[c] = size;
    absSum[c] += size;
  });
}

/** See {@linkcode Kernels.inverseCholesky}; only the upper triangle of H is read. */
export function inverseCholesky(a: Parameters<Kernels["inverseCholesky"]>[0]): boolean {
  check.whole("n", a.n);
  check.buffer("h", a.h, "f64", a.n * a.n);
  check.buffer("u", a.u, "f32", a.n * a.n);
  const [h, u, n] = [a.h.array, a.u.array, a.n];
  for (let j = n - 1; j >= 0; j--) {
    for (let i = j; i >= 0; i--) {
      for (let p = j + 1; p < n; p++) h[i * n + j] -= h[i * n + p] * h[j * n + p];
      if (i < j) h[i * n + j] /= h[j * n + j];
      else if (h[j * n + j] > 0 && h[j * n + j] < Infinity) h[j * n + j] = Math.sqrt(h[j * n + j]);
      else return false;
    }
  }
  for (let j = 0; j < n; j++) {
    const pivot = 1 / h[j * n + j];
    for (let i = 0; i < j; i++) {
      let sum = 0;
      for (let p = i; p < j; p++) sum += h[i * n + p] * h[p * n + j];
      h[i * n + j] = -sum * pivot;
    }
    h[j * n + j] = pivot;
  }
  for (let i = 0; i < n * n; i++) u[i] = i % n < Math.floor(i / n) ? 0 : h[i];
  return true;
}

/** See {@linkcode Kernels.encodeFeedback}. */
export function encodeFeedback(a: FeedbackArguments): void {
  check.feedback(a);
  const [w, u, groupOf] = [a.w.array, a.u.array, a.groupOf.array];
  const [scales, zeros, table] = [a.scales.array, a.zeros?.array, a.table.array];
  const stored = (a.stored ?? a.scales).array;
  const [codes, errors] = [a.codes.array, a.errors.array];
  for (let r = 0; r < a.rows; r++) {
    for (let j = a.start; j < a.start + a.count; j++) {
      const at = r * a.columns + j;
      const g = r * a.groups + groupOf[j];
      const zero = zeros ? zeros[g] : 0;
      const q = code(a.encoder, apply(w[at], scales[g], a.apply), zero);
      const decoded = fround(fround(table[q & (table.length - 1)] - zero) * stored[g]);
      const error = fround(fround(w[at] - decoded) / u[j * a.columns + j]);
      codes[at] = q;
      errors[r * a.count + j - a.start] = error;
      for (let k = j + 1; k < a.start + a.count; k++) {
        const later = r * a.columns + k;
        w[later] = fround(w[later] - fround(error * u[j * a.columns + k]));
      }
    }
  }
}
