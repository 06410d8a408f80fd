/**
 * Running the experts that a router has chosen: each on the tokens that are its own.
 *
 * @module
 */

import type { Buffer, Hyperparameters, Kernels, NodeKind, Nonlinearity } from "../spec/mod.ts";
import { sigmoid, tanh } from "./real.ts";
import { expertRoles } from "./values.ts";

/** Real numbers in kernel memory. */
type Values = Buffer<"f32">;

/** What running experts needs. */
export interface ExpertsArguments {
  /** The kernels. */
  kernels: Kernels;
  /** The numbers of the model. */
  hyperparameters: Hyperparameters;
  /** What a linear makes of `x`: a new buffer. */
  linear(role: string, x: Values, tokens: number): Values;
}

/** The operation. */
type Experts = Extract<NodeKind, { op: "experts" }>;

/**
 * The weighted sum of the experts' outputs: a new buffer `[tokens, hidden]`. Experts come in the order
 * of their numbers, and one without tokens is not run.
 */
export function runExperts(
  node: Experts,
  x: Values,
  routing: Values,
  tokens: number,
  { kernels, hyperparameters, linear }: ExpertsArguments,
): Values {
  const width = x.length / tokens, count = hyperparameters[node.count];
  const sum = kernels.alloc("f32", x.length);
  const weights = routing.array.slice();
  for (let e = 0; e < count; e++) {
    const own = Array.from({ length: tokens }, (_, t) => t).filter((t) =>
      weights[t * count + e] !== 0
    );
    if (own.length === 0) continue;
    const roles = expertRoles(node, e);
    using input = kernels.alloc("f32", own.length * width);
    own.forEach((t, i) => input.array.set(x.array.subarray(t * width, (t + 1) * width), i * width));
    using gate = linear(roles.gate, input, own.length);
    using up = linear(roles.up, input, own.length);
    activate(kernels, gate, node.activation);
    const [a, b] = [gate.array, up.array];
    for (let i = 0; i < a.length; i++) a[i] *= b[i];
    using made = linear(roles.down, gate, own.length);
    const [from, to] = [made.array, sum.array];
    own.forEach((t, i) => {
      const weight = weights[t * count + e];
      for (let j = 0; j < width; j++) to[t * width + j] += weight * from[i * width + j];
    });
  }
  return sum;
}

/** Applies a function of one number to every element. */
export function activate(kernels: Kernels, x: Values, kind: Nonlinearity): void {
  if (kind !== "sigmoid" && kind !== "tanh") return kernels.activate({ x, y: x, kind });
  const values = x.array, f = kind === "sigmoid" ? sigmoid : tanh;
  for (let i = 0; i < values.length; i++) values[i] = f(values[i]);
}
