/**
 * Traces of Hessians from gradients alone.
 *
 * @module
 */

import type { Rng } from "../../spec/mod.ts";

/** Gradients at some weights, by name. */
export type GradientsAt = (
  weights: Record<string, Float32Array>,
) => Record<string, Float32Array>;

/**
 * Hutchinson's estimate of the trace of each diagonal block of a Hessian, `E[v^T H v]` with random
 * signs v. One v over all blocks serves every block, since signs of different blocks are independent.
 * `H v` is the central difference `(g(w + h v) - g(w - h v)) / 2 h`, the sums in f64.
 */
export function hessianTraces(args: {
  weights: Record<string, Readonly<Float32Array>>;
  gradients: GradientsAt;
  probes: number;
  step: number;
  rng: Rng;
}): Record<string, number> {
  const { weights, gradients, probes, step, rng } = args;
  const names = Object.keys(weights);
  const traces: Record<string, number> = Object.fromEntries(names.map((name) => [name, 0]));
  for (let probe = 0; probe < probes; probe++) {
    const signs = Object.fromEntries(
      names.map((name) => [
        name,
        Int8Array.from(weights[name], () => rng.uint32() >= 2 ** 31 ? 1 : -1),
      ]),
    );
    const at = (h: number) =>
      gradients(
        Object.fromEntries(
          names.map((name) => [name, weights[name].map((w, i) => w + h * signs[name][i])]),
        ),
      );
    const above = at(step), below = at(-step);
    for (const name of names) {
      let sum = 0;
      for (let i = 0; i < signs[name].length; i++) {
        sum += signs[name][i] * (above[name][i] - below[name][i]);
      }
      traces[name] += sum / (2 * step * probes);
    }
  }
  return traces;
}
