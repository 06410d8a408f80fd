/**
 * Vector tensors: the shapes of codes, tables and scales, for all families in one place.
 *
 * @module
 */

import { LowbitError } from "./errors.ts";
import { type Granularity, type Tiling, tiling } from "./granularity.ts";
import type { VectorTensor } from "./tensor.ts";
import type { VectorFormat } from "./vector_format.ts";

/** The shapes of a vector tensor. A unit is the region of the matrix that a group of codes means. */
export interface VectorShape {
  /** Rows of the matrix. */
  rows: number;
  /** Columns of the matrix. */
  columns: number;
  /** Rows of a unit. */
  unitRows: number;
  /** Columns of a unit. */
  unitColumns: number;
  /** Codes of a unit, which are neighbours. */
  unitCodes: number;
  /** Bits of a code. */
  codeBits: number;
  /** Codes are `[codeRows, codeColumns]`. */
  codeRows: number;
  /** Codes are `[codeRows, codeColumns]`. */
  codeColumns: number;
  /** Which elements share tables, if there are any. */
  tables?: Tiling;
  /** Numbers in the tables of one tile; 0 without tables. */
  tableSize: number;
  /** Which elements share a scale, if there are any. */
  scales?: Tiling;
}

/** The region of a matrix that a group of codes means. */
export type VectorUnit = Pick<VectorShape, "unitRows" | "unitColumns" | "unitCodes" | "codeBits">;

/**
 * What a unit of a vector format is.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { vectorFormat } from "../formats/lookup.ts";
 * import { vectorUnit } from "./vector_shape.ts";
 * const { unitRows, unitColumns, unitCodes, codeBits } = vectorUnit(vectorFormat("qtip_1mad_k2"));
 * assertEquals([unitRows, unitColumns, unitCodes, codeBits], [16, 16, 256, 2]);
 * ```
 */
export function vectorUnit(format: VectorFormat): VectorUnit {
  const unit = (unitColumns: number, codeBits: number, unitCodes = 1, unitRows = 1) => ({
    unitRows,
    unitColumns,
    unitCodes,
    codeBits,
  });
  switch (format.family) {
    case "pair":
      return unit(2, 2 * format.bits);
    case "grid":
      return unit(format.dimension, format.bits);
    case "lookup":
      return unit(format.dimension, format.bits, format.codebooks);
    case "trellis": {
      const { tile: { rows, columns }, vector, bits } = format;
      return unit(columns, bits * vector, rows * columns / vector, rows);
    }
    case "binary_coding":
      return unit(1, format.planes);
  }
}

/** Numbers in the tables of one tile. */
function tableSizeOf(format: VectorFormat): number {
  if (format.family === "binary_coding") return format.planes;
  if (format.family !== "lookup") return 0;
  return format.codebooks * 2 ** format.bits * format.dimension;
}

/**
 * The shapes of a `[rows, columns]` matrix in a vector format. Error: `SHAPE` where vectors,
 * sequences, tables or scales do not divide the matrix.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { vectorFormatSchema } from "./vector_format.ts";
 * import { vectorShape } from "./vector_shape.ts";
 * const format = vectorFormatSchema.parse({
 *   id: "additive",
 *   summary: "two tables of 256 entries of 8 elements",
 *   family: "lookup",
 *   dimension: 8,
 *   bits: 8,
 *   codebooks: 2,
 *   share: { kind: "tensor" },
 * });
 * const { codeRows, codeColumns, tableSize } = vectorShape(format, 16, 64);
 * assertEquals([codeRows, codeColumns, tableSize], [16, 8 * 2, 2 * 256 * 8]);
 * ```
 */
