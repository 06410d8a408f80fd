/**
 * The codes of one scheme under another: signed and unsigned integers, wider codes, finer or merged
 * groups, scales in another format. A conversion that keeps codes is a change of scheme like this,
 * and then of layout.
 *
 * @module
 */

import {
  type Granularity,
  type QuantizedTensor,
  type ResolvedScheme,
  tiling,
} from "../spec/mod.ts";
import { scaleStorageType } from "./containers/scales.ts";
import { integerScheme } from "./dialects/packed.ts";
import { numberFormat } from "./lookup.ts";
import { decodeTable } from "./reference.ts";
import { scaleStorage } from "./scale_storage.ts";

/** A tensor under another scheme, or why its codes cannot be kept. */
export type Regridded = { tensor: QuantizedTensor; rounded: boolean } | { problem: string };

/** Formats of scales, in the order of preference after the tensor's own. */
const SCALE_FORMATS = ["float16", "bfloat16", "float32"];

/** Sizes of groups that programs have kernels for, the largest first. */
const GROUPS = [128, 64, 32, 16];

/** Number formats with the values of another one, times a factor. */
const SAME_VALUES: readonly (readonly string[])[] = [
  ["float4_e2m1fn", "ggml_e2m1"],
  ["nf4"],
];

/**
 * The schemes that may hold the codes of a tensor, the likeliest first; a target takes the first
 * that fits it. Whether one really holds them is found out by {@linkcode regrid}.
 *
 * @example
 * ```ts
 * import { assert } from "@std/assert";
 * import { resolveScheme } from "./lookup.ts";
 * import { regridSchemes } from "./regrid.ts";
 * const found = regridSchemes(resolveScheme("q4_0"), [64, 128]);
 * assert(found.some(({ element, zero_point }) => element.id === "uint4" && zero_point));
 * ```
 */
export function regridSchemes(
  from: ResolvedScheme,
  [rows, columns]: readonly [number, number],
): ResolvedScheme[] {
  const elements = elementsFor(from);
  const formats = [...new Set([from.scale.format, ...SCALE_FORMATS])]
    .filter((format) => scaleStorageType(format) === format || format === from.scale.format);
  const found: ResolvedScheme[] = [from];
  const { granularity } = from;
  for (const element of elements) {
    for (const cut of granularitiesFor(granularity, rows, columns)) {
      for (const format of formats) found.push(variant(from, element, cut, format));
    }
  }
  return found;
}

/** An element of a variant: an integer of some bits, or a number format. */
type Element = { bits: number; symmetric: boolean } | { id: string };

function elementsFor({ element, zero_point }: ResolvedScheme): Element[] {
  if (element.family === "int" && element.fraction === 0) {
    const widths = [element.bits, 4, 8].filter((bits, i) => bits > element.bits || i === 0);
    return widths.flatMap((bits) => [
      { bits, symmetric: zero_point === undefined },
      { bits, symmetric: zero_point !== undefined },
    ]);
  }
  const same = SAME_VALUES.find((ids) => ids.includes(element.id)) ?? [element.id];
  return [element.id, ...same.filter((id) => id !== element.id)].map((id) => ({ id }));
}

function granularitiesFor(own: Granularity, rows: number, columns: number): Granularity[] {
  const { tileColumns, tileRows } = tiling(own, rows, columns);
  const found: Granularity[] = [];
  const add = (granularity: Granularity) => {
    const key = JSON.stringify(granularity);
    if (!found.some((other) => JSON.stringify(other) === key)) found.push(granularity);
  };
  if (tileColumns >= columns && tileRows === 1) add({ kind: "channel" });
  if (own.kind !== "group" || own.size < columns) add(own);
  for (const size of GROUPS) {
    if (tileColumns % size === 0 && tileRows === 1) add({ kind: "group", size });
  }
  if (own.kind === "tensor" || tileRows > 1) {
    add({ kind: "channel" });
    for (const size of GROUPS) if (tileColumns % size === 0) add({ kind: "group", size });
  }
  // Groups of one column come from an activation order; where that is none, groups are longer.
  if (tileColumns < 16) { for (const size of GROUPS) add({ kind: "group", size }); }
  return found;
}

function variant(
  from: ResolvedScheme,
  element: Element,
  granularity: Granularity,
  format: string,
): ResolvedScheme {
  if ("bits" in element) {
    const { bits, symmetric } = element;
    const source = from.source ?? from.id;
    return integerScheme({ dialect: "kept", bits, symmetric, granularity, format, source });
  }
  const { second: _none, ...scale } = from.scale;
  const single = from.scale.second === undefined || format !== from.scale.format;
  return {
    ...from,
    element: numberFormat(element.id),
    granularity,
    scale: single ? { ...scale, format } : from.scale,
  };
}

/**
 * The codes and parameters of a tensor under another scheme. Values stay the same where that is
 * possible; `rounded` says that scales were rounded to the format of the scheme.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { resolveScheme } from "./lookup.ts";
 * import { regrid } from "./regrid.ts";
 * const scheme = resolveScheme("int4_channel_sym");
 * const parameters = { scales: Float32Array.of(0.5) };
 * const tensor = { shape: [1, 2] as [number, number], scheme, codes: Uint8Array.of(1, 15), parameters };
 * const made = regrid(tensor, resolveScheme("int4_channel_asym"));
 * assertEquals("tensor" in made && [...made.tensor.codes], [9, 7]); // 8 is the zero point
 * ```
 */
