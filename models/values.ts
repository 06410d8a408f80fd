/**
 * What a graph does with its values: which operations a value comes from, and what reads it.
 *
 * @module
 */

import type { Edge, Node } from "../spec/mod.ts";

/**
 * The names of the values that an operation reads.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { inputsOf } from "./values.ts";
 * assertEquals(inputsOf({ op: "silu_gate", gate: "g", up: "u", out: "y" }), ["g", "u"]);
 * assertEquals(inputsOf({ op: "embed", weight: "embedding", out: "x" }), []);
 * ```
 */
export function inputsOf(node: Node): string[] {
  switch (node.op) {
    case "embed":
      return [];
    case "attention":
      return [node.query, node.key, node.value];
    case "silu_gate":
      return [node.gate, node.up];
    case "add":
      return node.in;
    default:
      return [node.in];
  }
}

/**
 * The operation that has a parameter, or undefined.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { nodeWith } from "./values.ts";
 * const nodes = [{ op: "linear" as const, weight: "up", in: "a", out: "b" }];
 * assertEquals(nodeWith(nodes, "up")?.out, "b");
 * ```
 */
export function nodeWith(nodes: readonly Node[], weight: string): Node | undefined {
  return nodes.find((node) => "weight" in node && node.weight === weight);
}

/**
 * The values between the two ends of an edge, the output of its producer and the input of its
 * consumers included: channels that are changed at one end and the other stay changed in these.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { architectures } from "./architecture.ts";
 * import { valuesBetween } from "./values.ts";
 * const { graph, edges } = architectures().find(({ id }) => id === "llama")!;
 * const edge = edges.find(({ id }) => id === "mlp.down.input")!;
 * assertEquals(valuesBetween(graph.block, edge), ["up", "mlp.down.input"]);
 * ```
 */
export function valuesBetween(nodes: readonly Node[], edge: Edge): string[] {
  const from = nodeWith(nodes, edge.from), to = nodeWith(nodes, edge.to[0]);
  if (from === undefined || to === undefined) return [];
  const [first, last] = [nodes.indexOf(from), nodes.indexOf(to)];
  const span = nodes.slice(first + 1, last);
  const after = new Set([from.out]);
  for (const node of span) {
    if (inputsOf(node).some((name) => after.has(name))) after.add(node.out);
  }
  const before = new Set(inputsOf(to));
  for (const node of span.toReversed()) {
    if (before.has(node.out)) inputsOf(node).forEach((name) => before.add(name));
  }
  return [...after].filter((name) => before.has(name));
}
