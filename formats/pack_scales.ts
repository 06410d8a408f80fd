/**
 * Scales in the order of a layout: those that a kernel wants permuted, swizzled or transposed.
 *
 * A layout of scales has one plane of whole bytes, and `bits` of the width of a scale.
 *
 * @module
 */

import type { Layout } from "../spec/mod.ts";
import { decodeScales, encodeScales, scaleBytes } from "./containers/scales.ts";
import { forEachCode } from "./pack_walk.ts";
import { type Geometry, geometry, type MatrixSize } from "./planes.ts";

/** The grid of scales: a row for each row of tiles. */
export type ScaleGrid = Pick<MatrixSize, "rows" | "columns">;

/** Calls `visit` with the index of every scale and its byte in the layout. */
function forEachScale(
  shape: Geometry,
  { rows, columns }: ScaleGrid,
  { axis }: Layout,
  visit: (scale: number, byte: number) => void,
): void {
  for (const plane of shape.planes) {
    forEachCode(shape, plane, (i, bit) => {
      const turned = (i % rows) * columns + Math.floor(i / rows);
      visit(axis === "rows" ? turned : i, bit / 8);
    });
  }
}

/**
 * Bytes of scales (row-major) in a layout. Errors: `FORMAT` (the layout cannot hold them, or the
 * format cannot hold a scale).
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { layout } from "./lookup.ts";
 * import { packScales, unpackScales } from "./pack_scales.ts";
 * const grid = { rows: 64, columns: 1 }; // one scale a row, one group
 * const scales = Float32Array.from({ length: 64 }, (_, i) => i);
 * const form = layout("marlin_scales");
 * const bytes = packScales("float16", scales, grid, form);
 * assertEquals([...new Float16Array(bytes.buffer).slice(0, 4)], [0, 8, 16, 24]);
 * assertEquals(unpackScales("float16", bytes, grid, form), scales);
 * ```
 */
export function packScales(
  format: string,
  scales: Float32Array,
  grid: ScaleGrid,
  layout: Layout,
): Uint8Array<ArrayBuffer> {
  const width = scaleBytes(format);
  const shape = geometry({ ...grid, bits: 8 * width }, layout);
  const stored = encodeScales(format, scales);
  const bytes = new Uint8Array(shape.units * shape.stride);
  forEachScale(shape, grid, layout, (scale, byte) => {
    for (let b = 0; b < width; b++) bytes[byte + b] = stored[scale * width + b];
  });
  return bytes;
}

/**
 * Scales (row-major) from the bytes of a layout. Error `FORMAT` if the layout cannot hold them.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { layout } from "./lookup.ts";
 * import { unpackScales } from "./pack_scales.ts";
 * const bytes = new Uint8Array(512).fill(127); // 128 x 4 scales of 1
 * const grid = { rows: 2, columns: 2 };
 * const scales = unpackScales("float8_e8m0fnu", bytes, grid, layout("cublas_scales"));
 * assertEquals([...scales], [1, 1, 1, 1]);
 * ```
 */
export function unpackScales(
  format: string,
  bytes: Uint8Array,
  grid: ScaleGrid,
  layout: Layout,
): Float32Array<ArrayBuffer> {
  const width = scaleBytes(format);
  const shape = geometry({ ...grid, bits: 8 * width }, layout);
  const stored = new Uint8Array(grid.rows * grid.columns * width);
  forEachScale(shape, grid, layout, (scale, byte) => {
    for (let b = 0; b < width; b++) stored[scale * width + b] = bytes[byte + b];
  });
  return decodeScales(format, stored);
}
