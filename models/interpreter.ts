/**
 * The interpreter: runs a graph, which is data, on kernels. It knows operations and no model family.
 *
 * Values are f32 buffers of `[tokens, channels]`. Each is freed after the last operation that reads
 * it; inputs belong to the caller and are never changed.
 *
 * @module
 */

import { type Architecture, type Kernels, LowbitError, type Node } from "../spec/mod.ts";
import { type Machine, OPERATIONS, type RunArguments, type Values } from "./operations.ts";
import { inputsOf } from "./values.ts";

export type { RunArguments, Values } from "./operations.ts";

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
 * Runs what comes after the blocks: a new buffer with what the last operation makes, the logits
 * `[tokens, vocabulary]` or an output.
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
  return run(args.graph.after, { x: args.x }, args.graph.after.at(-1)!.out, args);
}

/**
 * Runs any operations on `inputs`: a new buffer with the value `result`.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { referenceKernels } from "../kernels-wasm/reference.ts";
 * import { runNodes } from "./interpreter.ts";
 * const kernels = referenceKernels();
 * using x = kernels.upload(Float32Array.of(1, 2));
 * const none = () => x;
 * const args = { kernels, hyperparameters: {}, tokens: 1, parameter: none, linear: none };
 * using y = runNodes([{ op: "add", in: ["x", "x"], out: "y" }], { x }, "y", args);
 * assertEquals([...y.array], [2, 4]);
 * ```
 */
export function runNodes(
  nodes: readonly Node[],
  inputs: Record<string, Values>,
  result: string,
  args: RunArguments,
): Values {
  return run(nodes, inputs, result, args);
}

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
  const counts = new Map<Values, number>();
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
        rows: (name) => counts.get(valueOf(values, name)) ?? args.tokens,
        count: (value, rows) => void counts.set(value, rows),
        take(name) {
          const value = valueOf(values, name);
          if (owned.has(value) && !readLater(nodes, i, name, result)) return value;
          return copy(args.kernels, value);
        },
      };
      const apply = OPERATIONS[node.op] as (node: Node, machine: Machine) => Values;
      const made = apply(node, machine);
      const [first] = inputsOf(node);
      if (first !== undefined && !counts.has(made)) counts.set(made, machine.rows(first));
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