export function regrid(tensor: QuantizedTensor, to: ResolvedScheme): Regridded {
  const { scheme: from, shape: [rows, columns], codes, parameters } = tensor;
  if (from === to || JSON.stringify(from) === JSON.stringify(to)) return { tensor, rounded: false };
  if (to.scale.second) {
    const same = JSON.stringify(to.scale.second) === JSON.stringify(from.scale.second) &&
      JSON.stringify(to.granularity) === JSON.stringify(from.granularity);
    if (!same) return { problem: `has no scales of scales as ${to.id} has` };
  }
  const grid = regridded(from, to, rows, columns, parameters);
  if ("problem" in grid) return grid;
  const values = decodeTable(from.element);
  const wanted = decodeTable(to.element);
  const factor = factorOf(values, wanted);
  if (factor === undefined) return { problem: `${to.element.id} has other values` };
  const codeOf = new Map<number, number>();
  wanted.forEach((value, code) => {
    if (!codeOf.has(value) || Object.is(value, 0)) codeOf.set(value, code);
  });
  const store = scaleStorage(to.scale.format);
  let rounded = false;
  const scales = to.scale.second ? grid.scales : grid.scales.map((scale) => {
    const stored = store(Math.fround(scale / factor));
    rounded ||= stored !== scale / factor;
    return stored;
  });
  if (scales.some((scale) => !Number.isFinite(scale))) {
    return { problem: `has scales beyond ${to.scale.format}` };
  }
  const out = new Uint8Array(codes.length);
  const source = tiling(from.granularity, rows, columns);
  const target = tiling(to.granularity, rows, columns);
  const shifts = integerShift(from, to);
  let zeros: Float32Array | undefined;
  if (to.zero_point) zeros = new Float32Array(scales.length);
  const sourceZero = parameters.zeros;
  for (let row = 0; row < rows; row++) {
    const sourceRow = Math.floor(row / source.tileRows) * source.gridColumns;
    const targetRow = Math.floor(row / target.tileRows) * target.gridColumns;
    for (let column = 0; column < columns; column++) {
      const i = row * columns + column;
      const zero = sourceZero?.[sourceRow + Math.floor(column / source.tileColumns)] ?? 0;
      if (!Number.isInteger(zero)) return { problem: "has zero points that are no integers" };
      const shifted = shifts ? shifts(zero) : zero;
      if (zeros) zeros[targetRow + Math.floor(column / target.tileColumns)] = shifted;
      const code = codeOf.get(values[codes[i]] * factor + shifted - zero);
      if (code === undefined) return { problem: `has values beyond the codes of ${to.element.id}` };
      out[i] = code;
    }
  }
  const { shape, side } = tensor;
  const made = { shape, scheme: to, codes: out, ...(side && { side }) };
  const second = to.scale.second ? parameters.second : undefined;
  return {
    rounded,
    tensor: {
      ...made,
      parameters: { scales, ...(zeros && { zeros }), ...(second && { second }) },
    },
  };
}

/** The zero point of the new scheme for one of the old; undefined where there is none to shift. */
function integerShift(from: ResolvedScheme, to: ResolvedScheme): (zero: number) => number {
  if (!to.zero_point) return () => 0;
  if (from.zero_point) return (zero) => zero;
  const middle = 2 ** (to.element.bits - 1);
  return () => middle;
}

/** What the values of one table are to be multiplied with to be those of the other. */
function factorOf(values: Float32Array, wanted: Float32Array): number | undefined {
  const largest = (table: Float32Array) =>
    table.reduce(
      (most, value) => Number.isFinite(value) ? Math.max(most, Math.abs(value)) : most,
      0,
    );
  const integers = [values, wanted].every((table) => table.every(Number.isInteger));
  const ratio = largest(wanted) / largest(values);
  // Integers mean the same at any width; formats of floats must be the same up to a power of two.
  if (integers && values.length !== wanted.length) return 1;
  if (integers && values.some((value) => value < 0) !== wanted.some((value) => value < 0)) return 1;
  if (!Number.isInteger(Math.log2(ratio))) return integers ? 1 : undefined;
  const set = new Set(wanted);
  const fine = values.every((value) => !Number.isFinite(value) || set.has(value * ratio));
  return fine ? ratio : integers ? 1 : undefined;
}

/** Scales on the new grid; a problem where a new tile has several. */
function regridded(
  from: ResolvedScheme,
  to: ResolvedScheme,
  rows: number,
  columns: number,
  { scales, zeros }: QuantizedTensor["parameters"],
): { scales: Float32Array } | { problem: string } {
  if (from.zero_point && from.zero_point.kind === "minimum") {
    return { problem: "has minima, which are no zero points" };
  }
  const a = tiling(from.granularity, rows, columns);
  const b = tiling(to.granularity, rows, columns);
  const made = new Float32Array(b.gridRows * b.gridColumns);
  const origin = new Int32Array(made.length).fill(-1);
  const stepRows = Math.min(a.tileRows, b.tileRows);
  const stepColumns = Math.min(a.tileColumns, b.tileColumns);
  for (let row = 0; row < rows; row += stepRows) {
    for (let column = 0; column < columns; column += stepColumns) {
      const old = Math.floor(row / a.tileRows) * a.gridColumns + Math.floor(column / a.tileColumns);
      const tile = Math.floor(row / b.tileRows) * b.gridColumns +
        Math.floor(column / b.tileColumns);
      const first = origin[tile];
      if (first < 0) {
        origin[tile] = old;
        made[tile] = scales[old];
      } else if (
        first !== old && (scales[first] !== scales[old] || zeros?.[first] !== zeros?.[old])
      ) return { problem: "has several scales where one is stored" };
    }
  }
  return { scales: made };
}
