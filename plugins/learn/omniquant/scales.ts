/**
 * Scales of channels along edges: inside a differentiated function, and applied.
 *
 * @module
 */

import type {
  BlockLearner,
  DiffScope,
  DiffTensor,
  Edge,
  Kernels,
  TransformOp,
} from "../../../spec/mod.ts";

/** Magnitudes below this count as this. */
const SMALLEST = 1e-5;

/** `s0 exp(t)`. */
export function edgeFactor(scope: DiffScope, t: DiffTensor, start: Float32Array): DiffTensor {
  return t.exp().mul(scope.constant(start, [start.length]));
}

/** How many heads of consumers read one head of the producer. */
function sharing(edge: Edge, { hyperparameters }: BlockLearner): number {
  return edge.shared_heads ? hyperparameters.heads / hyperparameters.kv_heads : 1;
}

/** One factor for each input channel of the consumers: that of the channel that it reads. */
export function repeatHeads(factor: DiffTensor, edge: Edge, block: BlockLearner): DiffTensor {
  const shared = sharing(edge, block);
  if (shared === 1) return factor;
  const { kv_heads, head_size } = block.hyperparameters;
  return factor.reshape([kv_heads, head_size]).transpose().reshape([head_size * kv_heads])
    .repeat(shared).reshape([head_size, kv_heads * shared]).transpose()
    .reshape([kv_heads * shared * head_size]);
}

/** `max|X_j|^alpha / max|W_j|^(1 - alpha)` of each channel of the producer; 1 for alpha 0. */
export function initialFactors(
  kernels: Kernels,
  block: BlockLearner,
  edge: Edge,
  absMax: Readonly<Float32Array>,
  alpha: number,
): Float32Array {
  const shared = sharing(edge, block);
  const { head_size } = block.hyperparameters;
  const columns = absMax.length, count = columns / shared;
  const x = new Float32Array(count), w = new Float32Array(count);
  for (let column = 0; column < columns; column++) {
    const head = Math.floor(column / head_size);
    const at = shared === 1 ? column : Math.floor(head / shared) * head_size + column % head_size;
    x[at] = Math.max(x[at], absMax[column], SMALLEST);
    for (const role of edge.to) {
      const weight = block.weight(role);
      for (let i = column; i < weight.length; i += columns) {
        w[at] = Math.max(w[at], Math.abs(weight[i]), SMALLEST);
      }
    }
  }
  if (alpha === 0) return new Float32Array(count).fill(1);
  const power = (values: Float32Array, exponent: number) => {
    using input = kernels.upload(values);
    using y = kernels.alloc("f32", values.length);
    kernels.power({ x: input, exponent, y });
    return y.array.slice();
  };
  const above = power(x, alpha), below = power(w, 1 - alpha);
  return above.map((value, i) => value / below[i]);
}

/** What scales make of the linears and norms of a block, as the engine applies them. */
export function scaleBlock(
  block: BlockLearner,
  transforms: readonly TransformOp[],
): { weights: Map<string, Float32Array>; norms: Map<string, Float32Array> } {
  const weights = new Map<string, Float32Array>(), norms = new Map<string, Float32Array>();
  for (const op of transforms) {
    if (op.op !== "scale") continue;
    const edge = block.edges.find(({ id }) => id === op.edge)!;
    const { factors } = op;
    const shared = sharing(edge, block), { head_size } = block.hyperparameters;
    // The factor of a channel of the producer is that of the first head that reads it.
    const produced = factors.filter((_, i) => Math.floor(i / head_size) % shared === 0);
    const from = block.linears.some(({ role }) => role === edge.from) ? weights : norms;
    const producer = from.get(edge.from) ?? block.weight(edge.from).slice();
    const divisor = shared === 1 ? factors : produced;
    const width = producer.length / divisor.length;
    from.set(edge.from, producer.map((value, i) => value / divisor[Math.floor(i / width)]));
    for (const role of edge.to) {
      const weight = weights.get(role) ?? block.weight(role);
      weights.set(role, weight.map((value, i) => value * factors[i % factors.length]));
    }
  }
  return { weights, norms };
}
