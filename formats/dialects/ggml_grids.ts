/**
 * The block types of ggml whose codes are vectors of a grid (IQ1, IQ2, IQ3): their values.
 *
 * @module
 */

import type { Kernels } from "../../spec/mod.ts";
import { layout as layoutOf } from "../lookup.ts";
import { unpackMatrix } from "../pack.ts";
import { GRID_TABLES } from "./ggml_grid_tables.ts";

/**
 * A block type of vectors. With d the scale of the block and s that of a group, an element g of a
 * vector means `d * (s + 1/2) * step * g`, with a sign or a shift of g; each step in f32.
 */
export interface GgmlGrid {
  /** The layout of the catalog. */
  layout: string;
  /** The grid, in `GRID_TABLES`. */
  grid: string;
  /** What a scale of a group is multiplied by. */
  step: number;
  /**
   * What the part `signs` means: `bits`, a bit for each of 8 elements, 1 for minus; `parity`, the
   * same with 7 bits, the eighth being 1 where their number is odd; or the shift of a group, which
   * a bit turns negative.
   */
  signs: "bits" | "parity" | { shift: number };
}

/** The block types of vectors, by their names in ggml. */
export const GGML_GRIDS: ReadonlyMap<string, GgmlGrid> = new Map([
  ["IQ2_XXS", { layout: "ggml_iq2_xxs", grid: "IQ2_XXS", step: 0.25, signs: "parity" }],
  ["IQ2_XS", { layout: "ggml_iq2_xs", grid: "IQ2_XS", step: 0.25, signs: "parity" }],
  ["IQ2_S", { layout: "ggml_iq2_s", grid: "IQ2_S", step: 0.25, signs: "bits" }],
  ["IQ3_XXS", { layout: "ggml_iq3_xxs", grid: "IQ3_XXS", step: 0.5, signs: "parity" }],
  ["IQ3_S", { layout: "ggml_iq3_s", grid: "IQ3_S", step: 2, signs: "bits" }],
  ["IQ1_S", { layout: "ggml_iq1_s", grid: "IQ1_S", step: 2, signs: { shift: 0.125 } }],
  ["IQ1_M", { layout: "ggml_iq1_m", grid: "IQ1_S", step: 2, signs: { shift: 0.125 } }],
]);

const tables = new Map<string, { size: number; values: Float32Array }>();

/** The vectors of a grid, one after the other. */
function gridVectors(name: string): { size: number; values: Float32Array } {
  let table = tables.get(name);
  if (!table) {
    const { size, values, codes } = GRID_TABLES[name];
    const bytes = Uint8Array.from(atob(codes), (c) => c.charCodeAt(0));
    const bits = values.length <= 4 ? 2 : 4;
    const each = 8 / bits;
    const vectors = Float32Array.from(
      { length: bytes.length * each },
      (_, i) => values[(bytes[Math.floor(i / each)] >> (i % each * bits)) & (2 ** bits - 1)],
    );
    tables.set(name, table = { size, values: vectors });
  }
  return table;
}

/** The values of whole blocks. */
export function decodeGrid(bytes: Uint8Array, type: GgmlGrid, kernels?: Kernels): Float32Array {
  const { fround } = Math;
  const layout = layoutOf(type.layout);
  const unit = layout.unit as { codes: number; bytes: number };
  const blocks = bytes.length / unit.bytes;
  const size = { rows: blocks, columns: unit.codes, bits: 0 };
  const { super_scale, scale, index, signs } = unpackMatrix(kernels, bytes, size, layout).parts!;
  const { size: width, values } = gridVectors(type.grid);
  const y = new Float32Array(blocks * unit.codes);
  const inGroup = y.length / scale!.length;
  const inSign = y.length / signs!.length;
  const shift = typeof type.signs === "object" ? type.signs.shift : undefined;
  const parity = type.signs === "parity";
  for (let from = 0; from < y.length; from += width) {
    const d = super_scale![Math.floor(from / unit.codes)];
    const s = fround(d * ((scale![Math.floor(from / inGroup)] + 0.5) * type.step));
    const sign = signs![Math.floor(from / inSign)];
    const vector = index![from / width] * width;
    if (shift !== undefined) {
      const delta = sign ? -shift : shift;
      for (let k = 0; k < width; k++) y[from + k] = s * (values[vector + k] + delta);
      continue;
    }
    const pattern = parity && isOdd(sign) ? sign | 128 : sign;
    for (let k = 0; k < width; k++) {
      const v = s * values[vector + k];
      y[from + k] = (pattern >> ((from + k) % 8)) & 1 ? -v : v;
    }
  }
  return y;
}

/** Whether an odd number of 7 bits is set. */
function isOdd(bits: number): boolean {
  let odd = bits ^ (bits >> 4);
  odd ^= odd >> 2;
  return ((odd ^ (odd >> 1)) & 1) === 1;
}
