/** Rotates the residual stream by products of reflections: no Hadamard matrix, so any width will do. */

import { definePlugin, type Plugin, PLUGIN_API_VERSION, schema } from "@lowbit/lowbit/plugin";
import { z } from "zod";

/** The stream is multiplied by `Q = H_1 ... H_k`, `H = I - 2 v v^T / v^T v` with random v. */
export const householderRotation: Plugin<{ reflections: number }> = definePlugin({
  meta: {
    name: "householder-rotation",
    version: "0.1.0",
    apiVersion: PLUGIN_API_VERSION,
    summary: "rotates the residual stream by random reflections",
    needs: { statistics: [] },
    supports: {},
    determinism: "seeded",
  },
  options: schema(
    "options of householder-rotation",
    z.strictObject({
      reflections: z.int().min(1).max(64).default(8).describe("reflections that are multiplied"),
    }),
  ),
  transformModel({ context: { options, rng }, model: { hyperparameters: { hidden }, tied } }) {
    const q = new Float64Array(hidden * hidden);
    for (let i = 0; i < hidden; i++) q[i * hidden + i] = 1;
    for (let n = 0; n < options.reflections; n++) reflect(q, hidden, rng(`reflection ${n}`));
    return [
      ...(tied.size > 0 ? [{ op: "untie" } as const] : []),
      { op: "fuse_norms" },
      { op: "rotate", rotation: { kind: "matrix", size: hidden, values: q } },
    ];
  },
});

/** `Q <- Q H` */
function reflect(q: Float64Array, size: number, random: { normal(): number }): void {
  const v = Float64Array.from({ length: size }, () => random.normal());
  const length = v.reduce((sum, x) => sum + x * x, 0);
  for (let row = 0; row < size; row++) {
    let dot = 0;
    for (let j = 0; j < size; j++) dot += q[row * size + j] * v[j];
    for (let j = 0; j < size; j++) q[row * size + j] -= 2 * dot * v[j] / length;
  }
}
