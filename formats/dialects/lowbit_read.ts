/**
 * Reading the dialect "lowbit": coded tensors from the parts that hold them.
 *
 * @module
 */

import {
  type GridParameters,
  LowbitError,
  type QuantizedTensor,
  type SideTensor,
  type StoredTensor,
  streamBytes,
  tiling,
} from "../../spec/mod.ts";
import { decodePlain, decodeUint32 } from "../containers/plain.ts";
import { decodeScales } from "../containers/scales.ts";
import { layout as layoutOf } from "../lookup.ts";
import { unpackMatrix } from "../pack.ts";
import { parameterParts, parametersFrom } from "../parameter_parts.ts";
import { codedTensor, type Tools } from "./coded.ts";
import type { DirectoryTensors, TensorPart } from "./directory.ts";
import type { LowbitEntry } from "./lowbit_metadata.ts";
import { rotationParts } from "./lowbit_rotation.ts";
import { packsZeros, PART_NAMES, storedPart } from "./lowbit_parts.ts";

/**
 * A coded tensor of the dialect. Takes its parts from `directory`.
 *
 * Errors: `NOT_FOUND` and `MALFORMED`, naming the part.
 */
export function lowbitTensor(
  directory: DirectoryTensors,
  name: string,
  entry: LowbitEntry,
  tools: Tools,
): StoredTensor {
  const { scheme, shape: [rows, columns] } = entry;
  const { bits } = scheme.element;
  const layout = layoutOf(entry.layout);
  const tiles = tiling(scheme.granularity, rows, columns);
  const stride = streamBytes(columns, bits);
  const codes = directory.part(`${name}.codes`, ["uint8"], [rows, stride]);
  const stored = parameterParts(scheme, tiles).map((part) => {
    const { type, shape } = storedPart(scheme, part);
    const tensor = directory.part(`${name}.${PART_NAMES[part.name]}`, [type], shape);
    return { part, tensor };
  });
  const sides = sideParts(directory, name, rows, columns);
  const parts = [codes, ...stored.map(({ tensor }) => tensor), ...sides.flatMap((s) => s.parts)];
  const file = codes.place.source.name;

  /** The values of a part, from row `first` to `last` of its shape. */
  const valuesOf = async (
    { part, tensor }: (typeof stored)[number],
    [first, last]: [number, number],
  ): Promise<Float32Array> => {
    const bytes = await tensor.read(first, last);
    if (!packsZeros(scheme, part)) return decodeScales(part.format, bytes);
    const size = { rows: last - first, columns: part.shape[1], bits };
    return Float32Array.from(unpackMatrix(tools.kernels, bytes, size, layout).codes);
  };
  const parameters = async (start: number, end: number): Promise<GridParameters> => {
    const whole = scheme.granularity.kind === "tensor";
    const first = whole ? 0 : Math.floor(start / tiles.tileRows);
    const last = whole ? tiles.gridRows : Math.ceil(end / tiles.tileRows);
    // Rows of tiles can be read alone where every part has a row for each, or one value for all.
    const { gridRows } = tiles;
    const sliced = (shape: [number, number]) => shape[0] === gridRows && gridRows > 1;
    const apart = stored.every(({ part: { shape } }) =>
      sliced(shape) || shape[0] * shape[1] === 1 || scheme.granularity.kind === "element"
    );
    const values = new Map<string, Float32Array>();
    for (const entry of stored) {
      const { shape } = entry.part;
      const rows: [number, number] = apart && sliced(shape) ? [first, last] : [0, shape[0]];
      values.set(entry.part.name, await valuesOf(entry, rows));
    }
    const count = (last - first) * tiles.gridColumns;
    if (apart || count === gridRows * tiles.gridColumns) {
      const part = { ...tiles, gridRows: last - first };
      return parametersFrom(scheme, part, values);
    }
    const all = parametersFrom(scheme, tiles, values);
    const from = first * tiles.gridColumns;
    const cut = (grid: Float32Array) => grid.slice(from, from + count);
    return { scales: cut(all.scales), ...(all.zeros && { zeros: cut(all.zeros) }) };
  };

  return codedTensor({
    name,
    shape: [rows, columns],
    scheme,
    layout,
    bytes: parts.reduce((sum, part) => sum + part.bytes, 0),
    file,
    whole: sides.some((side) => side.whole),
    load: async (start, end): Promise<QuantizedTensor> => {
      const size = { rows: end - start, columns, bits };
      const packed = await codes.read(start, end);
      const tensor: QuantizedTensor = {
        shape: [end - start, columns],
        scheme,
        codes: unpackMatrix(tools.kernels, packed, size, layout).codes,
        parameters: await parameters(start, end),
      };
      if (sides.length > 0) tensor.side = [];
      for (const side of sides) tensor.side!.push(await side.load(start, end));
      return tensor;
    },
  }, tools);
}

