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
import { alibiSlopes } from "./attention.ts";
import { evaluateFactor, evaluateSize } from "./hyperparameters.ts";
import { rotary } from "./rope.ts";

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
  /** The values of a parameter that is a constant: divisors of rotary frequencies. */
  values?(name: string): Readonly<Float32Array>;
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
  rms_norm(node, get, { parameter, hyperparameters }) {
    const { epsilon } = hyperparameters;
    const whole = get(node.in);
    const x = inGroups(whole, node.groups, hyperparameters);
    const size = x.mul(x).mean([x.shape.length - 1], true).add(epsilon).sqrt();
    return x.div(size).mul(parameter(node.weight)).reshape(whole.shape);
  },
  layer_norm(node, get, { parameter, hyperparameters }) {
    const whole = get(node.in);
    const x = inGroups(whole, node.groups, hyperparameters), last = [x.shape.length - 1];
    const centred = x.sub(x.mean(last, true));
    const size = centred.mul(centred).mean(last, true).add(hyperparameters.epsilon).sqrt();
    const normed = centred.div(size);
    return (node.weight === undefined ? normed : normed.mul(parameter(node.weight)))
      .reshape(whole.shape);
  },
  linear: (node, get, { linear }) => linear(node.weight, get(node.in)),
  rope(node, get, args) {
    const { hyperparameters, scope } = args;
    const x = get(node.in);
    const [windows, tokens, channels] = x.shape;
    const size = evaluateSize(node.size ?? "head_size", hyperparameters);
    const heads = evaluateSize(node.heads, hyperparameters);
    const { cos, sin, turn } = rotaryTables(node, args, size, tokens);
    const split = x.reshape([windows, tokens, heads, size]);
    const turned = split.matmul(scope.constant(turn, [size, size]));
    const table = (values: Float32Array) => scope.constant(values, [tokens, 1, size]);
    return split.mul(table(cos)).add(turned.mul(table(sin))).reshape([windows, tokens, channels]);
  },
  attention(node, get, { hyperparameters, scope }) {
    const { heads, kv_heads: kv } = hyperparameters;
    const size = evaluateSize(node.key_size ?? "head_size", hyperparameters);
    const valueSize = evaluateSize(
      node.value_size ?? node.key_size ?? "head_size",
      hyperparameters,
    );
    const query = get(node.query);
    const [windows, tokens] = query.shape;
    const shared = heads / kv;
    const q = query.reshape([windows, tokens, kv, shared, size]).transpose([0, 2, 3, 1, 4])
      .reshape([windows, kv, shared * tokens, size]);
    const byHead = (x: DiffTensor, width: number) =>
      x.reshape([windows, tokens, kv, width]).transpose([0, 2, 1, 3]);
    const scale = evaluateFactor(node.scale ?? { of: String(size), power: -0.5 }, hyperparameters);
    let scores = q.matmul(byHead(get(node.key), size).transpose()).mul(scale);
    if (node.softcap !== undefined) scores = capped(scores, hyperparameters[node.softcap]);
    const mask = attentionMask(node, hyperparameters, tokens, scale);
    const masked = scores.reshape([windows, kv, shared, tokens, tokens])
      .add(scope.constant(mask, [kv, shared, tokens, tokens]));
    const weights = masked.softmax().reshape([windows, kv, shared * tokens, tokens]);
    return weights.matmul(byHead(get(node.value), valueSize))
      .reshape([windows, kv, shared, tokens, valueSize]).transpose([0, 3, 1, 2, 4])
      .reshape([windows, tokens, heads * valueSize]);
  },
  slice(node, get, { hyperparameters }) {
    const skip = (node.skip ?? []).reduce((n, size) => n + evaluateSize(size, hyperparameters), 0);
    return get(node.in).slice(2, skip, skip + evaluateSize(node.size, hyperparameters));
  },
  activate(node, get) {
    const x = get(node.in);
    switch (node.kind) {
      case "relu":
        return x.maximum(0);
      case "silu":
        return x.mul(x.sigmoid());
      case "sigmoid":
        return x.sigmoid();
      case "tanh":
        return capped(x, 1);
      case "gelu_tanh": {
        const inner = x.add(x.mul(x).mul(x).mul(0.044715)).mul(2 * Math.sqrt(2 / Math.PI));
        return x.mul(inner.sigmoid());
      }
      case "gelu": {
        // By a rational approximation of the error function, to 2e-7 (Abramowitz, Stegun 7.1.26).
        const z = x.abs().mul(Math.SQRT1_2);
        const t = z.mul(0.3275911).add(1), inverse = t.mul(0).add(1).div(t);
        const coefficients = [1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592];
        const sum = coefficients.slice(1).reduce(
          (total, c) => total.mul(inverse).add(c),
          inverse.mul(0).add(coefficients[0]),
        );
        const tail = sum.mul(inverse).mul(z.mul(z).mul(-1).exp());
        return x.add(x.abs().mul(tail.mul(-1).add(1))).mul(0.5);
      }
    }
  },
  mul: (node, get) => get(node.in[0]).mul(get(node.in[1])),
  scale: (node, get, { hyperparameters }) =>
    get(node.in).mul(evaluateFactor(node.factor, hyperparameters)),
  softcap: (node, get, { hyperparameters }) => capped(get(node.in), hyperparameters[node.cap]),
  join: (node) => {
    throw unsupported(node.op);
  },
  route: (node) => {
    throw unsupported(node.op);
  },
  experts: (node) => {
    throw unsupported(node.op);
  },
  pool: (node) => {
    throw unsupported(node.op);
  },
  unit: (node) => {
    throw unsupported(node.op);
  },
  prepend: (node) => {
    throw unsupported(node.op);
  },
  add_rows: (node) => {
    throw unsupported(node.op);
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

function unsupported(what: string): LowbitError {
  return new LowbitError("UNSUPPORTED", `has no gradients in this version: ${what}`, {
    field: "graph",
    advice: "use a method that needs no gradients",
  });
}

/** `cap * tanh(x / cap)`; as it is for a cap of 0. */
function capped(x: DiffTensor, cap: number): DiffTensor {
  return cap === 0 ? x : x.mul(2 / cap).sigmoid().mul(2 * cap).sub(cap);
}

/** Runs of channels on an axis of their own. */
function inGroups(x: DiffTensor, groups: string | undefined, hyper: Hyperparameters): DiffTensor {
  if (groups === undefined) return x;
  const count = evaluateSize(groups, hyper), [windows, tokens, channels] = x.shape;
  return x.reshape([windows, tokens, count, channels / count]);
}

/** Cosines and sines of every position, 1 and 0 for channels that do not turn; and who meets whom. */
function rotaryTables(
  node: Extract<Node, { op: "rope" }>,
  { kernels, hyperparameters, values }: DifferentiableArguments,
  size: number,
  rows: number,
) {
  const turning = node.rotary === undefined ? size : evaluateSize(node.rotary, hyperparameters);
  const { pairs = "halves", theta: name = "theta", factors, magnitude } = node;
  const theta = hyperparameters[name], half = turning / 2;
  const [step, distance] = pairs === "halves" ? [1, half] : [2, 1];
  using x = kernels.alloc("f32", rows * size);
  for (let row = 0; row < rows; row++) {
    for (let i = 0; i < half; i++) x.array[row * size + i * step] = 1;
  }
  if (turning === size && pairs === "halves" && factors === undefined && magnitude === undefined) {
    kernels.rope({ x, rows, heads: 1, headSize: size, position: 0, theta });
  } else {
    rotary({
      ...{ x: x.array, heads: 1, size, rotary: turning, theta, position: 0, pairs },
      ...(factors !== undefined && { factors: values!(factors) }),
      magnitude: magnitude === undefined ? 1 : hyperparameters[magnitude],
    });
  }
  const cos = new Float32Array(rows * size).fill(1), sin = new Float32Array(rows * size);
  const made = x.array, turn = new Float32Array(size * size);
  for (let i = 0; i < half; i++) {
    const a = i * step, b = a + distance;
    turn[b * size + a] = -1;
    turn[a * size + b] = 1;
    for (let row = 0; row < rows; row++) {
      cos[row * size + a] = cos[row * size + b] = made[row * size + a];
      sin[row * size + a] = sin[row * size + b] = made[row * size + b];
    }
  }
  return { cos, sin, turn };
}

/** Added to the scores of every head: as good as minus infinity for hidden keys, and ALiBi. */
function attentionMask(
  { causal = true, window: name, alibi }: Extract<Node, { op: "attention" }>,
  hyperparameters: Hyperparameters,
  tokens: number,
  scale: number,
): Float32Array {
  const { heads } = hyperparameters;
  const window = name === undefined ? 0 : hyperparameters[name];
  const slopes = alibi ? alibiSlopes(heads).map((s) => alibi === "scaled" ? s * scale : s) : [];
  const mask = new Float32Array(heads * tokens * tokens);
  for (let head = 0, at = 0; head < heads; head++) {
    for (let t = 0; t < tokens; t++) {
      for (let j = 0; j < tokens; j++, at++) {
        const hidden = causal && j > t || window > 0 && Math.abs(t - j) >= window;
        mask[at] = hidden ? -1e30 : (slopes[head] ?? 0) * (j - t);
      }
    }
  }
  return mask;
}
