/**
 * Reordered channels: which parameters of a block have them, and how they change.
 *
 * @module
 */

import {
  type Edge,
  type Hyperparameters,
  type InputStatistics,
  LowbitError,
  type Node,
} from "../spec/mod.ts";
import { permuteRows } from "../models/rows.ts";
import { expertRoles, inputsOf, valuesBetween } from "../models/values.ts";
import type { BlockParameters } from "./block_parameters.ts";

/** The parameters that hold the channels of an edge. */
export interface Axis {
  /** Linears whose rows they are. */
  produced: string[];
  /** Vectors that are added to them. */
  biases: string[];
}

/** Operations that treat each channel by itself, so that reordered inputs give a reordered output. */
const BY_CHANNEL: ReadonlySet<Node["op"]> = new Set(
  ["silu_gate", "activate", "mul", "scale", "softcap", "bias"] as const,
);

/** What holds the channels of an edge; throws `PLUGIN` where they cannot be reordered alone. */
export function axisOf(
  graph: readonly Node[],
  edge: Edge,
  hyperparameters: Hyperparameters,
): Axis {
  const expert = ofExpert(graph, edge, hyperparameters);
  if (expert) return expert;
  const values = new Set(valuesBetween(graph, edge));
  const touches = (node: Node) => [...inputsOf(node), node.out].some((name) => values.has(name));
  for (let size = -1; size !== values.size;) {
    size = values.size;
    for (const node of graph) {
      if (!BY_CHANNEL.has(node.op) || !touches(node)) continue;
      for (const name of [...inputsOf(node), node.out]) values.add(name);
    }
  }
  const axis: Axis = { produced: [], biases: [] };
  for (const node of graph.filter(touches)) {
    if (node.op === "bias") axis.biases.push(node.weight);
    if (BY_CHANNEL.has(node.op)) continue;
    if (node.op === "linear" && values.has(node.out)) axis.produced.push(node.weight);
    const reads = node.op === "linear" && values.has(node.in);
    const attends = node.op === "attention" && edge.shared_heads === true &&
      !values.has(node.query) && !values.has(node.key);
    if (reads ? edge.to.includes(node.weight) : node.op === "linear" || attends) continue;
    throw refusal(`cannot reorder ${edge.id}: ${node.op} of ${node.out} reads or makes it`);
  }
  return axis;
}

/** An edge inside an expert lies between its gate and up and its down. */
function ofExpert(
  graph: readonly Node[],
  { from, to }: Edge,
  hyperparameters: Hyperparameters,
): Axis | undefined {
  for (const node of graph) {
    if (node.op !== "experts") continue;
    for (let e = 0; e < hyperparameters[node.count]; e++) {
      const { gate, up, down } = expertRoles(node, e);
      if (from === up && to.length === 1 && to[0] === down) {
        return { produced: [gate, up], biases: [] };
      }
    }
  }
}

const refusal = (problem: string) =>
  new LowbitError("PLUGIN", problem, {
    advice: "a transform may permute the channels of an edge that its block lists",
  });

/** Channel `order[j]` becomes channel j along an edge; what is wrong is returned. */
export function permute(
  block: BlockParameters,
  edge: Edge,
  order: Uint32Array,
): string | undefined {
  const { columns } = block.linear(edge.to[0]);
  if (
    order.length !== columns || new Set(order).size !== columns || order.some((i) => i >= columns)
  ) {
    return `needs an order of ${columns} channels for ${edge.id}`;
  }
  const rows = edge.shared_heads ? orderOfValues(block.hyperparameters, order) : order;
  if (!rows) return `must keep the channels of ${edge.id} in their head, alike in heads that share`;
  let axis: Axis;
  try {
    axis = axisOf(block.graph, edge, block.hyperparameters);
  } catch (error) {
    if (error instanceof LowbitError) return error.problem;
    throw error;
  }
  for (const name of [...axis.produced, ...axis.biases]) {
    const values = block.weight(name);
    const wide = axis.produced.includes(name) ? block.linear(name).rows : values.length;
    const own = wide === order.length ? order : rows;
    if (wide !== own.length) return `cannot reorder ${name}, which has ${wide} channels`;
    values.set(permuteRows(values, own));
  }
  for (const role of edge.to) permuteColumns(block.weight(role), order);
}

function permuteColumns(weight: Float32Array, order: Uint32Array): void {
  const row = new Float32Array(order.length);
  for (let start = 0; start < weight.length; start += row.length) {
    order.forEach((from, to) => row[to] = weight[start + from]);
    weight.set(row, start);
  }
}

/** The order of the value heads; undefined where a channel leaves its head, or sharers differ. */
export function orderOfValues(
  { heads, kv_heads, head_size }: Hyperparameters,
  order: Uint32Array,
): Uint32Array | undefined {
  const shared = heads / kv_heads;
  const result = new Uint32Array(kv_heads * head_size);
  for (const [channel, from] of order.entries()) {
    const head = Math.floor(channel / head_size), value = Math.floor(head / shared);
    if (Math.floor(from / head_size) !== head) return undefined;
    const at = value * head_size + channel % head_size;
    const source = value * head_size + from % head_size;
    if (head % shared === 0) result[at] = source;
    else if (result[at] !== source) return undefined;
  }
  return result;
}

/** Statistics of inputs whose channels have been reordered. */
export function permuteStatistics(
  statistics: InputStatistics,
  order: Uint32Array,
): InputStatistics {
  const { columns, gram } = statistics;
  const pick = <T extends Float32Array | Float64Array>(values?: T) =>
    values?.map((_, j) => values[order[j]]) as T | undefined;
  return {
    ...statistics,
    absMax: pick(statistics.absMax),
    absMean: pick(statistics.absMean),
    min: pick(statistics.min),
    max: pick(statistics.max),
    mean: pick(statistics.mean),
    meanSquare: pick(statistics.meanSquare),
    gram: gram?.map((_, i) => gram[order[Math.floor(i / columns)] * columns + order[i % columns]]),
  };
}

/** Fisher diagonals go with their weights, by role. */
export function permuteFisher(
  block: BlockParameters,
  edge: Edge,
  order: Uint32Array,
  diagonals: Map<string, Float32Array>,
): void {
  const { produced } = axisOf(block.graph, edge, block.hyperparameters);
  const rows = edge.shared_heads ? orderOfValues(block.hyperparameters, order)! : order;
  for (const role of produced) {
    const diagonal = diagonals.get(role);
    const own = block.linear(role).rows === order.length ? order : rows;
    if (diagonal) diagonals.set(role, permuteRows(diagonal, own));
  }
  for (const role of edge.to) {
    const diagonal = diagonals.get(role)?.slice();
    if (!diagonal) continue;
    permuteColumns(diagonal, order);
    diagonals.set(role, diagonal);
  }
}
