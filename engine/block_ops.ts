/**
 * Operations on the parameters of a block: what each does along an edge.
 *
 * @module
 */

import {
  checkRotation,
  type Edge,
  LowbitError,
  rotate,
  type Rotation,
  type TransformOp,
} from "../spec/mod.ts";
import { biasName } from "../models/online.ts";
import { nodeWith, valuesBetween } from "../models/values.ts";
import type { BlockParameters } from "./block_parameters.ts";
import { permute } from "./permute.ts";

/** Applies an operation; what is wrong with it is returned. */
export function applyOp(block: BlockParameters, edge: Edge, op: TransformOp): string | undefined {
  switch (op.op) {
    case "scale":
      return scale(block, edge, op.factors);
    case "shift":
      return shift(block, edge, op.offsets);
    case "rotate":
      return rotateHeads(block, edge, op.rotation);
    case "permute":
      return permute(block, edge, op.order);
  }
}

function scale(block: BlockParameters, edge: Edge, factors: Float32Array): string | undefined {
  const { columns } = block.linear(edge.to[0]);
  if (factors.length !== columns || !factors.every((f) => f > 0 && Number.isFinite(f))) {
    return `needs ${columns} finite positive factors for ${edge.id}`;
  }
  const produced = edge.shared_heads ? sharedFactors(block, factors) : factors;
  if (!produced) return `gives heads that share values different factors (${edge.id})`;
  divideRows(block.weight(edge.from), produced);
  for (const name of biasesBetween(block, edge)) {
    const bias = block.weight(name);
    divideRows(bias, bias.length === factors.length ? factors : produced);
  }
  for (const role of edge.to) {
    const weight = block.weight(role);
    for (let i = 0; i < weight.length; i++) weight[i] = weight[i] * factors[i % columns];
  }
}

/** Divides each row, or each element of a vector, by its factor. */
function divideRows(values: Float32Array, factors: Float32Array): void {
  const width = values.length / factors.length;
  for (let i = 0; i < values.length; i++) {
    values[i] = values[i] / factors[Math.floor(i / width)];
  }
}

/** The parameters that are added to the values of an edge. */
function biasesBetween(block: BlockParameters, edge: Edge): string[] {
  return valuesBetween(block.graph, edge).map(biasName).filter((name) => block.has(name));
}

/** The factors of the value heads; undefined if query heads that share one differ. */
export function sharedFactors(
  block: BlockParameters,
  factors: Float32Array,
): Float32Array | undefined {
  const { heads, kv_heads, head_size } = block.hyperparameters;
  const shared = heads / kv_heads;
  const result = new Float32Array(kv_heads * head_size);
  for (const [channel, factor] of factors.entries()) {
    const head = Math.floor(channel / head_size);
    const at = Math.floor(head / shared) * head_size + channel % head_size;
    if (head % shared === 0) result[at] = factor;
    else if (result[at] !== factor) return undefined;
  }
  return result;
}

/** `x' = x - z`, `W x = W x' + W z`; products in f64. */
function shift(block: BlockParameters, edge: Edge, offsets: Float32Array): string | undefined {
  const { columns, input } = block.linear(edge.to[0]);
  if (offsets.length !== columns || !offsets.every(Number.isFinite)) {
    return `needs ${columns} finite offsets for ${edge.id}`;
  }
  const outputs = edge.to.map((role) => nodeWith(block.graph, role)!.out);
  const missing = [input, ...outputs].find((value) => !block.has(biasName(value)));
  if (missing) return `adds to ${missing}, which has no bias; declare it in transformModel`;
  const before = block.weight(biasName(input));
  offsets.forEach((offset, j) => before[j] -= offset);
  for (const [i, role] of edge.to.entries()) {
    const [weight, bias] = [block.weight(role), block.weight(biasName(outputs[i]))];
    for (let row = 0; row < bias.length; row++) {
      let sum = 0;
      for (let j = 0; j < columns; j++) sum += weight[row * columns + j] * offsets[j];
      bias[row] += sum;
    }
  }
}

/** Rotates every head of the producer's outputs and of the consumers' inputs, in f64. */
function rotateHeads(block: BlockParameters, edge: Edge, rotation: Rotation): string | undefined {
  if (!edge.shared_heads) return `cannot rotate along ${edge.id}: it mixes no channels of heads`;
  try {
    checkRotation(rotation, block.hyperparameters.head_size);
  } catch (error) {
    if (error instanceof LowbitError) return `: rotation ${error.problem}`;
    throw error;
  }
  for (const role of edge.to) {
    const weight = block.weight(role);
    weight.set(rotate(Float64Array.from(weight), rotation));
  }
  const producer = block.weight(edge.from);
  const { rows, columns } = block.linear(edge.from);
  const column = new Float64Array(rows);
  for (let j = 0; j < columns; j++) {
    for (let i = 0; i < rows; i++) column[i] = producer[i * columns + j];
    rotate(column, rotation);
    for (let i = 0; i < rows; i++) producer[i * columns + j] = column[i];
  }
  for (const name of biasesBetween(block, edge)) {
    const bias = block.weight(name);
    bias.set(rotate(Float64Array.from(bias), rotation));
  }
}
