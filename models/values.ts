/**
 * What a graph does with its values: which operations a value comes from, and what reads it.
 *
 * @module
 */

import type { Edge, Hyperparameters, Node } from "../spec/mod.ts";

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
    case "experts":
      return [node.in, node.routing];
    default:
      return [node.in].flat();
  }
}

/**
 * The linears of an operation: the parameter and the value that it multiplies.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { linearsOf } from "./values.ts";
 * const node = { op: "linear" as const, weight: "up", in: "a", out: "b" };
 * assertEquals(linearsOf(node, {}), [{ weight: "up", input: "a" }]);
 * ```
 */
export function linearsOf(
  node: Node,
  hyperparameters: Hyperparameters,
): { weight: string; input: string }[] {
  if (node.op === "linear") return [{ weight: node.weight, input: node.in }];
  if (node.op !== "experts") return [];
  return Array.from({ length: hyperparameters[node.count] }, (_, e) => {
    const { gate, up, down } = expertRoles(node, e);
    const input = `${node.out}.${e}.input`;
    return [{ weight: gate, input }, { weight: up, input }, {
      weight: down,
      input: `${node.out}.${e}.down.input`,
    }];
  }).flat();
}

/**
 * The names of the three linears of one expert.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { expertRoles } from "./values.ts";
 * const names = { gate: "mlp.experts.{e}.gate", up: "up.{e}", down: "down.{e}" };
 * assertEquals(expertRoles(names, 3).gate, "mlp.experts.3.gate");
 * ```
 */
export function expertRoles(
  names: { gate: string; up: string; down: string },
  expert: number,
): { gate: string; up: string; down: string } {
  const fill = (name: string) => name.replaceAll("{e}", String(expert));
  return { gate: fill(names.gate), up: fill(names.up), down: fill(names.down) };
}

/**
 * The names of all parameters of an operation.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { weightsOf } from "./values.ts";
 * assertEquals(weightsOf({ op: "layer_norm", in: "x", out: "y" }, {}), []);
 * ```
 */
export function weightsOf(node: Node, hyperparameters: Hyperparameters): string[] {
  const own = "weight" in node && node.weight !== undefined ? [node.weight] : [];
  const factors = node.op === "rope" && node.factors !== undefined ? [node.factors] : [];
  const correction = node.op === "route" && node.correction !== undefined ? [node.correction] : [];
  const linears = node.op === "experts"
    ? linearsOf(node, hyperparameters).map(({ weight }) => weight)
    : [];
  return [...own, ...factors, ...correction, ...linears];
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
