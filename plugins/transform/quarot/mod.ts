/**
 * QuaRot: rotations spread outliers over all channels, in the weights where they can be folded and
 * as the model runs where they cannot.
 *
 * @module
 */

import { z } from "zod";
import {
  definePlugin,
  largestHadamard,
  type ModelOp,
  type ModelView,
  type Plugin,
  PLUGIN_API_VERSION,
  type Rng,
  type Rotation,
  schema,
  type TransformOp,
} from "../../../spec/mod.ts";

/** Options of {@linkcode quarot}. */
export interface QuarotOptions {
  /** Rotate the residual stream. */
  r1: boolean;
  /** Rotate the heads of values. */
  r2: boolean;
  /** Rotate the heads of queries and keys as the model runs. */
  r3: boolean;
  /** Rotate what enters the last linear of the MLP as the model runs. */
  r4: boolean;
}

/**
 * QuaRot (Ashkboos et al. 2024, arXiv 2404.00456, section 4; names of the rotations as in SpinQuant,
 * arXiv 2405.16406). With orthogonal Q, `W x = (W Q)(Q^T x)`:
 *
 * - R1: gains of norms go into the linears behind them, and the residual stream is rotated by a
 *   random Hadamard matrix; nothing of it is left at run time
 * - R2: the heads of values are rotated, and back in the linear behind the attention
 * - R3: queries and keys are rotated after their positions are; their products stay. Only a quantised
 *   cache gains from it
 * - R4: what enters the last linear of the MLP is rotated, and its weight the other way
 *
 * Sizes that have no Hadamard matrix are rotated in the largest runs that have one.
 *
 * @example
 * ```ts
 * import { quarot } from "./mod.ts";
 * quarot.options.parse({ r3: false }); // { r1: true, r2: true, r3: false, r4: true }
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
      r1: z.boolean().default(true).describe("rotate the residual stream"),
      r2: z.boolean().default(true).describe("rotate the heads of values"),
      r3: z.boolean().default(true).describe("rotate queries and keys as the model runs"),
      r4: z.boolean().default(true).describe("rotate the input of the last MLP linear at run time"),
    }),
  ),
  transformModel({ context: { options, rng }, model }) {
    const { hidden } = model.hyperparameters;
    return [
      ...(options.r1 ? streamRotation(model, randomHadamard(rng("r1"), hidden)) : []),
      ...(options.r3 ? attentionRotations(model) : []),
      ...(options.r4 ? gateRotations(model) : []),
    ];
  },
  transform({ context: { options, rng }, block }) {
    if (!options.r2) return [];
    const rotation = randomHadamard(rng(`r2/${block.index}`), block.hyperparameters.head_size);
    return block.edges.filter((edge) => edge.shared_heads)
      .map(({ id }): TransformOp => ({ op: "rotate", edge: id, rotation }));
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

/** R3: queries and keys of every attention. */
function attentionRotations({ graph, hyperparameters }: ModelView): ModelOp[] {
  const size = largestHadamard(hyperparameters.head_size);
  return graph.flatMap((node): ModelOp[] =>
    node.op === "attention" ? [{ op: "hadamard", values: [node.query, node.key], size }] : []
  );
}

/** R4: products of gates, as they enter a linear. */
function gateRotations({ graph, linears }: ModelView): ModelOp[] {
  return graph.flatMap((node): ModelOp[] => {
    const reader = node.op === "silu_gate" &&
      linears.find(({ block, input }) => block !== undefined && input === node.out);
    if (!reader) return [];
    return [{ op: "hadamard", values: [node.out], size: largestHadamard(reader.columns) }];
  });
}

/** A Hadamard matrix behind random signs; in runs where there is none of the whole size. */
function randomHadamard(rng: Rng, channels: number): Rotation {
  const size = largestHadamard(channels);
  const signs = Int8Array.from({ length: size }, () => rng.uint32() % 2 === 0 ? 1 : -1);
  return { kind: "hadamard", size, signs };
}
