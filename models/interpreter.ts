/**
 * The interpreter: runs a graph, which is data, on kernels. It knows operations and no model family.
 *
 * Values are f32 buffers of `[tokens, channels]`. Each is freed after the last operation that reads
 * it; inputs belong to the caller and are never changed.
 *
 * @module
 */

import {
  type Architecture,
  type Buffer,
  hadamard,
  type Hyperparameters,
  type Kernels,
  LowbitError,
  type Node,
} from "../spec/mod.ts";
import type { AttentionMemory } from "./cache.ts";
import { evaluateSize } from "./hyperparameters.ts";
import { inputsOf } from "./values.ts";

/** Real numbers in kernel memory. */
export type Values = Buffer<"f32">;

/** What every run of a graph needs. */
export interface RunArguments {
  /** The kernels. */
  kernels: Kernels;
  /** The numbers of the model. */
  hyperparameters: Hyperparameters;
  /** Rows of the values. */
  tokens: number;
  /** The position of the first row in its sequence; 0, or what the memory has seen. */
  position?: number;
  /** A parameter that is no linear, by its name in the graph: a norm. Not freed. */
  parameter(name: string): Values;
  /** What a linear makes of `x` `[tokens, in]`: a new buffer `[tokens, out]`. The caller decides how. */
  linear(role: string, x: Values, tokens: number): Values;
  /** Keys and values of earlier tokens. Without it the rows are one whole sequence. */
  memory?: AttentionMemory;
}

/** What {@linkcode runBlock} needs. */
export interface BlockArguments extends RunArguments {
  /** The graph. */
  graph: Architecture["graph"];
  /** The residual stream, `[tokens, hidden]`; stays as it is. */
  x: Values;
}

/**
 * Runs one block: a new buffer with the residual stream behind it, `[tokens, hidden]`.
 *
 * What the kernels and the caller's functions throw goes through; the values made before are freed.
 *
 * @example
 * ```ts
 * import type { Kernels } from "../spec/mod.ts";
 * import type { ModelGraph } from "./architecture.ts";
 * import { runBlock, type Values } from "./interpreter.ts";
 * import { loadPart } from "./linear.ts";
 *
 * async function firstBlock(model: ModelGraph, kernels: Kernels, x: Values, tokens: number) {
 *   const { hyperparameters, architecture: { graph } } = model;
 *   using part = await loadPart({ model, kernels, nodes: graph.block, block: 0 });
 *   const { parameter } = part;
 *   return runBlock({
 *     graph,
 *     kernels,
 *     hyperparameters,
 *     tokens,
 *     x,
 *     parameter,
 *     linear(role, input) {
 *       console.log(role, input.length); // what a statistic would see
 *       return part.linear(role, input, tokens);
 *     },
 *   });
 * }
 * ```
 */
export function runBlock(args: BlockArguments): Values {
  return run(args.graph.block, { x: args.x }, "x", args);
}

/**
 * Runs what comes after the blocks: a new buffer of logits, `[tokens, vocabulary]`.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { embeddedPath } from "../embedded/mod.ts";
 * import { openCheckpoint } from "../formats/open.ts";
 * import { loadKernels } from "../kernels-wasm/mod.ts";
 * import { openModel } from "./architecture.ts";
 * import { runHead } from "./interpreter.ts";
 * import { loadPart } from "./linear.ts";
 *
 * const checkpoint = await openCheckpoint(embeddedPath("model"));
 * const model = openModel(checkpoint), kernels = await loadKernels();
 * const { hyperparameters, architecture: { graph } } = model;
 * using head = await loadPart({ model, kernels, nodes: graph.after });
 * const { parameter, linear } = head;
 * using x = kernels.upload(new Float32Array(256).fill(1));
 * using logits = runHead({ graph, kernels, hyperparameters, x, tokens: 1, parameter, linear });
 * assertEquals(logits.length, 2048);
 * checkpoint.close();
 * ```
 */
export function runHead(args: BlockArguments): Values {
  return run(args.graph.after, { x: args.x }, "logits", args);
}

/** An operation: makes a new value, or takes over an input that nobody reads any more. */
interface Machine {
  args: RunArguments;
  /** The value of a name. */
  get(name: string): Values;
  /** A buffer with the value of a name that may be changed: itself, or a copy. */
  take(name: string): Values;
}

type Operations = { [Op in Node["op"]]: (node: Extract<Node, { op: Op }>, m: Machine) => Values };

