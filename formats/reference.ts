/**
 * The normative reference: what every code means, and which code a number becomes, step by step.
 *
 * Slow and obvious on purpose. Everything faster (step tables, WASM) must equal it bit for bit.
 * A JavaScript number is rounded to f32 first; arithmetic on elements is exact in f64.
 *
 * @module
 */

import type { GridParameters, ResolvedScheme, Tiling } from "../spec/mod.ts";
import { decodeElement, encodeElement } from "./elements.ts";
import { roundHalfEven } from "./float_bits.ts";

export { decodeElement, decodeTable, encodeElement, encodeNan, largestFinite } from "./elements.ts";
export { bitsToFloat, exponentOf, floatBits, roundHalfEven } from "./float_bits.ts";

/**
 * Calls `visit` with the index of every element of a matrix and the index of its tile.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { tiling } from "../spec/mod.ts";
 * import { forEachElement } from "./reference.ts";
 * const tiles: number[] = [];
 * forEachElement(tiling({ kind: "group", size: 2 }, 2, 3), (_, tile) => tiles.push(tile));
 * assertEquals(tiles, [0, 0, 1, 2, 2, 3]);
 * ```
 */
export function forEachElement(
  tiling: Tiling,
  visit: (element: number, tile: number) => void,
): void {
  for (let row = 0; row < tiling.rows; row++) {
    const gridRow = Math.floor(row / tiling.tileRows);
    for (let column = 0; column < tiling.columns; column++) {
      const gridColumn = Math.floor(column / tiling.tileColumns);
      visit(row * tiling.columns + column, gridRow * tiling.gridColumns + gridColumn);
    }
  }
}

/**
 * The codes of a matrix under a scheme, given its parameters; one code an element.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { tiling } from "../spec/mod.ts";
 * import { resolveScheme } from "./lookup.ts";
 * import { encodeMatrix } from "./reference.ts";
 * const scheme = resolveScheme("int4_channel_sym"), parameters = { scales: Float32Array.of(0.5) };
 * const tiles = tiling(scheme.granularity, 1, 2);
 * const codes = encodeMatrix(scheme, Float32Array.of(1, -3.5), tiles, parameters);
 * assertEquals([...codes], [2, 9]);
 * ```
 */
export function encodeMatrix(
  scheme: ResolvedScheme,
  x: Float32Array,
  tiling: Tiling,
  parameters: GridParameters,
): Uint8Array {
  const codes = new Uint8Array(x.length);
  const scaled = scaledValue(scheme, parameters);
  const integerZero = scheme.zero_point?.kind === "int";
  const max = 2 ** scheme.element.bits - 1;
  forEachElement(tiling, (i, tile) => {
    const v = scaled(x[i], tile);
    codes[i] = integerZero
      ? Math.min(max, Math.max(0, roundHalfEven(v) + parameters.zeros![tile]))
      : encodeElement(scheme.element, v);
  });
  return codes;
}

/**
 * What the element format casts: a value less its minimum, scaled, plus its real zero point; each
 * step in f32.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { resolveScheme } from "./lookup.ts";
 * import { scaledValue } from "./reference.ts";
 * const scaled = scaledValue(resolveScheme("int4_channel_sym"), { scales: Float32Array.of(0.5, 2) });
 * assertEquals([scaled(3, 0), scaled(3, 1)], [6, 1.5]);
 * ```
 */
export function scaledValue(
  { scale: { rule, apply }, zero_point }: ResolvedScheme,
  parameters: GridParameters,
): (x: number, tile: number) => number {
  const factors = parameters.unrounded ?? parameters.scales;
  const zeros = parameters.unroundedZeros ?? parameters.zeros;
  const { fround } = Math;
  return (x, tile) => {
    let v = x;
    if (zero_point?.kind === "minimum") v = fround(v - zeros![tile]);
    const f = factors[tile];
    if (rule !== "none") {
      v = fround(apply === "divide" ? v / f : apply === "multiply" ? v * f : v * fround(1 / f));
    }
    if (zero_point?.kind === "float") v = fround(v + zeros![tile]);
    return v;
  };
}

/**
 * The values of the codes of a matrix: `(table[code] - zero) * scale`, or `table[code] * scale +
 * minimum`, each step in f32.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { tiling } from "../spec/mod.ts";
 * import { resolveScheme } from "./lookup.ts";
 * import { decodeMatrix } from "./reference.ts";
 * const scheme = resolveScheme("int4_channel_sym"), parameters = { scales: Float32Array.of(0.5) };
 * const tiles = tiling(scheme.granularity, 1, 2);
 * assertEquals([...decodeMatrix(scheme, Uint8Array.of(2, 9), tiles, parameters)], [1, -3.5]);
 * ```
 */
export function decodeMatrix(
  scheme: ResolvedScheme,
  codes: Uint8Array,
  tiling: Tiling,
  parameters: GridParameters,
): Float32Array {
  const y = new Float32Array(codes.length);
  forEachElement(tiling, (i, tile) => {
    let v = decodeElement(scheme.element, codes[i]);
    const { kind } = scheme.zero_point ?? {};
    if (kind === "int" || kind === "float") v = Math.fround(v - parameters.zeros![tile]);
    if (scheme.scale.rule !== "none") v = Math.fround(v * parameters.scales[tile]);
    if (kind === "minimum") v = Math.fround(v + parameters.zeros![tile]);
    y[i] = v;
  });
  return y;
}
