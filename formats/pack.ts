/**
 * Codes and their parameters as bytes of a layout, and back.
 *
 * {@linkcode referencePack} and {@linkcode referenceUnpack} are normative and obvious;
 * {@linkcode packMatrix} and {@linkcode unpackMatrix} give the same bytes by way of the kernels.
 *
 * @module
 */

import {
  type Kernels,
  type Layout,
  LowbitError,
  type PackArguments,
  streamBytes,
} from "../spec/mod.ts";
import { decodeScales, encodeScales, scaleBytes } from "./containers/scales.ts";

/** The size of a matrix of codes. */
export interface MatrixSize {
  /** Rows. */
  rows: number;
  /** Columns. */
  columns: number;
  /** Bits of a code, 1 to 8. */
  bits: number;
}

/** What a layout holds of a matrix. */
export interface PackedParts {
  /** One code an element, row-major: `rows * columns`. */
  codes: Uint8Array;
  /** One scale a block, row-major, for layouts with a field `scale`. */
  scales?: Float32Array;
  /** One minimum a block, row-major, for layouts with a field `minimum`. */
  minima?: Float32Array;
}

/** How a matrix falls into units of a layout: rows, or blocks. */
interface Units {
  units: number;
  unitLength: number;
  stride: number;
  start: number;
  fields: { field: "scale" | "minimum"; format: string; at: number }[];
}

function unitsOf({ rows, columns, bits }: MatrixSize, layout: Layout): Units {
  if (!layout.bits.includes(bits)) {
    throw new LowbitError("FORMAT", `does not hold codes of ${bits} bits`, {
      field: layout.id,
      advice: `it holds ${layout.bits.join(", ")}`,
    });
  }
  if (layout.block === undefined) {
    const stride = streamBytes(columns, bits, layout.row_align);
    return { units: rows, unitLength: columns, stride, start: 0, fields: [] };
  }
  const { block } = layout;
  if (columns % block !== 0) {
    throw new LowbitError("FORMAT", `holds whole blocks of ${block}, not ${columns} columns`, {
      field: layout.id,
    });
  }
  const fields: Units["fields"] = [];
  let [at, start] = [0, 0];
  for (const field of layout.fields ?? [{ field: "codes" as const }]) {
    if (field.field === "codes") {
      start = at;
      at += streamBytes(block, bits);
    } else {
      fields.push({ ...field, at });
      at += scaleBytes(field.format);
    }
  }
  return { units: rows * (columns / block), unitLength: block, stride: at, start, fields };
}

/**
 * Bytes of a packed matrix. Error `FORMAT` if the layout cannot hold it.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { layout } from "./lookup.ts";
 * import { packedBytes } from "./pack.ts";
 * assertEquals(packedBytes({ rows: 2, columns: 33, bits: 4 }, layout("lowbit_dense")), 2 * 17);
 * assertEquals(packedBytes({ rows: 2, columns: 64, bits: 4 }, layout("ggml_q4_0")), 4 * (2 + 16));
 * ```
 */
export function packedBytes(size: MatrixSize, layout: Layout): number {
  const { units, stride } = unitsOf(size, layout);
  return units * stride;
}

/** Which code is number `k` in the stream of a unit of `length` codes. */
function streamOrder(layout: Layout, length: number): (k: number) => number {
  if (layout.order === "neighbours") return (k) => k;
  return (k) => k % 2 === 0 ? k / 2 : length / 2 + (k - 1) / 2;
}

/**
 * Packs a matrix, bit by bit. Normative; slow.
 *
 * @example
 * ```ts
 * import { layout } from "./lookup.ts";
 * import { referencePack } from "./pack.ts";
 * const codes = new Uint8Array([1, 2, 3]);
 * referencePack({ codes }, { rows: 1, columns: 3, bits: 4 }, layout("lowbit_dense")); // 0x21, 0x03
 * ```
 */
