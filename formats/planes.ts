/**
 * The geometry of layouts: where in the bytes every bit of every code lies.
 *
 * @module
 */

import { type Digit, type Layout, LowbitError, type Plane, streamBytes } from "../spec/mod.ts";

/** The size of a matrix of codes. */
export interface MatrixSize {
  /** Rows. */
  rows: number;
  /** Columns. */
  columns: number;
  /** Bits of a code, 1 to 8. */
  bits: number;
}

/** A plane for a unit of known size: code (i, j) starts at bit `rows[i] + columns[j - first]`. */
export interface PlaneTable {
  /** The lowest bit of the code that it holds. */
  low: number;
  /** How many bits. */
  bits: number;
  /** Whether bytes hold base-3 digits. */
  base3: boolean;
  /** The first column. */
  first: number;
  /** Bits to each row of the unit. */
  rows: Float64Array;
  /** Bits to each column from `first` on. */
  columns: Float64Array;
}

/** How a matrix falls into units of a layout. */
export interface Geometry {
  /** Rows of the packed matrix, which is the transposed one for `axis: rows`. */
  rows: number;
  /** Its columns. */
  columns: number;
  /** Rows and columns of a unit. */
  unit: { rows: number; columns: number };
  /** How many units there are. */
  units: number;
  /** Bytes of a unit. */
  stride: number;
  /** Where the bits are; a dense stream is one plane. */
  planes: PlaneTable[];
}

/**
 * The geometry of a matrix in a layout. Error `FORMAT` if the layout cannot hold it.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { layout } from "./lookup.ts";
 * import { geometry } from "./planes.ts";
 * const { units, stride, planes } = geometry({ rows: 1, columns: 64, bits: 4 }, layout("ggml_q4_0"));
 * assertEquals([units, stride], [2, 18]);
 * assertEquals([...planes[0].columns.slice(0, 3)], [16, 24, 32]); // a byte apart, after the scale
 * ```
 */
export function geometry(size: MatrixSize, layout: Layout): Geometry {
  const { bits } = size;
  if (!layout.bits.includes(bits)) {
    throw new LowbitError("FORMAT", `does not hold codes of ${bits} bits`, {
      field: layout.id,
      advice: `it holds ${layout.bits.join(", ")}`,
    });
  }
  const across = layout.axis === "rows";
  const [rows, columns] = across ? [size.columns, size.rows] : [size.rows, size.columns];
  const unit = unitSize(layout, rows, columns);
  const down = Math.ceil(rows / (unit.rows || 1));
  const along = Math.ceil(columns / (unit.columns || 1));
  const symbols = { rows: down * unit.rows, columns: along * unit.columns };
  const planes = planeTables(layout.planes ?? [denseStream(bits)], unit, bits, symbols, layout.id);
  return {
    rows,
    columns,
    unit,
    units: rows * columns === 0 ? 0 : down * along,
    stride: unitBytes(layout, unit, planes, bits),
    planes,
  };
}

/**
 * The bytes of a row, if the layout has rows one after the other, in whole bytes.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { layout } from "./lookup.ts";
 * import { rowBytes } from "./planes.ts";
 * const size = { rows: 4, columns: 64, bits: 4 };
 * assertEquals(rowBytes(size, layout("bitsandbytes4")), 32);
 * assertEquals(rowBytes(size, layout("awq_gemm")), undefined);
 * ```
 */
export function rowBytes(size: MatrixSize, layout: Layout): number | undefined {
  const { axis, interleave, unit } = layout;
  if (axis === "rows" || interleave) return undefined;
  if (unit.kind === "row") return geometry({ ...size, rows: 1 }, layout).stride;
  if (unit.kind !== "matrix") return undefined;
  const rows = (layout.planes ?? []).map((plane) => plane.rows);
  const [[first, ...others] = []] = rows as Digit[][];
  if (rows.length !== 1 || !first || others.length > 0) return undefined;
  const bytes = strideBits(first[1], { rows: size.rows, columns: size.columns }) / 8;
  return Number.isInteger(bytes) && bytes > 0 ? bytes : undefined;
}

