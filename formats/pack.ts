/**
 * Codes and their parameters as bytes of a layout, and back.
 *
 * {@linkcode referencePack} and {@linkcode referenceUnpack} are normative and obvious: one bit after
 * the other. {@linkcode packMatrix} and {@linkcode unpackMatrix} give the same bytes, streams and
 * split halves by way of the kernels, other planes by tables of places.
 *
 * @module
 */

import {
  codeOffset,
  type Kernels,
  type Layout,
  LowbitError,
  type PackArguments,
  type PartName,
} from "../spec/mod.ts";
import { placeParts, takeParts } from "./pack_parts.ts";
import { deinterleave, forEachCode, interleave, packBase3, unpackBase3 } from "./pack_walk.ts";
import { readPlane, writePlane } from "./plane_bits.ts";
import { type Geometry, geometry, type MatrixSize } from "./planes.ts";

export type { MatrixSize } from "./planes.ts";

/** What a layout holds of a matrix. */
export interface PackedParts {
  /** One code an element, row-major: `rows * columns`. */
  codes: Uint8Array;
  /** The values of the parts of the layout, block after block. */
  parts?: Partial<Record<PartName, Float32Array>>;
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
  const { units, stride } = geometry(size, layout);
  return units * stride;
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
  packed: PackedParts,
  size: MatrixSize,
  layout: Layout,
): Uint8Array<ArrayBuffer> {
  const shape = checked(packed, size, layout);
  const codes = turned(packed.codes, size, layout);
  const bytes = new Uint8Array(shape.units * shape.stride);
  const offset = codeOffset(layout, size.bits);
  for (const plane of shape.planes) {
    if (plane.base3) {
      packBase3(bytes, codes, shape, plane, offset);
      continue;
    }
    forEachCode(shape, plane, (i, position) => {
      const stored = (codes[i] + offset) % 2 ** size.bits;
      for (let bit = 0; bit < plane.bits; bit++) {
        const to = position + bit;
        if ((stored >> (plane.low + bit)) & 1) bytes[Math.floor(to / 8)] |= 1 << (to % 8);
      }
    });
  }
  return interleave(placeParts(bytes, packed.parts, shape, layout), shape, layout);
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
  const shape = geometry(size, layout);
  checkBytes(bytes, shape);
  const source = deinterleave(bytes, shape, layout);
  const stored = new Uint8Array(size.rows * size.columns);
  for (const plane of shape.planes) {
    if (plane.base3) {
      unpackBase3(stored, source, shape, plane);
      continue;
    }
    forEachCode(shape, plane, (i, position) => {
      for (let bit = 0; bit < plane.bits; bit++) {
        const from = position + bit;
        stored[i] |= ((source[Math.floor(from / 8)] >> (from % 8)) & 1) << (plane.low + bit);
      }
    });
  }
  return finished(stored, source, shape, size, layout);
}

/** Takes the offset away, turns the matrix back, and adds the parts. */
function finished(
  stored: Uint8Array<ArrayBuffer>,
  bytes: Uint8Array,
  shape: Geometry,
  size: MatrixSize,
  layout: Layout,
): PackedParts & { codes: Uint8Array<ArrayBuffer> } {
  const modulus = 2 ** size.bits;
  const offset = codeOffset(layout, size.bits);
  if (offset !== 0) {
    const back = modulus - offset;
    for (let i = 0; i < stored.length; i++) stored[i] = (stored[i] + back) & (modulus - 1);
  }
  const { rows, columns, bits } = size;
  const codes = turned(stored, { rows: columns, columns: rows, bits }, layout);
  const parts = takeParts(bytes, shape, layout);
  return { codes, ...(parts && { parts }) };
}

/** The transposed matrix for layouts that run along columns. */
function turned<T extends Uint8Array>(codes: T, { rows, columns }: MatrixSize, layout: Layout): T {
  if (layout.axis === "columns") return codes;
  const out = new Uint8Array(codes.length);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++) out[c * rows + r] = codes[r * columns + c];
  }
  return out as T;
}

/** Codes handed to the kernels at a time; bounds their memory. */
const CHUNK = 1 << 24;

/**
 * Packs a matrix; the same bytes as {@linkcode referencePack}.
 *
 * Errors: `FORMAT` (the layout cannot hold it), `SHAPE` (lengths).
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { loadKernels } from "../kernels-wasm/mod.ts";
 * import { layout } from "./lookup.ts";
 * import { packMatrix } from "./pack.ts";
 * const packed = { codes: Uint8Array.of(1, 2, 3) };
 * const size = { rows: 1, columns: 3, bits: 4 };
 * const bytes = packMatrix(await loadKernels(), packed, size, layout("lowbit_dense"));
 * assertEquals([...bytes], [0x21, 0x03]);
 * ```
 */
