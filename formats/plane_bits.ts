/**
 * Bits of codes between bytes and arrays, one plane after the other, from tables of places.
 *
 * @module
 */

import type { Geometry, PlaneTable } from "./planes.ts";

/** Weights of the base-3 digits of a byte, first digit first. */
export const POWERS: readonly number[] = [81, 27, 9, 3, 1];

/** Calls `visit` with every row of every unit: its first code, its first bit, how many codes. */
export function forEachRow(
  { unit, units, stride, rows, columns }: Geometry,
  plane: PlaneTable,
  visit: (code: number, bit: number, width: number) => void,
): void {
  const across = Math.ceil(columns / unit.columns);
  for (let u = 0; u < units; u++) {
    const row = Math.floor(u / across) * unit.rows;
    const column = (u % across) * unit.columns + plane.first;
    const width = Math.min(plane.columns.length, columns - column);
    for (let i = 0; i < Math.min(unit.rows, rows - row); i++) {
      visit((row + i) * columns + column, u * stride * 8 + plane.rows[i], width);
    }
  }
}

/**
 * Calls `visit` with every row of a plane: its first code, how many it has, its first byte, and the
 * byte and the bit of each of its codes from there.
 */
function forEachPlace(
  shape: Geometry,
  plane: PlaneTable,
  visit: (code: number, width: number, at: number, bytes: Uint32Array, bits: Uint8Array) => void,
): void {
  const bits = Uint8Array.from(plane.columns, (position) => position % 8);
  const bytes = Uint32Array.from(plane.columns, (position) => Math.floor(position / 8));
  // Rows that start within a byte have tables of their own.
  const others = new Map<number, [Uint32Array, Uint8Array]>([[0, [bytes, bits]]]);
  forEachRow(shape, plane, (code, bit, width) => {
    const inside = bit % 8;
    let tables = others.get(inside);
    if (!tables) {
      const moved = plane.columns.map((position) => position + inside);
      tables = [
        Uint32Array.from(moved, (position) => Math.floor(position / 8)),
        Uint8Array.from(moved, (position) => position % 8),
      ];
      others.set(inside, tables);
    }
    visit(code, width, (bit - inside) / 8, ...tables);
  });
}

/** Adds the bits of a plane to the codes. */
export function readPlane(
  codes: Uint8Array,
  source: Uint8Array,
  shape: Geometry,
  plane: PlaneTable,
): void {
  const { low, base3 } = plane;
  const mask = 2 ** plane.bits - 1;
  forEachPlace(shape, plane, (code, width, from, bytes, bits) => {
    if (base3) {
      for (let j = 0; j < width; j++) {
        codes[code + j] = (source[from + bytes[j]] * (81 / POWERS[bits[j]]) & 255) * 3 >> 8;
      }
      return;
    }
    for (let j = 0; j < width; j++) {
      const byte = from + bytes[j];
      let word = source[byte] >> bits[j];
      if (bits[j] + plane.bits > 8) word |= source[byte + 1] << (8 - bits[j]);
      codes[code + j] |= (word & mask) << low;
    }
  });
}

/** Adds the bits of a plane of codes to zeroed bytes. */
export function writePlane(
  bytes: Uint8Array,
  codes: Uint8Array,
  shape: Geometry,
  plane: PlaneTable,
): void {
  const mask = 2 ** plane.bits - 1;
  forEachPlace(shape, plane, (code, width, from, places, bits) => {
    if (plane.base3) {
      for (let j = 0; j < width; j++) {
        bytes[from + places[j]] += codes[code + j] % 3 * POWERS[bits[j]];
      }
      for (const place of new Set(places)) {
        bytes[from + place] = Math.ceil(bytes[from + place] * 256 / 243);
      }
      return;
    }
    for (let j = 0; j < width; j++) {
      const value = ((codes[code + j] >> plane.low) & mask) << bits[j];
      bytes[from + places[j]] |= value;
      if (value > 255) bytes[from + places[j] + 1] |= value >> 8;
    }
  });
}