const OPERATIONS: Operations = {
  embed() {
    throw new LowbitError("UNSUPPORTED", "an embedding is looked up before a graph is run");
  },
  rms_norm(node, { args, get }) {
    const { kernels, tokens, hyperparameters: { epsilon } } = args;
    const x = get(node.in), weight = args.parameter(node.weight);
    const y = kernels.alloc("f32", x.length);
    kernels.rmsNorm({ x, y, rows: tokens, columns: x.length / tokens, weight, epsilon });
    return y;
  },
  linear(node, { args, get }) {
    return args.linear(node.weight, get(node.in), args.tokens);
  },
  rope(node, { args, take }) {
    const { kernels, tokens: rows, hyperparameters } = args;
    const { theta, head_size: headSize } = hyperparameters;
    const position = args.position ?? args.memory?.position ?? 0;
    const heads = evaluateSize(node.heads, hyperparameters);
    const x = take(node.in);
    kernels.rope({ x, rows, heads, headSize, position, theta });
    return x;
  },
  attention(node, { args, get }) {
    const { kernels, tokens, memory, hyperparameters } = args;
    const { heads, kv_heads: kvHeads, head_size: headSize } = hyperparameters;
    const q = get(node.query), key = get(node.key), value = get(node.value);
    const y = kernels.alloc("f32", q.length);
    const rows = memory?.stepwise ? 1 : tokens;
    const part = (x: Values, start: number) => {
      const width = x.length / tokens;
      return rows === tokens ? x : x.slice(start * width, rows * width);
    };
    for (let start = 0; start < tokens; start += rows) {
      const [k, v] = [part(key, start), part(value, start)];
      const past = memory?.extend(k, v, rows);
      kernels.attention({
        q: part(q, start),
        k: past?.keys ?? k,
        v: past?.values ?? v,
        y: part(y, start),
        tokens: rows,
        past: past === undefined ? 0 : past.length - rows,
        heads,
        kvHeads,
        headSize,
        scale: 1 / Math.sqrt(headSize),
      });
      past?.release();
    }
    return y;
  },
  silu_gate(node, { args, get, take }) {
    const up = get(node.up), y = take(node.gate);
    args.kernels.siluGate({ gate: y, up, y });
    return y;
  },
  add(node, { args, get, take }) {
    const x = get(node.in[0]), y = take(node.in[1]);
    args.kernels.add({ x, y });
    return y;
  },
  bias(node, { args, take }) {
    const x = take(node.in);
    const [values, bias] = [x.array, args.parameter(node.weight).array];
    for (let i = 0, j = 0; i < values.length; i++) {
      values[i] += bias[j];
      if (++j === bias.length) j = 0;
    }
    return x;
  },
  hadamard(node, { args, take }) {
    const x = take(node.in);
    hadamard(x.array, evaluateSize(node.size, args.hyperparameters));
    return x;
  },
};

/**
 * Runs operations in order on named inputs; the value `result` is returned, all others made on the
 * way are freed. A name that is written again is another value from there on.
 */
function run(
  nodes: readonly Node[],
  inputs: Record<string, Values>,
  result: string,
  args: RunArguments,
): Values {
  const values = new Map(Object.entries(inputs));
  const owned = new Set<Values>();
  const drop = (name: string) => {
    const value = values.get(name);
    values.delete(name);
    if (value !== undefined && owned.delete(value)) value.free();
  };
  try {
    for (const [i, node] of nodes.entries()) {
      const machine: Machine = {
        args,
        get: (name) => valueOf(values, name),
        take(name) {
          const value = valueOf(values, name);
          if (owned.has(value) && !readLater(nodes, i, name, result)) return value;
          return copy(args.kernels, value);
        },
      };
      const apply = OPERATIONS[node.op] as (node: Node, machine: Machine) => Values;
      const made = apply(node, machine);
      for (const name of inputsOf(node)) {
        if (values.get(name) === made) values.delete(name);
        else if (name !== node.out && !readLater(nodes, i, name, result)) drop(name);
      }
      if (values.get(node.out) !== made) drop(node.out);
      values.set(node.out, made);
      owned.add(made);
    }
    const value = valueOf(values, result);
    if (!owned.delete(value)) return copy(args.kernels, value);
    return value;
  } finally {
    for (const value of owned) value.free();
  }
}

function valueOf(values: Map<string, Values>, name: string): Values {
  const value = values.get(name);
  if (value !== undefined) return value;
  throw new LowbitError("SCHEMA", `no operation before makes the value ${JSON.stringify(name)}`, {
    field: "graph",
  });
}

/** Whether the value that `name` has before node `i` is read after it. */
function readLater(nodes: readonly Node[], i: number, name: string, result: string): boolean {
  if (nodes[i].out === name) return false;
  for (const node of nodes.slice(i + 1)) {
    if (inputsOf(node).includes(name)) return true;
    if (node.out === name) return false;
  }
  return name === result;
}

function copy(kernels: Kernels, x: Values): Values {
  const y = kernels.alloc("f32", x.length);
  y.array.set(x.array);
  return y;
}