function unitSize({ unit, planes, id }: Layout, rows: number, columns: number) {
  if (unit.kind === "matrix") {
    if (!unit.padded || !planes) return { rows, columns };
    const whole = (count: number, digits: Digit[]) =>
      Math.ceil(count / knownSize(digits)) * knownSize(digits);
    return {
      rows: planes.reduce((count, plane) => whole(count, plane.rows ?? []), rows),
      columns: planes.reduce((count, plane) => whole(count, plane.digits), columns),
    };
  }
  const [unitRows, unitColumns] = unit.kind === "row"
    ? [1, columns]
    : unit.kind === "block"
    ? [1, unit.codes]
    : [unit.rows, unit.columns];
  const padded = unit.kind === "tile" && unit.padded;
  for (const [what, count, size] of [["rows", rows, unitRows], ["columns", columns, unitColumns]]) {
    if (!padded && Number(count) % Number(size) !== 0) {
      throw new LowbitError("FORMAT", `holds whole blocks of ${size}, not ${count} ${what}`, {
        field: id,
      });
    }
  }
  return { rows: unitRows, columns: unitColumns };
}

/** The product of the digits whose size is given. */
function knownSize(digits: readonly Digit[]): number {
  return digits.reduce((product, [size]) => size === "*" ? product : product * size, 1);
}

/** A dense stream of codes as a plane. */
function denseStream(bits: number): Plane {
  return { low: 0, at: 0, shift: 0, digits: [["*", bits]], coding: "bits" };
}

function unitBytes(
  { unit, planes: given }: Layout,
  { rows, columns }: Geometry["unit"],
  planes: readonly PlaneTable[],
  bits: number,
): number {
  if (unit.kind === "block") return unit.bytes;
  const align = unit.kind === "row" ? unit.align : 1;
  if (!given) return streamBytes(rows * columns, bits, align);
  return Math.ceil(planesBytes(planes) / align) * align;
}

/** The bytes up to the end of the last plane. */
function planesBytes(planes: readonly PlaneTable[]): number {
  const largest = (values: Float64Array) => values.reduce((a, b) => Math.max(a, b), 0);
  const last = planes.map((p) => largest(p.rows) + largest(p.columns) + (p.base3 ? 8 : p.bits));
  return streamBytes(Math.max(0, ...last), 1);
}

/** The tables of planes for a unit of `rows` x `columns` codes of `bits` bits. */
export function planeTables(
  planes: readonly Plane[],
  unit: Geometry["unit"],
  bits: number,
  symbols: { rows: number; columns: number },
  field: string,
): PlaneTable[] {
  const tables: PlaneTable[] = [];
  for (const plane of planes) {
    const at = plane.at === "after" ? planesBytes(tables) : plane.at;
    tables.push(planeTable({ ...plane, at }, unit, bits, symbols, field));
  }
  return tables;
}

function planeTable(
  plane: Plane & { at: number },
  { rows, columns }: Geometry["unit"],
  bits: number,
  symbols: { rows: number; columns: number },
  field: string,
): PlaneTable {
  const [first, count] = plane.codes ?? [0, columns];
  // A unit of several rows in one stream: a row is as long as its columns.
  const rowDigits = plane.rows ?? [["*", columns * bits]];
  const start = 8 * plane.at + plane.shift;
  return {
    low: plane.low,
    bits: plane.bits ?? bits - plane.low,
    base3: plane.coding === "base3",
    first,
    rows: positions(rowDigits, rows, symbols, field),
    columns: positions(plane.digits, count, symbols, field).map((bit) => bit + start),
  };
}

/** The distance in bits of every index below `length`, from its digits. */
function positions(
  digits: readonly Digit[],
  length: number,
  symbols: { rows: number; columns: number },
  field: string,
): Float64Array {
  const known = knownSize(digits);
  const open = digits.some(([size]) => size === "*");
  const rest = length / known;
  if (open ? !Number.isInteger(rest) : rest !== 1) {
    throw new LowbitError("FORMAT", `holds multiples of ${known}, not ${length}`, { field });
  }
  const table = new Float64Array(length);
  let step = 1;
  for (const [digit, distance] of digits.toReversed()) {
    const size = digit === "*" ? rest : digit;
    const bits = strideBits(distance, symbols);
    for (let i = 0; i < length; i++) table[i] += (Math.floor(i / step) % size) * bits;
    step *= size;
  }
  return table;
}

function strideBits(stride: Digit[1], symbols: { rows: number; columns: number }): number {
  if (typeof stride === "number") return stride;
  const [factor, symbol] = stride.split("*");
  return Number(factor) * symbols[symbol as keyof typeof symbols];
}
