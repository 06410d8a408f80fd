/**
 * The meaning of the operations of a forward pass, evaluated in f64.
 *
 * @module
 */

import type { AttentionArguments, Kernels } from "../spec/kernels.ts";
import * as check from "./checks.ts";

/** See {@linkcode Kernels.rmsNorm}. */
export function rmsNorm(a: Parameters<Kernels["rmsNorm"]>[0]): void {
  check.matrix("x", a.x, a.rows, a.columns);
  check.buffer("y", a.y, "f32", a.rows * a.columns);
  check.buffer("weight", a.weight, "f32", a.columns);
  check.finite("epsilon", a.epsilon);
  const weight = a.weight.array;
  for (let r = 0; r < a.rows; r++) {
    const x = a.x.array.subarray(r * a.columns, (r + 1) * a.columns);
    const mean = x.reduce((sum, v) => sum + v * v, 0) / a.columns;
    const factor = 1 / Math.sqrt(mean + a.epsilon);
    a.y.array.set(x.map((v, c) => v * factor * weight[c]), r * a.columns);
  }
}

/** See {@linkcode Kernels.rope}. */
export function rope(a: Parameters<Kernels["rope"]>[0]): void {
  check.whole("rows", a.rows);
  check.whole("heads", a.heads);
  check.whole("headSize", a.headSize, 2);
  if (a.headSize % 2) check.refuse("headSize", `must be even, not ${a.headSize}`);
  check.whole("position", a.position);
  check.finite("theta", a.theta);
  if (a.theta <= 0) check.refuse("theta", `must be above 0, not ${a.theta}`);
  check.buffer("x", a.x, "f32", a.rows * a.heads * a.headSize);
  const [x, half] = [a.x.array, a.headSize / 2];
  for (let head = 0; head < a.rows * a.heads; head++) {
    const position = a.position + Math.floor(head / a.heads);
    for (let i = 0; i < half; i++) {
      const angle = position * Math.pow(a.theta, -2 * i / a.headSize);
      const [low, high] = [head * a.headSize + i, head * a.headSize + i + half];
      const [p, q, cos, sin] = [x[low], x[high], Math.cos(angle), Math.sin(angle)];
      x[low] = p * cos - q * sin;
      x[high] = q * cos + p * sin;
    }
  }
}

/** See {@linkcode Kernels.attention}. */
export function attention(a: AttentionArguments): void {
  check.attention(a);
  attend({ ...a, q: a.q.array, k: a.k.array, v: a.v.array, y: a.y.array });
}

/** The arguments of attention as plain arrays. */
export type PlainAttention =
  & Omit<AttentionArguments, "q" | "k" | "v" | "y">
  & Record<"q" | "k" | "v" | "y", Float32Array>;

/** Attention over plain arrays. */
export function attend({ q, k, v, y, ...a }: PlainAttention): void {
  const size = a.headSize;
  for (let t = 0; t < a.tokens; t++) {
    for (let h = 0; h < a.heads; h++) {
      const query = (t * a.heads + h) * size;
      const kvHead = Math.floor(h / (a.heads / a.kvHeads));
      const at = (key: number) => (key * a.kvHeads + kvHead) * size;
      const scores = Array.from({ length: a.past + t + 1 }, (_, key) => {
        let dot = 0;
        for (let d = 0; d < size; d++) dot += q[query + d] * k[at(key) + d];
        return dot * a.scale;
      });
      const max = scores.reduce((m, s) => Math.max(m, s), -Infinity);
      const weights = scores.map((s) => Math.exp(s - max));
      const total = weights.reduce((sum, w) => sum + w, 0);
      for (let d = 0; d < size; d++) {
        const sum = weights.reduce((sum, w, key) => sum + w * v[at(key) + d], 0);
        y[query + d] = sum / total;
      }
    }
  }
}

/** See {@linkcode Kernels.siluGate}. */
export function siluGate(a: Parameters<Kernels["siluGate"]>[0]): void {
  const length = a.gate?.length;
  check.buffer("gate", a.gate, "f32", length);
  check.buffer("up", a.up, "f32", length);
  check.buffer("y", a.y, "f32", length);
  const [up, y] = [a.up.array, a.y.array];
  a.gate.array.forEach((g, i) => y[i] = g / (1 + Math.exp(-g)) * up[i]);
}

/** See {@linkcode Kernels.add}. */
export function add(a: Parameters<Kernels["add"]>[0]): void {
  check.buffer("x", a.x, "f32", a.x?.length);
  check.buffer("y", a.y, "f32", a.x.length);
  const y = a.y.array;
  a.x.array.forEach((v, i) => y[i] += v);
}

/** See {@linkcode Kernels.scaleColumns}. */
export function scaleColumns(a: Parameters<Kernels["scaleColumns"]>[0]): void {
  check.matrix("x", a.x, a.rows, a.columns);
  check.buffer("factors", a.factors, "f32", a.columns);
  const [x, factors] = [a.x.array, a.factors.array];
  x.forEach((v, i) => x[i] = v * factors[i % a.columns]);
}

/** See {@linkcode Kernels.logSoftmax}. */
export function logSoftmax(a: Parameters<Kernels["logSoftmax"]>[0]): void {
  check.matrix("x", a.x, a.rows, a.columns);
  for (let r = 0; r < a.rows; r++) {
    const x = a.x.array.subarray(r * a.columns, (r + 1) * a.columns);
    const max = x.reduce((m, v) => Math.max(m, v), -Infinity);
    const shift = max + Math.log(x.reduce((sum, v) => sum + Math.exp(v - max), 0));
    x.set(x.map((v) => v - shift));
  }
}

/** See {@linkcode Kernels.divergence}; an entry whose probability is 0 adds nothing. */
export function divergence(a: Parameters<Kernels["divergence"]>[0]): void {
  check.matrix("p", a.p, a.rows, a.columns);
  check.buffer("q", a.q, "f32", a.rows * a.columns);
  check.buffer("kl", a.kl, "f64", a.rows);
  check.buffer("agree", a.agree, "u8", a.rows);
  for (let r = 0; r < a.rows; r++) {
    const p = a.p.array.subarray(r * a.columns, (r + 1) * a.columns);
    const q = a.q.array.subarray(r * a.columns, (r + 1) * a.columns);
    a.kl.array[r] = p.reduce((sum, v, c) => {
      const weight = Math.exp(v);
      return weight === 0 ? sum : sum + weight * (v - q[c]);
    }, 0);
    a.agree.array[r] = argmax(p) === argmax(q) ? 1 : 0;
  }
}

function argmax(x: Float32Array): number {
  return x.reduce((best, v, c) => v > x[best] ? c : best, 0);
}
