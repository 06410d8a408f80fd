/**
 * The interpreter once more, on values that gradients are taken of: the same graphs, which are data.
 *
 * Values are `[windows, tokens, channels]`; windows have one length.
 *
 * @module
 */

import {
  type DiffScope,
  type DiffTensor,
  hadamard,
  type Hyperparameters,
  type Kernels,
  LowbitError,
  type Node,
} from "../spec/mod.ts";
import { evaluateSize } from "./hyperparameters.ts";

/** What {@linkcode runDifferentiable} needs. */
export interface DifferentiableArguments {
  /** Operations, of a block or after the blocks. */
  nodes: readonly Node[];
  /** The numbers of the model. */
  hyperparameters: Hyperparameters;
  /** Makes the tables of rotary embeddings, so that they are those of the kernels. */
  kernels: Kernels;
  /** Makes constants. */
  scope: Pick<DiffScope, "constant">;
  /** The residual stream, `[windows, tokens, hidden]`. */
  x: DiffTensor;
  /** A parameter that is no linear, by its name in the graph. */
  parameter(name: string): DiffTensor;
  /** What a linear makes of its input. */
  linear(role: string, x: DiffTensor): DiffTensor;
}

/**
 * Runs operations; the result is the value `x`, or `logits` if there is one.
 *
 * @example
 * ```ts
 * import type { DiffScope, DiffTensor, Kernels } from "../spec/mod.ts";
 * import type { ModelGraph } from "./architecture.ts";
 * import { runDifferentiable } from "./differentiable.ts";
 *
 * function block(model: ModelGraph, kernels: Kernels, scope: DiffScope, weights: Float32Array[]) {
 *   const { architecture: { graph }, hyperparameters } = model;
 *   return runDifferentiable({
 *     nodes: graph.block,
 *     hyperparameters,
 *     kernels,
 *     scope,
 *     x: scope.inputs.x,
 *     parameter: (name) => scope.inputs[name],
 *     linear: (role, x) => x.matmul(scope.inputs[role].transpose()),
 *   });
 * }
 * ```
 */
export function runDifferentiable(args: DifferentiableArguments): DiffTensor {
  const values = new Map([["x", args.x]]);
  const get = (name: string) => {
    const value = values.get(name);
    if (value) return value;
    throw new LowbitError("SCHEMA", `no operation before makes the value ${JSON.stringify(name)}`, {
      field: "graph",
    });
  };
  for (const node of args.nodes) {
    const apply = OPERATIONS[node.op] as (node: Node, get: Get, args: Args) => DiffTensor;
    values.set(node.out, apply(node, get, args));
  }
  return values.get("logits") ?? get("x");
}

type Args = DifferentiableArguments;
type Get = (name: string) => DiffTensor;
type Operations = {
  [Op in Node["op"]]: (node: Extract<Node, { op: Op }>, get: Get, args: Args) => DiffTensor;
};

const OPERATIONS: Operations = {
  embed() {
    throw new LowbitError("UNSUPPORTED", "an embedding is looked up before a graph is run");
  },
  rms_norm(node, get, { parameter, hyperparameters: { epsilon } }) {
    const x = get(node.in);
    const size = x.mul(x).mean([2], true).add(epsilon).sqrt();
    return x.div(size).mul(parameter(node.weight));
  },
  linear: (node, get, { linear }) => linear(node.weight, get(node.in)),
  rope(node, get, { hyperparameters, kernels, scope }) {
    const x = get(node.in);
    const [windows, tokens, channels] = x.shape;
    const { head_size: size } = hyperparameters;
    const heads = evaluateSize(node.heads, hyperparameters);
    const { cos, sin, turn } = rotaryTables(kernels, hyperparameters, tokens);
    const split = x.reshape([windows, tokens, heads, size]);
    const turned = split.matmul(scope.constant(turn, [size, size]));
    const table = (values: Float32Array) => scope.constant(values, [tokens, 1, size]);
    return split.mul(table(cos)).add(turned.mul(table(sin))).reshape([windows, tokens, channels]);
  },
  attention(node, get, { hyperparameters, scope }) {
    const { heads, kv_heads: kv, head_size: size } = hyperparameters;
    const query = get(node.query);
    const [windows, tokens] = query.shape;
    const shared = heads / kv;
    const q = query.reshape([windows, tokens, kv, shared, size]).transpose([0, 2, 3, 1, 4])
      .reshape([windows, kv, shared * tokens, size]);
    const byHead = (x: DiffTensor) =>
      x.reshape([windows, tokens, kv, size]).transpose([0, 2, 1, 3]);
    const scores = q.matmul(byHead(get(node.key)).transpose()).mul(1 / Math.sqrt(size))
      .reshape([windows, kv, shared, tokens, tokens])
      .add(scope.constant(futureMask(tokens), [tokens, tokens]));
    const weights = scores.softmax().reshape([windows, kv, shared * tokens, tokens]);
    return weights.matmul(byHead(get(node.value)))
      .reshape([windows, kv, shared, tokens, size]).transpose([0, 3, 1, 2, 4])
      .reshape([windows, tokens, heads * size]);
  },
  silu_gate(node, get) {
    const gate = get(node.gate);
    return gate.mul(gate.sigmoid()).mul(get(node.up));
  },
  add: (node, get) => get(node.in[0]).add(get(node.in[1])),
  bias: (node, get, { parameter }) => get(node.in).add(parameter(node.weight)),
  hadamard(node, get, { hyperparameters, scope }) {
    const x = get(node.in), size = evaluateSize(node.size, hyperparameters);
    const matrix = new Float64Array(size * size);
    for (let i = 0; i < size; i++) matrix[i * size + i] = 1;
    const split = x.reshape([...x.shape.slice(0, -1), x.shape.at(-1)! / size, size]);
    return split.matmul(scope.constant(hadamard(matrix, size), [size, size])).reshape(x.shape);
  },
};

/** What the kernels make of unit vectors: cosines and sines of every position, and who meets whom. */
function rotaryTables(
  kernels: Kernels,
  { head_size: headSize, theta }: Hyperparameters,
  rows: number,
) {
  const half = headSize / 2;
  using x = kernels.alloc("f32", rows * headSize);
  for (let row = 0; row < rows; row++) x.array.fill(1, row * headSize, row * headSize + half);
  kernels.rope({ x, rows, heads: 1, headSize, position: 0, theta });
  const cos = new Float32Array(rows * headSize), sin = new Float32Array(rows * headSize);
  const made = x.array;
  for (let row = 0; row < rows; row++) {
    for (let i = 0; i < headSize; i++) {
      cos[row * headSize + i] = made[row * headSize + i % half];
      sin[row * headSize + i] = made[row * headSize + half + i % half];
    }
  }
  const turn = new Float32Array(headSize * headSize);
  for (let i = 0; i < half; i++) {
    turn[(i + half) * headSize + i] = -1;
    turn[i * headSize + i + half] = 1;
  }
  return { cos, sin, turn };
}

/** Added to scores: nothing for the past, as good as minus infinity for the future. */
function futureMask(tokens: number): Float32Array {
  return Float32Array.from(
    { length: tokens * tokens },
    (_, i) => i % tokens > Math.floor(i / tokens) ? -1e30 : 0,
  );
}
