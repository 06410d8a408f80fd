/**
 * The residual stream of a graph: which parameters write it, which read it, and through which norms.
 *
 * @module
 */

import { type Architecture, type Hyperparameters, LowbitError, type Node } from "../spec/mod.ts";
import { inputsOf, linearsOf } from "./values.ts";

/** Parameters by how they meet the residual stream; names in the graph, of one part of it. */
export interface StreamParameters {
  /** Embeddings: their rows are added to the stream as they are. */
  embeddings: Set<string>;
  /** Linears whose outputs are added to the stream. */
  writers: Set<string>;
  /** Vectors that are added to the stream, or to what norms make of it. */
  vectors: Set<string>;
  /** Linears that read the stream, or what a norm makes of it. */
  readers: Set<string>;
  /** Norms of the stream. */
  norms: Set<string>;
}

/**
 * Follows the residual stream through the operations of one part of a graph. `UNSUPPORTED` where
 * something else than norms, linears and sums reads it.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { architectures } from "./architecture.ts";
 * import { streamParameters } from "./stream.ts";
 * const llama = architectures().find(({ id }) => id === "llama")!;
 * const { writers, norms } = streamParameters(llama, "block");
 * assertEquals([...writers], ["attention.output", "mlp.down"]);
 * assertEquals([...norms], ["attention.norm", "mlp.norm"]);
 * ```
 */
export function streamParameters(
  { id, graph }: Architecture,
  part: "before" | "block" | "after",
  hyperparameters: Hyperparameters = {},
): StreamParameters {
  const found: StreamParameters = {
    embeddings: new Set(),
    writers: new Set(),
    vectors: new Set(),
    readers: new Set(),
    norms: new Set(),
  };
  const nodes = graph[part];
  // Values that are the stream, or a norm of it. Names may be written again.
  const stream = new Set(part === "before" ? [] : ["x"]), normed = new Set<string>();
  for (const [i, node] of nodes.entries()) {
    const isStream = streams(node, stream, id);
    const isNormed = node.op === "rms_norm" && stream.has(node.in) ||
      node.op === "bias" && normed.has(node.in);
    if (node.op === "embed") found.embeddings.add(node.weight);
    if (node.op === "rms_norm" && isNormed) found.norms.add(node.weight);
    if (node.op === "bias" && (isNormed || isStream)) found.vectors.add(node.weight);
    if (node.op === "linear" && (stream.has(node.in) || normed.has(node.in))) {
      found.readers.add(node.weight);
    }
    if (node.op === "experts" && normed.has(node.in)) {
      for (const { weight, input } of linearsOf(node, hyperparameters)) {
        if (!input.endsWith(".down.input")) found.readers.add(weight);
      }
    }
    if (node.op === "add" && isStream) {
      for (const name of node.in) {
        if (!stream.has(name)) addWriter({ nodes, id, hyperparameters }, i, name, found);
      }
    }
    stream.delete(node.out);
    normed.delete(node.out);
    if (isStream) stream.add(node.out);
    if (isNormed) normed.add(node.out);
  }
  return found;
}

/** Whether an operation makes the stream; throws where it cannot read it. */
function streams(node: Node, stream: ReadonlySet<string>, id: string): boolean {
  switch (node.op) {
    case "embed":
      return true;
    case "add":
      return node.in.some((name) => stream.has(name));
    case "bias":
    case "scale":
      return stream.has(node.in);
    case "rms_norm":
    case "linear":
      return false;
    default: {
      if (!inputsOf(node).some((name) => stream.has(name))) return false;
      throw unsupported(id, `the operation ${node.op} reads the residual stream`);
    }
  }
}

/** What makes the value `name`, which is added to the stream by operation `i`. */
function addWriter(
  graph: { nodes: readonly Node[]; id: string; hyperparameters: Hyperparameters },
  i: number,
  name: string,
  found: StreamParameters,
): void {
  const { nodes, id, hyperparameters } = graph;
  for (const [at, node] of [...nodes.slice(0, i).entries()].toReversed()) {
    if (node.out !== name) continue;
    if (node.op === "add") return node.in.forEach((part) => addWriter(graph, at, part, found));
    if (node.op === "experts") {
      for (const { weight, input } of linearsOf(node, hyperparameters)) {
        if (input.endsWith(".down.input")) found.writers.add(weight);
      }
      return;
    }
    if (node.op === "bias") {
      found.vectors.add(node.weight);
      name = node.in;
    } else if (node.op === "linear") {
      found.writers.add(node.weight);
      return;
    } else break;
  }
  throw unsupported(id, `${name}, which is added to the residual stream, is no linear's output`);
}

function unsupported(file: string, problem: string): LowbitError {
  return new LowbitError("UNSUPPORTED", problem, {
    file,
    advice: "this architecture's residual stream cannot be rotated",
  });
}
