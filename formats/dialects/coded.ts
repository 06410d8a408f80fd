/**
 * Coded tensors of a checkpoint, read lazily: what every packed dialect shares.
 *
 * @module
 */

import {
  type Codecs,
  type Kernels,
  type Layout,
  LowbitError,
  type QuantizedTensor,
  type ResolvedScheme,
  type StoredTensor,
  tiling,
} from "../../spec/mod.ts";
import { elementCount, rowRange } from "../containers/stored.ts";
import { addSide } from "../codec.ts";
import { decodeMatrix } from "../reference.ts";

/** What readers may use to unpack and decode; without them they fall back to plain TypeScript. */
export interface Tools {
  /** Unpacks. */
  kernels?: Kernels;
  /** Decodes. */
  codecs?: Codecs;
}

/** Where a coded tensor lies, and how to load a part of it. */
export interface CodedPlace {
  /** Its name. */
  name: string;
  /** Its shape; dimensions before the last are the rows of the matrix. */
  shape: readonly number[];
  /** Its scheme. */
  scheme: ResolvedScheme;
  /** Its layout. */
  layout: Layout;
  /** Its bytes, parameters included. */
  bytes: number;
  /** The file, for errors. */
  file: string;
  /**
   * Codes and parameters of matrix rows `start` to `end`; `start` is the first row of a tile,
   * unless one tile holds the whole matrix.
   */
  load(start: number, end: number): Promise<QuantizedTensor>;
  /** Whether rows mean nothing alone, since a rotation mixes them. */
  whole?: boolean;
  /** The stored bytes, for layouts that hold the parameters in their blocks. */
  raw?(): Promise<Uint8Array>;
}

/** The values of a quantised tensor, side tensors included. */
export function dequantize(tensor: QuantizedTensor, tools: Tools): Float32Array {
  if (tools.codecs) return tools.codecs.get(tensor.scheme).dequantize(tensor);
  const { shape: [rows, columns], scheme, codes, parameters } = tensor;
  const tiles = tiling(scheme.granularity, rows, columns);
  const values = decodeMatrix(scheme, codes, tiles, parameters);
  for (const side of tensor.side ?? []) addSide(values, columns, side);
  return values;
}

/** Does some work on a tensor; its errors name the file and the tensor. */
export function namingTensor<T>(file: string, name: string, work: () => Promise<T>): Promise<T> {
  return work().catch((error) => {
    if (!(error instanceof LowbitError) || error.field === name) throw error;
    const { code, problem, advice, cause } = error;
    throw new LowbitError(code, problem, { file: error.file ?? file, field: name, advice, cause });
  });
}

/** A coded tensor. `read` of some rows reads only the bytes of their tiles. */
export function codedTensor(place: CodedPlace, tools: Tools): StoredTensor {
  const { name, shape, scheme, layout, file } = place;
  const columns = shape[shape.length - 1] ?? 1;
  const matrixRows = columns === 0 ? 0 : elementCount(shape) / columns;
  const rowsOfFirst = elementCount(shape.slice(1)) / Math.max(1, columns);
  const inside = <T>(work: () => Promise<T>): Promise<T> => namingTensor(file, name, work);
  return {
    name,
    shape,
    storage: { kind: "coded", scheme, layout },
    bytes: place.bytes,
    read: (rows) =>
      inside(async () => {
        const range = rowRange(name, shape, rows);
        if (shape.length < 2) {
          return dequantize(await place.load(0, 1), tools).slice(range.start, range.end);
        }
        const [start, end] = [range.start * rowsOfFirst, range.end * rowsOfFirst];
        if (start === end) return new Float32Array(0);
        const tileRows = scheme.granularity.kind === "block" ? scheme.granularity.rows : 1;
        const first = place.whole ? 0 : start - start % tileRows;
        const last = place.whole ? matrixRows : end;
        const values = dequantize(await place.load(first, last), tools);
        if (first === start && last === end) return values;
        return values.slice((start - first) * columns, (end - first) * columns);
      }),
    raw: () =>
      inside(async () => {
        if (place.raw) return await place.raw();
        throw new LowbitError("FORMAT", "its parameters are tensors of their own", {
          file,
          field: name,
          advice: "use quantized()",
        });
      }),
    quantized: (rows) =>
      inside(async () => {
        if (!rows) return await place.load(0, matrixRows);
        const { start, end } = rowRange(name, [matrixRows], rows);
        const { granularity } = scheme;
        const tileRows = granularity.kind === "block" ? granularity.rows : 1;
        if (start % tileRows !== 0) {
          throw new LowbitError("SHAPE", `row ${start} is not the first of a tile`, {
            advice: `begin at a multiple of ${tileRows}`,
          });
        }
        return await place.load(start, end);
      }),
  };
}