export function packMatrix(
  kernels: Kernels | undefined,
  packed: PackedParts,
  size: MatrixSize,
  layout: Layout,
): Uint8Array<ArrayBuffer> {
  const shape = checked(packed, size, layout);
  const stream = streamOf(layout, size.bits);
  const codes = turned(packed.codes, size, layout);
  const bytes = new Uint8Array(shape.units * shape.stride);
  const offset = codeOffset(layout, size.bits);
  if (kernels && stream) {
    const { stride, unit: { columns } } = shape;
    for (const { from, units } of chunks(shape)) {
      using part = kernels.upload(codes.subarray(from * columns, (from + units) * columns));
      using out = kernels.alloc("u8", units * stride);
      const unit = { bits: size.bits, units, unitLength: columns, stride, offset };
      kernels.pack({ codes: part, bytes: out, ...unit, ...stream });
      bytes.set(out.array, from * stride);
    }
  } else {
    const mask = 2 ** size.bits - 1;
    const stored = offset ? codes.map((code) => (code + offset) & mask) : codes;
    for (const plane of shape.planes) writePlane(bytes, stored, shape, plane);
  }
  return interleave(placeParts(bytes, packed.parts, shape, layout), shape, layout);
}

/**
 * Unpacks a matrix; the same codes as {@linkcode referenceUnpack}.
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
  const shape = geometry(size, layout);
  checkBytes(bytes, shape);
  const stream = streamOf(layout, size.bits);
  const source = deinterleave(bytes, shape, layout);
  const stored = new Uint8Array(size.rows * size.columns);
  if (kernels && stream) {
    const { stride, unit: { columns } } = shape;
    for (const { from, units } of chunks(shape)) {
      using part = kernels.upload(source.subarray(from * stride, (from + units) * stride));
      using codes = kernels.alloc("u8", units * columns);
      const unit = { bits: size.bits, units, unitLength: columns, stride, offset: 0 };
      kernels.unpack({ codes, bytes: part, ...unit, ...stream });
      stored.set(codes.array, from * columns);
    }
  } else {
    for (const plane of shape.planes) readPlane(stored, source, shape, plane);
  }
  return finished(stored, source, shape, size, layout);
}

/** The stream that the kernels know, if the layout is one: dense codes, or split halves. */
function streamOf(
  layout: Layout,
  bits: number,
): Pick<PackArguments, "start" | "order"> | undefined {
  if (layout.unit.kind === "tile" || layout.unit.kind === "matrix" || bits === 0) return undefined;
  if (!layout.planes) return { start: 0, order: "neighbours" };
  const [plane, ...others] = layout.planes;
  const whole = others.length === 0 && plane.coding === "bits" && plane.low === 0 &&
    plane.shift === 0 && !plane.codes && (plane.bits ?? bits) === bits;
  if (!whole) return undefined;
  const start = plane.at === "after" ? 0 : plane.at;
  const digits = JSON.stringify(
    plane.digits.map(([size, stride]) => [size === 2 ? 2 : "*", stride]),
  );
  if (digits === JSON.stringify([["*", bits]])) return { start, order: "neighbours" };
  if (bits === 4 && digits === '[[2,4],["*",8]]') return { start, order: "halves" };
  return undefined;
}

/** Runs of units of about `CHUNK` codes; none for an empty matrix. */
function* chunks({ units, unit }: Geometry): Generator<{ from: number; units: number }> {
  const step = Math.max(1, Math.floor(CHUNK / Math.max(1, unit.columns)));
  for (let from = 0; from < units; from += step) {
    yield { from, units: Math.min(step, units - from) };
  }
}

function checked({ codes }: PackedParts, size: MatrixSize, layout: Layout): Geometry {
  const shape = geometry(size, layout);
  if (codes.length !== size.rows * size.columns) {
    throw new LowbitError(
      "SHAPE",
      `has ${codes.length} codes, but ${size.rows} x ${size.columns} are expected`,
      { field: layout.id },
    );
  }
  const beyond = shape.planes.some(({ base3 }) => base3) && codes.find((code) => code > 2);
  if (beyond) {
    throw new LowbitError("FORMAT", `code ${beyond} is no digit of base 3`, {
      field: layout.id,
      advice: "take values within the range, or blocks of two bits a code",
    });
  }
  return shape;
}

function checkBytes(bytes: Uint8Array, { units, stride }: Geometry): void {
  if (bytes.length === units * stride) return;
  throw new LowbitError("SHAPE", `has ${bytes.length} bytes, but ${units * stride} are expected`);
}
