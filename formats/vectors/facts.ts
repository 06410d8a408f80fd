/**
 * Facts about vector formats, derived from their parameters and never stored.
 *
 * @module
 */

import { type VectorFormat, vectorShape, vectorUnit } from "../../spec/mod.ts";
import { scaleBytes } from "../containers/scales.ts";
import { type Distribution, INVERSE } from "../facts.ts";
import { vectorCodec } from "./codec.ts";
import { fixedRandom } from "./random.ts";

/** The sizes of a vector format. */
export interface VectorSizes {
  /** Elements that a group of codes stands for. */
  elements: number;
  /** Bits of the codes alone, an element. */
  code_bits: number;
  /** Bits a weight of a 4096 x 4096 matrix: codes, tables and scales. */
  bits_per_weight: number;
}

/** What can be said of a vector format. */
export interface VectorFacts extends VectorSizes {
  /** Signal to quantisation noise in dB, of about 64 x 256 elements; absent where that takes too long. */
  sqnr_db?: Record<Distribution, number>;
}

/**
 * Bits of codes, tables and scales of a matrix, without padding.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { vectorFormat } from "../lookup.ts";
 * import { vectorBits } from "./facts.ts";
 * // 4 bits an element, and 16 entries of float16 for each of 2 rows
 * assertEquals(vectorBits(vectorFormat("lut4_channel"), 2, 64), 2 * 64 * 4 + 2 * 16 * 16);
 * ```
 */
export function vectorBits(format: VectorFormat, rows: number, columns: number): number {
  const shape = vectorShape(format, rows, columns);
  const { codeRows, codeColumns, codeBits, tables, tableSize, scales } = shape;
  let bits = codeRows * codeColumns * codeBits;
  if (tables && "entries" in format) {
    bits += tables.gridRows * tables.gridColumns * tableSize * 8 * scaleBytes(format.entries);
  }
  if (scales && "scale" in format) {
    bits += scales.gridRows * scales.gridColumns * 8 * scaleBytes(format.scale!.format);
  }
  return bits;
}

/** The matrix that formats are tried on. */
const [ROWS, COLUMNS] = [64, 256];

/**
 * Derives the facts of a vector format.
 *
 * @example
 * ```ts
 * import { assert, assertEquals } from "@std/assert";
 * import { vectorFormat } from "../lookup.ts";
 * import { vectorFacts } from "./facts.ts";
 * const { elements, code_bits, sqnr_db } = vectorFacts(vectorFormat("e8p"));
 * assertEquals([elements, code_bits], [8, 2]);
 * assert(sqnr_db!.gaussian > 10); // 2 bits for each element alone give at most 9.3
 * ```
 */
export function vectorFacts(format: VectorFormat): VectorFacts {
  return {
    ...vectorSizes(format),
    ...(isQuick(format) && {
      sqnr_db: {
        gaussian: signalToNoise(format, "gaussian"),
        laplace: signalToNoise(format, "laplace"),
        student_t: signalToNoise(format, "student_t"),
      },
    }),
  };
}

/**
 * The sizes of a vector format.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { vectorFormat } from "../lookup.ts";
 * import { vectorSizes } from "./facts.ts";
 * const { code_bits, bits_per_weight } = vectorSizes(vectorFormat("vq_d4_k256"));
 * assertEquals([code_bits, bits_per_weight], [2, 2.001]); // 1024 numbers of 16 bits more
 * ```
 */
export function vectorSizes(format: VectorFormat): VectorSizes {
  const { unitRows, unitColumns, unitCodes, codeBits } = vectorUnit(format);
  const elements = unitRows * unitColumns;
  const [rows, columns] = wholeUnits(format, 4096, 4096);
  return {
    elements,
    code_bits: unitCodes * codeBits / elements,
    bits_per_weight: Number((vectorBits(format, rows, columns) / (rows * columns)).toFixed(4)),
  };
}

/** The size of a matrix, rounded up to whole units. */
function wholeUnits(format: VectorFormat, rows: number, columns: number): [number, number] {
  const { unitRows, unitColumns } = vectorUnit(format);
  const up = (size: number, unit: number) => Math.ceil(size / unit) * unit;
  return [up(rows, unitRows), up(columns, unitColumns)];
}

/** Whether the matrix is large enough for the tables, and small enough for the search. */
function isQuick(format: VectorFormat): boolean {
  if (format.family === "trellis") return format.state <= 12;
  return format.family !== "lookup" ||
    2 ** format.bits * format.dimension * 16 <= ROWS * COLUMNS;
}

function signalToNoise(format: VectorFormat, kind: Distribution): number {
  const random = fixedRandom();
  const [rows, columns] = wholeUnits(format, ROWS, COLUMNS);
  const x = Float32Array.from({ length: rows * columns }, () => INVERSE[kind](random()));
  const codec = vectorCodec(format);
  const back = codec.decode(codec.encode(x, rows, columns));
  const signal = x.reduce((sum, value) => sum + value * value, 0);
  const noise = x.reduce((sum, value, i) => sum + (value - back[i]) ** 2, 0);
  return Number((10 * Math.log10(signal / noise)).toFixed(2));
}