export function referencePack(
  parts: PackedParts,
  size: MatrixSize,
  layout: Layout,
): Uint8Array<ArrayBuffer> {
  const shape = checked(parts, size, layout);
  const bytes = new Uint8Array(shape.units * shape.stride);
  const order = streamOrder(layout, shape.unitLength);
  for (let unit = 0; unit < shape.units; unit++) {
    for (let k = 0; k < shape.unitLength; k++) {
      const code = parts.codes[unit * shape.unitLength + order(k)];
      const stored = (code + layout.offset) % 2 ** size.bits;
      for (let bit = 0; bit < size.bits; bit++) {
        const position = k * size.bits + bit;
        const byte = unit * shape.stride + shape.start + Math.floor(position / 8);
        if ((stored >> bit) & 1) bytes[byte] |= 1 << (position % 8);
      }
    }
  }
  placeFields(bytes, parts, shape);
  return bytes;
}

/**
 * Unpacks a matrix, bit by bit. Normative; slow.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { layout } from "./lookup.ts";
 * import { referenceUnpack } from "./pack.ts";
 * const size = { rows: 1, columns: 3, bits: 4 };
 * const { codes } = referenceUnpack(Uint8Array.of(0x21, 0x03), size, layout("lowbit_dense"));
 * assertEquals([...codes], [1, 2, 3]);
 * ```
 */
export function referenceUnpack(
  bytes: Uint8Array,
  size: MatrixSize,
  layout: Layout,
): PackedParts & { codes: Uint8Array<ArrayBuffer> } {
  const shape = unitsOf(size, layout);
  checkBytes(bytes, shape);
  const codes = new Uint8Array(size.rows * size.columns);
  const order = streamOrder(layout, shape.unitLength);
  const modulus = 2 ** size.bits;
  for (let unit = 0; unit < shape.units; unit++) {
    for (let k = 0; k < shape.unitLength; k++) {
      let stored = 0;
      for (let bit = 0; bit < size.bits; bit++) {
        const position = k * size.bits + bit;
        const byte = bytes[unit * shape.stride + shape.start + Math.floor(position / 8)];
        stored += ((byte >> (position % 8)) & 1) * 2 ** bit;
      }
      const code = (stored - layout.offset % modulus + modulus) % modulus;
      codes[unit * shape.unitLength + order(k)] = code;
    }
  }
  return { codes, ...takeFields(bytes, shape) };
}

/** Codes handed to the kernels at a time; bounds their memory. */
const CHUNK = 1 << 24;

/**
 * Packs a matrix by way of the kernels; without kernels as {@linkcode referencePack}.
 *
 * Errors: `FORMAT` (the layout cannot hold it), `SHAPE` (lengths).
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { loadKernels } from "../kernels-wasm/mod.ts";
 * import { layout } from "./lookup.ts";
 * import { packMatrix } from "./pack.ts";
 * const parts = { codes: Uint8Array.of(1, 2, 3) };
 * const size = { rows: 1, columns: 3, bits: 4 };
 * const bytes = packMatrix(await loadKernels(), parts, size, layout("lowbit_dense"));
 * assertEquals([...bytes], [0x21, 0x03]);
 * ```
 */
export function packMatrix(
  kernels: Kernels | undefined,
  parts: PackedParts,
  size: MatrixSize,
  layout: Layout,
): Uint8Array<ArrayBuffer> {
  if (!kernels) return referencePack(parts, size, layout);
  const shape = checked(parts, size, layout);
  const bytes = new Uint8Array(shape.units * shape.stride);
  for (const chunk of chunks(shape)) {
    const { from, units } = chunk;
    const begin = from * shape.unitLength;
    using codes = kernels.upload(parts.codes.subarray(begin, begin + units * shape.unitLength));
    using packed = kernels.alloc("u8", units * shape.stride);
    kernels.pack({ codes, bytes: packed, ...argumentsOf(shape, units, size.bits, layout) });
    bytes.set(packed.array, from * shape.stride);
  }
  placeFields(bytes, parts, shape);
  return bytes;
}

