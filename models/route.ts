/**
 * The choice of experts.
 *
 * @module
 */

import type { Hyperparameters, NodeKind } from "../spec/mod.ts";
import { exp, sigmoid } from "./real.ts";

/** The operation. */
type Route = Extract<NodeKind, { op: "route" }>;

/**
 * Weights of experts `[tokens, experts]` from the outputs of a router; of equal scores the expert with
 * the lower number is better.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { route } from "./route.ts";
 * const node = { op: "route" as const, in: "a", out: "b", top: "top", scores: "sigmoid" as const };
 * assertEquals([...route(node, Float32Array.of(-9, 0), 1, { top: 1 })], [0, 0.5]);
 * ```
 */
export function route(
  node: Route,
  logits: Readonly<Float32Array>,
  tokens: number,
  hyperparameters: Hyperparameters,
  correction?: ArrayLike<number>,
): Float32Array {
  const experts = logits.length / tokens;
  const value = (name: string | undefined, fallback: number) =>
    name === undefined ? fallback : hyperparameters[name];
  const [top, factor] = [hyperparameters[node.top], value(node.factor, 1)];
  const result = new Float32Array(logits.length);
  for (let t = 0; t < tokens; t++) {
    const row = logits.subarray(t * experts, (t + 1) * experts);
    const scores = node.scores === "sigmoid" ? Array.from(row, sigmoid) : softmax(row);
    const ranks = scores.map((score, e) => score + (correction?.[e] ?? 0));
    const groups = value(node.groups, 1);
    if (groups > 1) {
      keepGroups(ranks, groups, value(node.top_groups, groups), node.group_best ?? 1);
    }
    const chosen = best(ranks, top);
    const sum = chosen.reduce((total, e) => total + scores[e], 0);
    const share = value(node.normalize, 0) !== 0 ? factor / (sum + 1e-20) : factor;
    for (const e of chosen) result[t * experts + e] = scores[e] * share;
  }
  return result;
}

function softmax(row: ArrayLike<number>): number[] {
  const values = Array.from(row);
  const largest = Math.max(...values);
  const powers = values.map((x) => exp(x - largest));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((p) => p / sum);
}

/** The places of the largest values. */
function best(values: readonly number[], count: number): number[] {
  return values.map((value, i) => ({ value, i }))
    .sort((a, b) => b.value - a.value || a.i - b.i).slice(0, count).map(({ i }) => i);
}

/** Takes the experts of all groups but the best ones out of the choice. */
function keepGroups(ranks: number[], groups: number, kept: number, top: number): void {
  const size = ranks.length / groups;
  const sums = Array.from({ length: groups }, (_, g) => {
    const own = ranks.slice(g * size, (g + 1) * size);
    return best(own, top).reduce((sum, i) => sum + own[i], 0);
  });
  const chosen = new Set(best(sums, kept));
  for (let e = 0; e < ranks.length; e++) {
    if (!chosen.has(Math.floor(e / size))) ranks[e] = -Infinity;
  }
}
