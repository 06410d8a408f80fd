/**
 * Vector tensors in the dialect "lowbit": `NAME.codes` (U8, dense rows of codes), `NAME.tables`
 * (learned tables, one row a tile) and `NAME.scales`, both in the formats that the vector format
 * names; formats of 8 bits or fewer as U8 codes.
 *
 * @module
 */

import {
  checkVector,
  LowbitError,
  type PlainType,
  type StoredTensor,
  streamBytes,
  type Tiling,
  type VectorFormat,
  type VectorShape,
  vectorShape,
  type VectorTensor,
} from "../../spec/mod.ts";
import type { SafetensorsEntry, SafetensorsWriter } from "../containers/safetensors.ts";
import { decodeScales, encodeScales, scaleStorageType } from "../containers/scales.ts";
import { rowRange } from "../containers/stored.ts";
import { vectorCodec } from "../vectors/codec.ts";
import { packCodes, unpackCodes } from "../vectors/pack.ts";
import { namingTensor, type Tools } from "./coded.ts";
import type { DirectoryTensors, TensorPart } from "./directory.ts";
import { sideParts } from "./lowbit_read.ts";

/** A part of a vector tensor beside its codes. */
interface Numbers {
  part: "tables" | "scales";
  /** The number format. */
  format: string;
  /** `[tiles, numbers]`, or the grid of scales. */
  shape: [number, number];
}

/** Tables and scales of a vector tensor, as they are stored. */
function numbersOf(format: VectorFormat, shape: VectorShape): Numbers[] {
  const numbers: Numbers[] = [];
  if (shape.tables && "entries" in format) {
    const { gridRows, gridColumns } = shape.tables;
    numbers.push({
      part: "tables",
      format: format.entries,
      shape: [gridRows, gridColumns * shape.tableSize],
    });
  }
  if (shape.scales && "scale" in format) {
    const { gridRows, gridColumns } = shape.scales;
    numbers.push({ part: "scales", format: format.scale!.format, shape: [gridRows, gridColumns] });
  }
  return numbers;
}

const storageType = (format: string): PlainType => scaleStorageType(format) ?? "float32";

/** The tensors that a vector tensor becomes. */
export function vectorEntries(
  name: string,
  format: VectorFormat,
  rows: number,
  columns: number,
): SafetensorsEntry[] {
  const shape = vectorShape(format, rows, columns);
  const { codeRows, codeColumns, codeBits } = shape;
  return [
    { name: `${name}.codes`, type: "uint8", shape: [codeRows, streamBytes(codeColumns, codeBits)] },
    ...numbersOf(format, shape).map((numbers) => ({
      name: `${name}.${numbers.part}`,
      type: storageType(numbers.format),
      shape: numbers.shape,
    })),
  ];
}

/** Writes the parts of a vector tensor. */
export async function writeVector(
  writer: SafetensorsWriter,
  name: string,
  tensor: VectorTensor,
): Promise<void> {
  const shape = checkVector(tensor);
  const { codeRows, codeColumns, codeBits } = shape;
  await writer.write(`${name}.codes`, packCodes(tensor.codes, codeRows, codeColumns, codeBits));
  for (const { part, format } of numbersOf(tensor.format, shape)) {
    await writer.write(`${name}.${part}`, encodeScales(format, tensor[part]!));
  }
}

/** A vector tensor of the dialect. Takes its parts from `directory`; see `lowbitTensor`. */
export function lowbitVector(
  directory: DirectoryTensors,
  name: string,
  { format, shape: [rows, columns] }: { format: VectorFormat; shape: [number, number] },
  tools: Tools,
): StoredTensor {
  const whole = vectorShape(format, rows, columns);
  const { codeRows, codeColumns, codeBits, unitRows } = whole;
  const stride = streamBytes(codeColumns, codeBits);
  const codes = directory.part(`${name}.codes`, ["uint8"], [codeRows, stride]);
  const numbers = numbersOf(format, whole).map((n) => ({
    ...n,
    stored: directory.part(`${name}.${n.part}`, [storageType(n.format)], n.shape),
    tiles: whole[n.part]!,
  }));
  const sides = sideParts(directory, name, rows, columns);
  const parts: TensorPart[] = [
    codes,
    ...numbers.map((n) => n.stored),
    ...sides.flatMap((s) => s.parts),
  ];

  const load = async (start: number, end: number): Promise<VectorTensor> => {
    const [first, last] = [start / unitRows, end / unitRows];
    const bytes = await codes.read(first, last);
    const tensor: VectorTensor = {
      kind: "vector",
      shape: [end - start, columns],
      format,
      codes: unpackCodes(bytes, last - first, codeColumns, codeBits),
    };
    for (const { part, format, stored, tiles } of numbers) {
      const [from, to] = tileRows(tiles, start, end);
      tensor[part] = decodeScales(format, await stored.read(from, to));
    }
    if (sides.length > 0) tensor.side = await Promise.all(sides.map((s) => s.load(start, end)));
    return tensor;
  };

  const file = codes.place.source.name;
  const inside = <T>(work: () => Promise<T>): Promise<T> => namingTensor(file, name, work);
  const refuse = (problem: string, advice: string) => () =>
    inside(() => Promise.reject(new LowbitError("FORMAT", problem, { advice })));
  return {
    name,
    shape: [rows, columns],
    storage: { kind: "vector", format },
    bytes: parts.reduce((sum, part) => sum + part.bytes, 0),
    read: (range) =>
      inside(async () => {
        const { start, end } = rowRange(name, [rows, columns], range);
        if (start === end) return new Float32Array(0);
        const [first, last] = wholeTiles(whole, start, end);
        const codec = tools.codecs?.vector(format) ?? vectorCodec(format);
        const values = codec.decode(await load(first, last));
        return first === start && last === end
          ? values
          : values.slice((start - first) * columns, (end - first) * columns);
      }),
    raw: refuse("its codes, tables and scales are tensors of their own", "use vector()"),
    quantized: refuse("is in a vector format, not a scheme", "use vector()"),
    vector: () => inside(() => load(0, rows)),
  };
}

/** The rows of tiles that hold some rows of the matrix. */
function tileRows({ gridRows, tileRows }: Tiling, start: number, end: number): [number, number] {
  return gridRows === 1 ? [0, 1] : [Math.floor(start / tileRows), Math.ceil(end / tileRows)];
}

/** The smallest range of rows around `start` to `end` that cuts no unit and no tile. */
function wholeTiles(shape: VectorShape, start: number, end: number): [number, number] {
  const { rows, unitRows, tables, scales } = shape;
  const steps = [tables, scales].map((t) => t && t.gridRows > 1 ? t.tileRows : 1);
  const step = steps.reduce(leastMultiple, unitRows);
  return [start - start % step, Math.min(rows, Math.ceil(end / step) * step)];
}

function leastMultiple(a: number, b: number): number {
  let multiple = a;
  while (multiple % b !== 0) multiple += a;
  return multiple;
}
