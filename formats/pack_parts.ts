/**
 * The parts of a block beside its codes: scales, minima and what else a layout places there.
 *
 * @module
 */

import {
  type Layout,
  type LayoutPart,
  LowbitError,
  type PartName,
  type Plane,
} from "../spec/mod.ts";
import { decodeScales, encodeScales, scaleBytes } from "./containers/scales.ts";
import { numberFormat } from "./lookup.ts";
import { type Geometry, planeTables } from "./planes.ts";

/** Writes the parts into the blocks, and gives the bytes back. Error `SHAPE` for missing values. */
export function placeParts(
  bytes: Uint8Array<ArrayBuffer>,
  values: Partial<Record<PartName, Float32Array>> = {},
  { units, stride }: Geometry,
  layout: Layout,
): Uint8Array<ArrayBuffer> {
  for (const part of layout.parts ?? []) {
    const wanted = units * part.count;
    const given = values[part.part];
    if (given?.length !== wanted) {
      throw new LowbitError(
        "SHAPE",
        `needs ${wanted} numbers ${part.part} for its ${units} blocks, not ${given?.length ?? 0}`,
        { field: layout.id },
      );
    }
    const { width, bits, planes } = planesOf(part, layout.id);
    const stored = encodeScales(part.format, given);
    const codeOf = (i: number) => {
      let code = 0;
      for (let b = width - 1; b >= 0; b--) code = code * 256 + stored[i * width + b];
      return part.offset ? (code + part.offset) % 2 ** bits : code;
    };
    for (const { low, bits: some, first, columns } of planes) {
      for (let j = 0; j < columns.length; j++) {
        const [from, shift] = [Math.floor(columns[j] / 8), columns[j] % 8];
        const whole = !part.offset && low % 8 === 0 && some % 8 === 0 && shift === 0;
        for (let u = 0, at = from, i = first + j; u < units; u++, at += stride, i += part.count) {
          if (whole) {
            const byte = i * width + low / 8;
            for (let b = 0; b < some / 8; b++) bytes[at + b] = stored[byte + b];
          } else {
            let value = Math.floor(codeOf(i) / 2 ** low) % 2 ** some * 2 ** shift;
            for (let k = at; value > 0; k++, value = Math.floor(value / 256)) {
              bytes[k] |= value % 256;
            }
          }
        }
      }
    }
  }
  return bytes;
}

/** Reads the parts of all blocks; undefined for a layout without. */
export function takeParts(
  bytes: Uint8Array,
  { units, stride }: Geometry,
  layout: Layout,
): Partial<Record<PartName, Float32Array>> | undefined {
  if (!layout.parts) return undefined;
  const values: Partial<Record<PartName, Float32Array>> = {};
  for (const part of layout.parts) {
    const { width, bits, planes } = planesOf(part, layout.id);
    const { count } = part;
    const codes = new Float64Array(units * count);
    for (const { low, bits: some, first, columns } of planes) {
      const [place, weight] = [2 ** low, 2 ** some];
      for (let j = 0; j < columns.length; j++) {
        const from = Math.floor(columns[j] / 8);
        const divisor = 2 ** (columns[j] % 8);
        const more = Math.ceil((columns[j] % 8 + some) / 8);
        for (let u = 0, at = from, i = first + j; u < units; u++, at += stride, i += count) {
          let word = bytes[at];
          for (let b = 1; b < more; b++) word += bytes[at + b] * 256 ** b;
          codes[i] += Math.floor(word / divisor) % weight * place;
        }
      }
    }
    const modulus = 2 ** bits;
    const back = modulus - part.offset % modulus;
    const stored = new Uint8Array(codes.length * width);
    for (let i = 0; i < codes.length; i++) {
      let code = part.offset ? (codes[i] + back) % modulus : codes[i];
      for (let b = 0; b < width; b++) {
        stored[i * width + b] = code % 256;
        code = Math.floor(code / 256);
      }
    }
    values[part.part] = decodeScales(part.format, stored);
  }
  return values;
}

/** Where the bits of a part are in the block; whole bytes in a row if the layout does not say. */
function planesOf(part: LayoutPart, field: string) {
  const { format, count, at } = part;
  const width = scaleBytes(format);
  const bits = format === "float32" ? 32 : numberFormat(format).bits;
  const unit = { rows: 1, columns: count };
  const wholeBytes: Plane = { low: 0, at, shift: 0, digits: [["*", 8 * width]], coding: "bits" };
  const planes = planeTables(part.planes ?? [wholeBytes], unit, bits, unit, field);
  return { width, bits, planes };
}
