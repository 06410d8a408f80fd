/**
 * Checking anyone's layout: that codes come back from their bytes, and no bit is written twice.
 *
 * @module
 */

import { type Kernels, type Layout, LowbitError, type PartName } from "../spec/mod.ts";
import { type Check, matrixCheck } from "./check_format.ts";
import { numberFormat } from "./lookup.ts";
import {
  type MatrixSize,
  packedBytes,
  type PackedParts,
  packMatrix,
  referencePack,
  referenceUnpack,
  unpackMatrix,
} from "./pack.ts";
import { decodeTable } from "./reference.ts";

const ROWS = [1, 2, 4, 8, 16, 32, 64, 128];
const COLUMNS = [8, 32, 33, 64, 128, 256, 512];

/**
 * Checks a layout on all sizes that it holds of a list: unpacking gives back codes and parts, fast
 * and reference bytes are the same, and all bits of all codes lie apart.
 *
 * @example
 * ```ts
 * import { assert } from "@std/assert";
 * import { referenceKernels } from "../kernels-wasm/reference.ts";
 * import { checkLayout } from "./check_layout.ts";
 * import { layout } from "./lookup.ts";
 * assert(checkLayout(referenceKernels(), layout("ggml_q4_1")).every(({ ok }) => ok));
 * ```
 */
export function checkLayout(kernels: Kernels, layout: Layout): Check[] {
  const found = { back: [] as string[], fast: [] as string[], apart: [] as string[] };
  let cases = 0;
  for (const bits of layout.bits.filter((width) => width <= 8)) {
    for (const rows of ROWS) {
      for (const columns of COLUMNS) {
        const size = { rows, columns, bits };
        const packed = sample(size, layout);
        if (!packed) continue;
        cases++;
        const where = `${rows} x ${columns}, ${bits} bits`;
        const bytes = referencePack(packed, size, layout);
        if (!samePacked(referenceUnpack(bytes, size, layout), packed)) found.back.push(where);
        const fast = packMatrix(kernels, packed, size, layout);
        const same = fast.every((byte, i) => byte === bytes[i]) &&
          samePacked(unpackMatrix(kernels, bytes, size, layout), packed);
        if (!same) found.fast.push(where);
        if (rows * columns <= 2048 && !bitsApart(size, layout)) found.apart.push(where);
      }
    }
  }
  return [
    matrixCheck("codes and parts come back", found.back, cases),
    matrixCheck("fast paths equal the reference", found.fast, cases),
    matrixCheck("all codes lie apart", found.apart, cases),
  ];
}

/** Codes and parts for a size, or undefined if the layout does not hold it. */
function sample(size: MatrixSize, layout: Layout): PackedParts | undefined {
  try {
    packedBytes(size, layout);
  } catch (error) {
    if (error instanceof LowbitError && error.code === "FORMAT") return undefined;
    throw error;
  }
  const base3 = layout.planes?.some(({ coding }) => coding === "base3");
  const modulus = base3 ? 3 : 2 ** size.bits;
  const count = size.rows * size.columns;
  const codes = Uint8Array.from({ length: count }, (_, i) => (i * 7 + (i >> 3)) % modulus);
  if (!layout.parts || layout.unit.kind !== "block") return { codes };
  const blocks = count / layout.unit.codes;
  const parts: Partial<Record<PartName, Float32Array>> = {};
  for (const { part, format, count: each } of layout.parts) {
    const small = format !== "float32" && numberFormat(format).bits <= 8;
    const table = small
      ? decodeTable(numberFormat(format)).filter(Number.isFinite)
      : Float32Array.of(0.5, -3, 0.25, 1024, 0);
    const length = blocks * each;
    parts[part] = Float32Array.from({ length }, (_, i) => table[(i * 5 + 1) % table.length]);
  }
  return { codes, parts };
}

function samePacked(a: PackedParts, b: PackedParts): boolean {
  const same = (x: ArrayLike<number> = [], y: ArrayLike<number> = []) =>
    x.length === y.length && Array.from(x).every((v, i) => Object.is(v, y[i]));
  const names = Object.keys({ ...a.parts, ...b.parts }) as PartName[];
  return same(a.codes, b.codes) && names.every((name) => same(a.parts?.[name], b.parts?.[name]));
}

/** Whether a change of any one code leaves all others as they were. */
function bitsApart(size: MatrixSize, layout: Layout): boolean {
  const base3 = layout.planes?.some(({ coding }) => coding === "base3");
  const packed = sample(size, layout)!;
  const count = packed.codes.length;
  const modulus = base3 ? 3 : 2 ** size.bits;
  for (let i = 0; i < count; i += 1 + Math.floor(count / 40)) {
    const changed = packed.codes.slice();
    changed[i] = (changed[i] + 1) % modulus;
    const bytes = referencePack({ ...packed, codes: changed }, size, layout);
    const { codes } = referenceUnpack(bytes, size, layout);
    if (!codes.every((code, j) => code === changed[j])) return false;
  }
  return true;
}
