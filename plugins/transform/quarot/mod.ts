/**
 * QuaRot: rotations spread outliers over all channels, in the weights where they can be folded and
 * as the model runs where they cannot.
 *
 * @module
 */

import { z } from "zod";
import {
  definePlugin,
  hadamard,
  largestHadamard,
  type ModelOp,
  type ModelView,
  type Node,
  type Plugin,
  PLUGIN_API_VERSION,
  type Rng,
  type Rotation,
  schema,
} from "../../../spec/mod.ts";

/** Options of {@linkcode quarot}. */
export interface QuarotOptions {
  /** Rotate the residual stream in the weights, or what its norms make of it as the model runs. */
  r1: "folded" | "online" | "none";
  /** Rotate the heads of values. */
  r2: boolean;
  /** Rotate the heads of queries and keys as the model runs. */
  r3: boolean;
  /** Rotate what enters the last linear of the MLP as the model runs. */
  r4: boolean;
  /** Rotate the outputs of all heads together as the model runs. */
  across_heads: boolean;
}

/**
 * QuaRot (Ashkboos et al. 2024, arXiv 2404.00456, section 4; names of the rotations as in SpinQuant,
 * arXiv 2405.16406). With orthogonal Q, `W x = (W Q)(Q^T x)`:
 *
 * - R1: gains of norms go into the linears behind them, and the residual stream is rotated by a
 *   random Hadamard matrix; nothing of it is left at run time. Where gains hold large channels down,
 *   that lets them loose; `online` leaves the gains where they are and rotates behind the norms
 * - R2: the heads of values are rotated, and back in the linear behind the attention
 * - R3: queries and keys are rotated after their positions are; their products stay. Only a quantised
 *   cache gains from it
 * - R4: what enters the last linear of the MLP is rotated, and its weight the other way
 * - across heads: what enters the linear behind the attention is rotated as a whole, and its weight
 *   the other way
 *
 * Sizes that have no Hadamard matrix are rotated in the largest runs that have one.
 *
 * @example
 * ```ts
 * import { quarot } from "./mod.ts";
 * quarot.options.parse({ r3: false }).r4; // true
 * ```
 */
export const quarot: Plugin<QuarotOptions> = definePlugin({
  meta: {
    name: "quarot",
    version: "1.0.0",
    apiVersion: PLUGIN_API_VERSION,
    summary: "rotates outliers away: residual stream, values, keys, MLP",
    paper: {
      title: "QuaRot: Outlier-Free 4-Bit Inference in Rotated LLMs",
      id: "arXiv 2404.00456",
      equation: "section 4",
    },
    needs: { statistics: [] },
    supports: {},
    determinism: "seeded",
  },
  options: schema(
    "options of quarot",
    z.strictObject({
      r1: z.enum(["folded", "online", "none"]).default("folded").describe(
        "rotate the residual stream in the weights, or what its norms make of it at run time",
      ),
      r2: z.boolean().default(true).describe("rotate the heads of values"),
      r3: z.boolean().default(true).describe("rotate queries and keys as the model runs"),
      r4: z.boolean().default(true).describe("rotate the input of the last MLP linear at run time"),
      across_heads: z.boolean().default(true).describe("rotate all heads together at run time"),
    }),
  ),
  transformModel({ context: { options, rng }, model }) {
    const { hidden } = model.hyperparameters;
    return [
      ...(options.r1 === "folded" ? streamRotation(model, randomHadamard(rng("r1"), hidden)) : []),
      ...(options.r1 === "online" ? onlineRotations(model, "rms_norm") : []),
      ...(options.r2 ? headRotations(model, rng("r2")) : []),
      ...(options.r3 ? attentionRotations(model) : []),
      ...(options.r4 ? onlineRotations(model, "silu_gate") : []),
      ...(options.across_heads ? onlineRotations(model, "attention") : []),
    ];
  },
});

/** R1: everything that stands between the stream and an orthogonal matrix is moved away first. */
function streamRotation({ tied }: ModelView, rotation: Rotation): ModelOp[] {
  return [
    ...(tied.size > 0 ? [{ op: "untie" } as const] : []),
    { op: "fuse_norms" },
    { op: "rotate", rotation },
  ];
}

/**
 * R2: heads of values. Signs come after the Hadamard matrix, so that a rotation across heads behind
 * it does not cancel parts of it.
 */
function headRotations({ edges, hyperparameters: { head_size } }: ModelView, rng: Rng): ModelOp[] {
  const { size, signs } = randomHadamard(rng, head_size);
  const values = new Float64Array(size * size);
  for (let i = 0; i < size; i++) values[i * size + i] = 1;
  hadamard(values, size);
  for (let i = 0; i < values.length; i++) values[i] *= signs[i % size];
  const rotation: Rotation = { kind: "matrix", size, values };
  return edges.filter((edge) => edge.shared_heads)
    .map(({ id }) => ({ op: "rotate", edge: id, rotation }));
}

/** R3: queries and keys of every attention. */
function attentionRotations({ graph, hyperparameters }: ModelView): ModelOp[] {
  const size = largestHadamard(hyperparameters.head_size);
  return distinct(
    graph.flatMap((node): ModelOp[] =>
      node.op === "attention" ? [{ op: "hadamard", values: [node.query, node.key], size }] : []
    ),
  );
}

/** Blocks may have alternatives of one operation on the same values. */
function distinct(ops: ModelOp[]): ModelOp[] {
  return [...new Map(ops.map((op) => [JSON.stringify(op), op])).values()];
}

/** What an operation makes, where it enters a linear. */
function onlineRotations({ graph, linears }: ModelView, op: Node["op"]): ModelOp[] {
  return distinct(graph.flatMap((node): ModelOp[] => {
    const reader = node.op === op &&
      linears.find(({ block, input }) => block !== undefined && input === node.out);
    if (!reader) return [];
    return [{ op: "hadamard", values: [node.out], size: largestHadamard(reader.columns) }];
  }));
}

/** A Hadamard matrix behind random signs; in runs where there is none of the whole size. */
function randomHadamard(rng: Rng, channels: number): Rotation & { signs: Int8Array } {
  const size = largestHadamard(channels);
  const signs = Int8Array.from({ length: size }, () => rng.uint32() % 2 === 0 ? 1 : -1);
  return { kind: "hadamard" as const, size, signs };
}
