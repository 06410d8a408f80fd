/**
 * Rotations around coded weights in the dialect "lowbit". `NAME.rotation.rows.*` and
 * `NAME.rotation.columns.*` have `signs` (I8, a Hadamard matrix of this many channels), `matrix`
 * (F32), or `outer`, `inner` (F32) and `order` (U16 or U32) of a Kronecker product, or `order` alone
 * of a permutation;
 * `NAME.rotation.factors` (F32) has the factors of columns.
 *
 * @module
 */

import {
  checkRotation,
  LowbitError,
  PLAIN_BYTES,
  type PlainType,
  type Rotation,
  type RotationPart,
} from "../../spec/mod.ts";
import {
  decodePlain,
  decodeUint32,
  encodePlain,
  encodeUint16,
  encodeUint32,
} from "../containers/plain.ts";
import type { SafetensorsEntry } from "../containers/safetensors.ts";
import type { DirectoryTensors, TensorPart } from "./directory.ts";

/** How far a stored rotation may be from an orthogonal matrix: its entries are f32. */
const TOLERANCE = 1e-5;

/** A stored array of a rotation. */
export interface StoredArray {
  /** Its name, type and shape. */
  entry: SafetensorsEntry;
  /** Its bytes. */
  data: Uint8Array;
}

/** The arrays that a rotation part is stored as. Error: `FORMAT` where there are no signs. */
export function rotationArrays(name: string, part: RotationPart): StoredArray[] {
  const arrays: StoredArray[] = [];
  const put = (suffix: string, type: PlainType, shape: number[], data: Uint8Array) =>
    arrays.push({ entry: { name: `${name}.rotation.${suffix}`, type, shape }, data });
  const floats = (suffix: string, values: Float64Array | Float32Array, shape: number[]) =>
    put(suffix, "float32", shape, encodePlain("float32", Float32Array.from(values)));
  for (const side of ["rows", "columns"] as const) {
    const rotation = part[side];
    if (!rotation) continue;
    const { size } = rotation;
    if (rotation.kind === "hadamard") {
      const signs = rotation.signs ?? new Int8Array(size).fill(1);
      put(`${side}.signs`, "int8", [size], new Uint8Array(signs.slice().buffer));
    } else if (rotation.kind === "matrix") {
      floats(`${side}.matrix`, rotation.values, [size, size]);
    } else {
      const square = ({ length }: Float64Array) => {
        const n = Math.round(Math.sqrt(length));
        return [n, n];
      };
      if (rotation.kind === "kronecker") {
        floats(`${side}.outer`, rotation.outer, square(rotation.outer));
        floats(`${side}.inner`, rotation.inner, square(rotation.inner));
      }
      const short = size <= 65536;
      const data = (short ? encodeUint16 : encodeUint32)(rotation.order);
      put(`${side}.order`, short ? "uint16" : "uint32", [size], data);
    }
  }
  if (part.factors) floats("factors", part.factors, [part.factors.length]);
  return arrays;
}

/** Entries that are no shorter than those of any rotation of a matrix. */
export function largestRotation(name: string): SafetensorsEntry[] {
  const large = 2 ** 40;
  return ["rows", "columns"].flatMap((side) =>
    ["outer", "inner", "order"].map((array): SafetensorsEntry => ({
      name: `${name}.rotation.${side}.${array}`,
      type: "float32",
      shape: [large, large],
    }))
  ).concat({ name: `${name}.rotation.factors`, type: "float32", shape: [large] });
}

/** Bytes of a rotation part, as it is stored. */
export function rotationBytes(part: RotationPart): number {
  return rotationArrays("", part).reduce(
    (sum, { entry }) => sum + PLAIN_BYTES[entry.type] * entry.shape.reduce((a, b) => a * b, 1),
    0,
  );
}

/** The rotation of a tensor, if it is stored; its parts, and how to load it. */
export function rotationParts(
  directory: DirectoryTensors,
  name: string,
  rows: number,
  columns: number,
): { parts: TensorPart[]; rows: boolean; load(): Promise<RotationPart> } | undefined {
  const parts: TensorPart[] = [];
  const take = (suffix: string, types: PlainType[], shape?: number[]) => {
    const full = `${name}.rotation.${suffix}`;
    if (!directory.has(full)) return undefined;
    const part = directory.part(full, types, shape);
    parts.push(part);
    return part;
  };
  const sides = (["rows", "columns"] as const).map((side) => ({
    side,
    channels: side === "rows" ? rows : columns,
    signs: take(`${side}.signs`, ["int8"]),
    matrix: take(`${side}.matrix`, ["float32"]),
    outer: take(`${side}.outer`, ["float32"]),
    inner: take(`${side}.inner`, ["float32"]),
    order: take(`${side}.order`, ["uint16", "uint32"]),
  }));
  const factors = take("factors", ["float32"], [columns]);
  if (parts.length === 0) return undefined;
  const exact = async (part: TensorPart) =>
    Float64Array.from(decodePlain("float32", await part.read()));
  return {
    parts,
    rows: [sides[0].signs, sides[0].matrix, sides[0].order].some((part) => part !== undefined),
    async load() {
      const found: RotationPart = { kind: "rotation" };
      for (const { side, channels, signs, matrix, outer, inner, order } of sides) {
        let rotation: Rotation | undefined;
        if (signs) {
          const values = Int8Array.from(decodePlain("int8", await signs.read()));
          rotation = { kind: "hadamard", size: values.length, signs: values };
        } else if (matrix) {
          rotation = { kind: "matrix", size: matrix.place.shape[0], values: await exact(matrix) };
        } else if (order && !outer === !inner) {
          const bytes = await order.read();
          const channels = {
            size: order.place.shape[0],
            order: order.place.type === "uint16"
              ? Uint32Array.from(decodePlain("uint16", bytes))
              : decodeUint32(bytes),
          };
          rotation = outer && inner
            ? {
              kind: "kronecker",
              outer: await exact(outer),
              inner: await exact(inner),
              ...channels,
            }
            : { kind: "permutation", ...channels };
        }
        if (!rotation) continue;
        try {
          checkRotation(rotation, channels, TOLERANCE);
        } catch (error) {
          if (!(error instanceof LowbitError)) throw error;
          throw new LowbitError("MALFORMED", error.problem, {
            file: parts[0].place.source.name,
            field: `${name}.rotation.${side}`,
          });
        }
        found[side] = rotation;
      }
      if (factors) found.factors = decodePlain("float32", await factors.read());
      return found;
    },
  };
}