export function vectorShape(format: VectorFormat, rows: number, columns: number): VectorShape {
  const unit = vectorUnit(format);
  const problem = (what: string, advice: string) =>
    new LowbitError("SHAPE", what, { field: format.id, advice });
  for (
    const [count, size, name] of [
      [columns, unit.unitColumns, "columns"],
      [rows, unit.unitRows, "rows"],
    ] as const
  ) {
    if (count % size !== 0) {
      throw problem(
        `${count} ${name} are not a multiple of ${size}`,
        "choose a format whose vectors divide the matrix, or leave this one out",
      );
    }
  }
  const tiles = (granularity: Granularity | undefined, what: string): Tiling | undefined => {
    if (granularity === undefined) return undefined;
    const t = tiling(granularity, rows, columns);
    const splits = (tile: number, unit: number, all: number) => tile < all && tile % unit !== 0;
    if (
      splits(t.tileColumns, unit.unitColumns, columns) || splits(t.tileRows, unit.unitRows, rows)
    ) {
      throw problem(
        `${what} of ${t.tileRows} x ${t.tileColumns} elements split vectors of ` +
          `${unit.unitRows} x ${unit.unitColumns}`,
        "choose a granularity that is a multiple of the vectors",
      );
    }
    return t;
  };
  const shared = "share" in format ? format.share : undefined;
  const scaleTiles = () => {
    const scale = "scale" in format ? format.scale : undefined;
    // Of several factors each tile takes its own, which vectors must not be shared by.
    return scale && scale.factors.length === 1
      ? tiling(scale.granularity, rows, columns)
      : tiles(scale?.granularity, "scales");
  };
  return {
    rows,
    columns,
    ...unit,
    codeRows: rows / unit.unitRows,
    codeColumns: columns / unit.unitColumns * unit.unitCodes,
    tables: tiles(shared, "tables"),
    tableSize: tableSizeOf(format),
    scales: scaleTiles(),
  };
}

/**
 * Why a matrix cannot have a vector format; undefined if it can.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { vectorFormatSchema } from "./vector_format.ts";
 * import { vectorMisfit } from "./vector_shape.ts";
 * const format = vectorFormatSchema.parse({
 *   id: "planes2",
 *   summary: "two planes",
 *   family: "binary_coding",
 *   planes: 2,
 *   share: { kind: "group", size: 32 },
 * });
 * assertEquals(vectorMisfit(format, 4, 100), undefined);
 * ```
 */
export function vectorMisfit(
  format: VectorFormat,
  rows: number,
  columns: number,
): LowbitError | undefined {
  try {
    vectorShape(format, rows, columns);
  } catch (error) {
    if (error instanceof LowbitError) return error;
    throw error;
  }
}

/** Numbers of tiles of a tiling; 0 for none. */
const tileCount = (t: Tiling | undefined) => t ? t.gridRows * t.gridColumns : 0;

/**
 * Checks the parts of a vector tensor against its shape, and gives the shape. Errors: `SHAPE`,
 * `FORMAT` (a code beyond its bits), `NON_FINITE`.
 *
 * @example
 * ```ts
 * import { assertThrows } from "@std/assert";
 * import { LowbitError } from "./errors.ts";
 * import { vectorFormatSchema } from "./vector_format.ts";
 * import { checkVector } from "./vector_shape.ts";
 * const format = vectorFormatSchema.parse({
 *   id: "planes2",
 *   summary: "two planes",
 *   family: "binary_coding",
 *   planes: 2,
 *   share: { kind: "tensor" },
 * });
 * const codes = Uint32Array.of(0, 3), tables = Float32Array.of(1);
 * const check = () => checkVector({ kind: "vector", shape: [1, 2], format, codes, tables });
 * assertThrows(check, LowbitError, "has 1 table entries, expected 2");
 * ```
 */
export function checkVector(tensor: VectorTensor): VectorShape {
  const { format, codes, tables, scales } = tensor;
  const shape = vectorShape(format, ...tensor.shape);
  const expect = (what: string, actual: number, expected: number) => {
    if (actual === expected) return;
    throw new LowbitError("SHAPE", `has ${actual} ${what}, expected ${expected}`, {
      field: format.id,
    });
  };
  expect("codes", codes.length, shape.codeRows * shape.codeColumns);
  expect("table entries", tables?.length ?? 0, shape.tableSize * tileCount(shape.tables));
  expect("scales", scales?.length ?? 0, tileCount(shape.scales));
  const top = 2 ** shape.codeBits - 1;
  if (codes.some((code) => code > top)) {
    throw new LowbitError("FORMAT", `has a code beyond ${shape.codeBits} bits`, {
      field: format.id,
    });
  }
  for (const values of [tables ?? [], scales ?? []]) {
    if (values.every(Number.isFinite)) continue;
    throw new LowbitError("NON_FINITE", "has a table entry or scale that is not finite", {
      field: format.id,
    });
  }
  return shape;
}
