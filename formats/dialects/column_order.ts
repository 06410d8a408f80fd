/**
 * Activation order: `g_idx` names the group of every column, so that a group is no run of columns.
 * Codes are then read with their columns in the order of the groups, and a permutation undoes it.
 *
 * @module
 */

import { LowbitError, type QuantizedTensor, sideKind } from "../../spec/mod.ts";
import { decodePlain } from "../containers/plain.ts";
import type { TensorPart } from "./directory.ts";

/** The group of every column; undefined if groups are runs of columns. Error: `MALFORMED`. */
export async function groupIndex(
  index: TensorPart,
  group: number,
  groups: number,
): Promise<Float32Array | undefined> {
  const indices = decodePlain(index.place.type, await index.read());
  if (indices.every((g, column) => g === Math.floor(column / group))) return undefined;
  if (indices.every((g) => g >= 0 && g < groups)) return indices;
  throw new LowbitError("MALFORMED", `names a group beyond its ${groups}`, {
    file: index.place.source.name,
    field: index.place.name,
  });
}

/** The columns, group after group; undefined if groups are not of the size that they should be. */
export function groupOrder(indices: Float32Array, group: number): Uint32Array | undefined {
  const order = Uint32Array.from(indices.keys()).sort((a, b) => indices[a] - indices[b] || a - b);
  return order.every((column, i) => indices[column] === Math.floor(i / group)) ? order : undefined;
}

/** Codes with their columns in the order of the groups, and the permutation that undoes it. */
export function inGroups(tensor: QuantizedTensor, order: Uint32Array): QuantizedTensor {
  const columns = order.length;
  const codes = new Uint8Array(tensor.codes.length);
  for (let row = 0; row < codes.length; row += columns) {
    for (let i = 0; i < columns; i++) codes[row + i] = tensor.codes[row + order[i]];
  }
  const rotation = { kind: "permutation" as const, size: columns, order };
  return { ...tensor, codes, side: [{ kind: "rotation", columns: rotation }] };
}

/** The codes of a tensor with its columns where they are in the weight, and the place of each. */
export function inColumns(
  { codes, side, shape: [, columns] }: QuantizedTensor,
): { codes: Uint8Array; places: Uint32Array } {
  const [part] = side ?? [];
  if (part?.kind !== "rotation" || sideKind(part) !== "order") {
    return { codes, places: Uint32Array.from({ length: columns }, (_, column) => column) };
  }
  const { order } = part.columns as { order: Uint32Array };
  const places = new Uint32Array(columns);
  order.forEach((column, i) => places[column] = i);
  const back = new Uint8Array(codes.length);
  for (let row = 0; row < codes.length; row += columns) {
    for (let i = 0; i < columns; i++) back[row + order[i]] = codes[row + i];
  }
  return { codes: back, places };
}
