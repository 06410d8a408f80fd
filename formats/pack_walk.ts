/**
 * The walk over the codes of a layout, base-3 digits, and words that take turns.
 *
 * @module
 */

import { type Layout, LowbitError } from "../spec/mod.ts";
import { forEachRow, POWERS } from "./plane_bits.ts";
import type { Geometry, PlaneTable } from "./planes.ts";

/** Calls `visit` with every code of a plane: its index in the matrix, and its first bit. */
export function forEachCode(
  shape: Geometry,
  plane: PlaneTable,
  visit: (code: number, bit: number) => void,
): void {
  forEachRow(shape, plane, (code, bit, width) => {
    for (let j = 0; j < width; j++) visit(code + j, bit + plane.columns[j]);
  });
}

/** Packs the codes of a plane of base-3 digits. */
export function packBase3(
  bytes: Uint8Array,
  codes: Uint8Array,
  shape: Geometry,
  plane: PlaneTable,
  offset: number,
): void {
  const sums = new Map<number, number>();
  forEachCode(shape, plane, (i, bit) => {
    const byte = Math.floor(bit / 8);
    const code = (codes[i] + offset) % 3;
    sums.set(byte, (sums.get(byte) ?? 0) + code * POWERS[bit % 8]);
  });
  for (const [byte, sum] of sums) bytes[byte] = Math.ceil(sum * 256 / 243);
}

/** Unpacks the codes of a plane of base-3 digits. */
export function unpackBase3(
  codes: Uint8Array,
  bytes: Uint8Array,
  shape: Geometry,
  plane: PlaneTable,
): void {
  forEachCode(shape, plane, (i, bit) => {
    const digit = bytes[Math.floor(bit / 8)] * (81 / POWERS[bit % 8]) % 256;
    codes[i] = digit * 3 >> 8;
  });
}

/** Lets the words of all units take turns, where the layout says so. */
export function interleave(
  bytes: Uint8Array<ArrayBuffer>,
  shape: Geometry,
  layout: Layout,
): Uint8Array<ArrayBuffer> {
  return moveWords(bytes, shape, layout, false);
}

/** Puts the words of a unit together again. */
export function deinterleave(bytes: Uint8Array, shape: Geometry, layout: Layout): Uint8Array {
  return layout.interleave ? moveWords(bytes, shape, layout, true) : bytes;
}

function moveWords<T extends Uint8Array>(
  bytes: T,
  { units, stride }: Geometry,
  { interleave, id }: Layout,
  back: boolean,
): T {
  if (!interleave) return bytes;
  const width = interleave / 8;
  if (stride % width !== 0) {
    throw new LowbitError("FORMAT", `holds rows of whole ${interleave}-bit words`, { field: id });
  }
  const words = stride / width;
  const out = new Uint8Array(bytes.length);
  for (let unit = 0; unit < units; unit++) {
    for (let word = 0; word < words; word++) {
      const [apart, together] = [(word * units + unit) * width, (unit * words + word) * width];
      const [from, to] = back ? [apart, together] : [together, apart];
      for (let b = 0; b < width; b++) out[to + b] = bytes[from + b];
    }
  }
  return out as T;
}