/** A side tensor: its parts, and how to load its share of some rows. */
export interface SideParts {
  /** Its parts. */
  parts: TensorPart[];
  /** Where it begins, for the order. */
  at: number;
  /** Whether it mixes rows, so that no rows can be loaded alone. */
  whole?: boolean;
  /** Its share of some rows. */
  load(start: number, end: number): Promise<SideTensor>;
}

/** The side tensors of a coded tensor, in the order in which they were written. */
export function sideParts(
  directory: DirectoryTensors,
  name: string,
  rows: number,
  columns: number,
): SideParts[] {
  const found: SideParts[] = [];
  if (directory.has(`${name}.sparse.values`)) {
    found.push(sparseParts(directory, name, rows, columns));
  }
  if (directory.has(`${name}.low_rank.left`)) {
    const rank = directory.place(`${name}.low_rank.left`)!.shape[1] ?? 0;
    const left = directory.part(`${name}.low_rank.left`, ["float32"], [rows, rank]);
    const right = directory.part(`${name}.low_rank.right`, ["float32"], [rank, columns]);
    found.push({
      parts: [left, right],
      at: left.place.offset,
      load: async (start, end) => ({
        kind: "low_rank",
        rank,
        left: decodePlain("float32", await left.read(start, end)),
        right: decodePlain("float32", await right.read()),
      }),
    });
  }
  const rotation = rotationParts(directory, name, rows, columns);
  if (rotation) {
    const at = rotation.parts[0].place.offset;
    found.push({ parts: rotation.parts, at, whole: rotation.rows, load: () => rotation.load() });
  }
  return found.sort((a, b) => a.at - b.at);
}

function sparseParts(
  directory: DirectoryTensors,
  name: string,
  rows: number,
  columns: number,
): SideParts {
  const values = directory.part(`${name}.sparse.values`, ["float32", "float16"]);
  const count = values.place.shape;
  if (count.length !== 1) {
    throw new LowbitError("MALFORMED", `has the shape [${count}], expected one dimension`, {
      file: values.place.source.name,
      field: `${name}.sparse.values`,
    });
  }
  const rowIndices = directory.part(`${name}.sparse.rows`, ["uint16", "uint32"], count);
  const columnIndices = directory.part(`${name}.sparse.columns`, ["uint16", "uint32"], count);
  return {
    parts: [rowIndices, columnIndices, values],
    at: rowIndices.place.offset,
    async load(start, end) {
      const [r, c] = await Promise.all([rowIndices, columnIndices].map(indicesOf));
      const v = decodePlain(values.place.type, await values.read());
      if (r.some((row) => row >= rows) || c.some((column) => column >= columns)) {
        throw new LowbitError("MALFORMED", `has entries outside its ${rows} x ${columns} matrix`, {
          file: values.place.source.name,
          field: `${name}.sparse`,
        });
      }
      const inside = [...r.keys()].filter((i) => r[i] >= start && r[i] < end);
      return {
        kind: "sparse",
        rows: Uint32Array.from(inside, (i) => r[i] - start),
        columns: Uint32Array.from(inside, (i) => c[i]),
        values: Float32Array.from(inside, (i) => v[i]),
      };
    },
  };
}

/** Indices of 16 or 32 bits. */
async function indicesOf(part: TensorPart): Promise<Uint32Array> {
  const bytes = await part.read();
  return part.place.type === "uint16"
    ? Uint32Array.from(decodePlain("uint16", bytes))
    : decodeUint32(bytes);
}
