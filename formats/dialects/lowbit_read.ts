/**
 * Reading the dialect "lowbit": coded tensors from the parts that hold them.
 *
 * @module
 */

import {
  type GridParameters,
  LowbitError,
  type PlainType,
  type QuantizedTensor,
  type SideTensor,
  type StoredTensor,
  streamBytes,
  tiling,
} from "../../spec/mod.ts";
import { decodePlain, decodeUint32 } from "../containers/plain.ts";
import { decodeScales, scaleBytes, scaleStorageType } from "../containers/scales.ts";
import { layout as layoutOf } from "../lookup.ts";
import { unpackMatrix } from "../pack.ts";
import { codedTensor, type Tools } from "./coded.ts";
import type { DirectoryTensors, TensorPart } from "./directory.ts";
import type { LowbitEntry } from "./lowbit_metadata.ts";

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
  const { gridRows, gridColumns, tileRows } = tiling(scheme.granularity, rows, columns);
  const stride = streamBytes(columns, bits, layout.row_align);
  const codes = directory.part(`${name}.codes`, ["uint8"], [rows, stride]);
  const gridType = scaleType(scheme.scale.format, name);
  const scales = scheme.scale.rule === "none"
    ? undefined
    : directory.part(`${name}.scales`, [gridType], [gridRows, gridColumns]);
  const zeros = scheme.zero_point && directory.part(
    `${name}.zeros`,
    [scheme.zero_point.kind === "int" ? "uint8" : gridType],
    [gridRows, scheme.zero_point.kind === "int" ? streamBytes(gridColumns, bits) : gridColumns],
  );
  const sides = sideParts(directory, name, rows, columns);
  const parts = [codes, scales, zeros, ...sides.flatMap((side) => side.parts)];
  const file = codes.place.source.name;

  const parameters = async (start: number, end: number): Promise<GridParameters> => {
    const whole = scheme.granularity.kind === "tensor";
    const first = whole ? 0 : Math.floor(start / tileRows);
    const last = whole ? gridRows : Math.ceil(end / tileRows);
    const count = (last - first) * gridColumns;
    const stored = scales && decodeScales(scheme.scale.format, await scales.read(first, last));
    const result: GridParameters = { scales: stored ?? new Float32Array(count).fill(1) };
    if (!zeros) return result;
    const bytes = await zeros.read(first, last);
    if (scheme.zero_point!.kind === "minimum") {
      result.zeros = decodeScales(scheme.scale.format, bytes);
    } else {
      const size = { rows: last - first, columns: gridColumns, bits };
      result.zeros = Float32Array.from(unpackMatrix(tools.kernels, bytes, size, layout).codes);
    }
    return result;
  };

  return codedTensor({
    name,
    shape: [rows, columns],
    scheme,
    layout,
    bytes: parts.reduce((sum, part) => sum + (part?.bytes ?? 0), 0),
    file,
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

function scaleType(format: string, name: string): PlainType {
  const type = scaleStorageType(format);
  if (type) return type;
  scaleBytes(format);
  throw new LowbitError("FORMAT", `scales of ${format} cannot be read`, { field: name });
}

/** A side tensor: its parts, and how to load its share of some rows. */
export interface SideParts {
  /** Its parts. */
  parts: TensorPart[];
  /** Where it begins, for the order. */
  at: number;
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
  return found.sort((a, b) => a.at - b.at);
}

function sparseParts(
  directory: DirectoryTensors,
  name: string,
  rows: number,
  columns: number,
): SideParts {
  const values = directory.part(`${name}.sparse.values`, ["float32"]);
  const count = values.place.shape;
  if (count.length !== 1) {
    throw new LowbitError("MALFORMED", `has the shape [${count}], expected one dimension`, {
      file: values.place.source.name,
      field: `${name}.sparse.values`,
    });
  }
  const rowIndices = directory.part(`${name}.sparse.rows`, ["uint32"], count);
  const columnIndices = directory.part(`${name}.sparse.columns`, ["uint32"], count);
  return {
    parts: [rowIndices, columnIndices, values],
    at: rowIndices.place.offset,
    async load(start, end) {
      const r = decodeUint32(await rowIndices.read());
      const c = decodeUint32(await columnIndices.read());
      const v = decodePlain("float32", await values.read());
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