/**
 * Unpacks a matrix by way of the kernels; without kernels as {@linkcode referenceUnpack}.
 *
 * Errors: `FORMAT` (the layout cannot hold it), `SHAPE` (the number of bytes).
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { loadKernels } from "../kernels-wasm/mod.ts";
 * import { layout } from "./lookup.ts";
 * import { unpackMatrix } from "./pack.ts";
 * const size = { rows: 1, columns: 3, bits: 4 };
 * const bytes = Uint8Array.of(0x21, 0x03);
 * const { codes } = unpackMatrix(await loadKernels(), bytes, size, layout("lowbit_dense"));
 * assertEquals([...codes], [1, 2, 3]);
 * ```
 */
export function unpackMatrix(
  kernels: Kernels | undefined,
  bytes: Uint8Array,
  size: MatrixSize,
  layout: Layout,
): PackedParts & { codes: Uint8Array<ArrayBuffer> } {
  if (!kernels) return referenceUnpack(bytes, size, layout);
  const shape = unitsOf(size, layout);
  checkBytes(bytes, shape);
  const out = new Uint8Array(size.rows * size.columns);
  for (const { from, units } of chunks(shape)) {
    const begin = from * shape.stride;
    using packed = kernels.upload(bytes.subarray(begin, begin + units * shape.stride));
    using codes = kernels.alloc("u8", units * shape.unitLength);
    kernels.unpack({ codes, bytes: packed, ...argumentsOf(shape, units, size.bits, layout) });
    out.set(codes.array, from * shape.unitLength);
  }
  return { codes: out, ...takeFields(bytes, shape) };
}

function argumentsOf(
  { unitLength, stride, start }: Units,
  units: number,
  bits: number,
  { order, offset }: Layout,
): Omit<PackArguments, "codes" | "bytes"> {
  return { bits, units, unitLength, stride, start, order, offset };
}

/** Runs of units of about `CHUNK` codes; none for an empty matrix. */
function* chunks({ units, unitLength }: Units): Generator<{ from: number; units: number }> {
  if (unitLength === 0) return;
  const step = Math.max(1, Math.floor(CHUNK / unitLength));
  for (let from = 0; from < units; from += step) {
    yield { from, units: Math.min(step, units - from) };
  }
}

function checked(parts: PackedParts, size: MatrixSize, layout: Layout): Units {
  const shape = unitsOf(size, layout);
  if (parts.codes.length !== size.rows * size.columns) {
    throw new LowbitError(
      "SHAPE",
      `has ${parts.codes.length} codes, but ${size.rows} x ${size.columns} are expected`,
      { field: layout.id },
    );
  }
  for (const { field } of shape.fields) {
    const values = field === "scale" ? parts.scales : parts.minima;
    if (values?.length !== shape.units) {
      throw new LowbitError(
        "SHAPE",
        `needs one ${field} for each of its ${shape.units} blocks, not ${values?.length ?? 0}`,
        { field: layout.id },
      );
    }
  }
  return shape;
}

function checkBytes(bytes: Uint8Array, { units, stride }: Units): void {
  if (bytes.length === units * stride) return;
  throw new LowbitError("SHAPE", `has ${bytes.length} bytes, but ${units * stride} are expected`);
}

function placeFields(bytes: Uint8Array, parts: PackedParts, { fields, stride }: Units): void {
  for (const { field, format, at } of fields) {
    const stored = encodeScales(format, (field === "scale" ? parts.scales : parts.minima)!);
    const width = scaleBytes(format);
    for (let i = 0; i * width < stored.length; i++) {
      for (let b = 0; b < width; b++) bytes[i * stride + at + b] = stored[i * width + b];
    }
  }
}

function takeFields(
  bytes: Uint8Array,
  { units, fields, stride }: Units,
): Omit<PackedParts, "codes"> {
  const out: Omit<PackedParts, "codes"> = {};
  for (const { field, format, at } of fields) {
    const width = scaleBytes(format);
    const stored = new Uint8Array(units * width);
    for (let i = 0; i < units; i++) {
      for (let b = 0; b < width; b++) stored[i * width + b] = bytes[i * stride + at + b];
    }
    out[field === "scale" ? "scales" : "minima"] = decodeScales(format, stored);
  }
  return out;
}
