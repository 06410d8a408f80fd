/**
 * Scales of scales: how a scale that is itself quantised is stored and read back. All arithmetic is
 * f32, step by step, as `SecondLevel` in `spec/scheme.ts` says.
 *
 * @module
 */

import {
  type GridParameters,
  LowbitError,
  type Ranges,
  type ResolvedScheme,
  rootPower,
  type SecondLevel,
  type StoredScales,
} from "../spec/mod.ts";
import { numberFormat } from "./lookup.ts";
import { decodeElement, encodeElement, largestFinite } from "./reference.ts";
import { scaleOverflow, scaleStorage } from "./scale_storage.ts";

const fround = Math.fround;

/** Parameters from the scales (and minima) that the rule gave, by the second level of a scheme. */
export function secondLevel(
  scheme: ResolvedScheme,
  second: Exclude<SecondLevel, { kind: "outer" }>,
  raw: Float32Array,
  ranges: Ranges,
  minima?: Float32Array,
): GridParameters {
  switch (second.kind) {
    case "super_block":
      return superBlocks(scheme, second, raw, minima);
    case "double":
      return doubleScales(scheme, second.tiles, raw);
    case "tensor":
      return tensorScales(scheme, second, ranges);
  }
}

/**
 * The scales that stored ones mean, `tiles` of them, and the minima. What every reader uses.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { readScales } from "./second_level.ts";
 * const level = { kind: "super_block", tiles: 2, format: "float16", signed: false } as const;
 * const stored = { scales: Float32Array.of(3, 63), over: Float32Array.of(0.5) };
 * assertEquals([...readScales(level, stored).scales], [1.5, 31.5]);
 * ```
 */
export function readScales(
  second: SecondLevel,
  stored: StoredScales,
): { scales: Float32Array; zeros?: Float32Array } {
  const { scales, minima, over, overMinima, offset } = stored;
  switch (second.kind) {
    case "super_block": {
      const at = (i: number) => Math.floor(i / second.tiles);
      const zeros = minima?.map((m, i) => -fround(m * overMinima![at(i)]));
      return { scales: scales.map((s, i) => s * over[at(i)]), ...(zeros && { zeros }) };
    }
    case "double": {
      const mean = offset![0];
      return {
        scales: scales.map((s, i) => fround(s * over[Math.floor(i / second.tiles)]) + mean),
      };
    }
    case "tensor":
      return { scales: scales.map((s) => isReciprocal(second) ? s / over[0] : s * over[0]) };
    case "outer": {
      const columns = over.length;
      const out = new Float32Array(scales.length * columns);
      return { scales: out.map((_, i) => scales[Math.floor(i / columns)] * over[i % columns]) };
    }
  }
}

function superBlocks(
  scheme: ResolvedScheme,
  second: SecondLevel & { kind: "super_block" },
  raw: Float32Array,
  minima?: Float32Array,
): GridParameters {
  const format = numberFormat(scheme.scale.format);
  const store = scaleStorage(second.format);
  const blocks = Math.ceil(raw.length / second.tiles);
  const top = largestFinite(format);
  const level = (values: Float32Array, signed: boolean) => {
    const over = new Float32Array(blocks);
    const codes = new Float32Array(values.length);
    for (let b = 0; b < blocks; b++) {
      const [start, end] = [b * second.tiles, Math.min(values.length, (b + 1) * second.tiles)];
      let extreme = 0;
      for (let i = start; i < end; i++) {
        if (Math.abs(values[i]) > Math.abs(extreme)) extreme = values[i];
      }
      over[b] = store(fround(signed ? extreme / -(top + 1) : Math.abs(extreme) / top));
      if (!Number.isFinite(over[b])) throw scaleOverflow(scheme, over[b]);
      if (over[b] === 0) continue;
      for (let i = start; i < end; i++) {
        codes[i] = decodeElement(format, encodeElement(format, fround(values[i] / over[b])));
      }
    }
    return { codes, over };
  };
  const scale = level(raw, second.signed);
  const minimum = minima && level(minima.map((m) => -m), false);
  const stored: StoredScales = {
    scales: scale.codes,
    over: scale.over,
    ...(minimum && { minima: minimum.codes, overMinima: minimum.over }),
  };
  const read = readScales(second, stored);
  // A scale of zero has one value for all codes; they are computed as if it were one.
  return { ...read, second: stored, unrounded: read.scales.map((s) => s === 0 ? 1 : s) };
}

function doubleScales(scheme: ResolvedScheme, tiles: number, raw: Float32Array): GridParameters {
  const format = numberFormat(scheme.scale.format);
  const mean = fround(raw.reduce((sum, s) => sum + s, 0) / Math.max(1, raw.length));
  const shifted = raw.map((s) => s - mean);
  const over = new Float32Array(Math.ceil(raw.length / tiles));
  shifted.forEach((s, i) => {
    const run = Math.floor(i / tiles);
    over[run] = Math.max(over[run], Math.abs(s));
  });
  const scales = shifted.map((s, i) => {
    const d = over[Math.floor(i / tiles)];
    return d === 0 ? 0 : decodeElement(format, encodeElement(format, fround(s * fround(1 / d))));
  });
  const stored: StoredScales = { scales, over, offset: Float32Array.of(mean) };
  const read = readScales({ kind: "double", tiles }, stored);
  return {
    ...read,
    second: stored,
    ...(scheme.scale.codes_from === "unrounded" &&
      { unrounded: raw.map((s) => s === 0 ? 1 : s) }),
  };
}

function isReciprocal({ scale }: SecondLevel & { kind: "tensor" }): boolean {
  return scale.startsWith("G");
}

/** Scales under one of the tensor: the one that is given, or that of the largest magnitude. */
export function tensorScales(
  scheme: ResolvedScheme,
  second: SecondLevel & { kind: "tensor" },
  { min, max }: Ranges,
  given?: number,
): GridParameters {
  const absmax = max.map((high, i) => Math.max(-min[i], high));
  const amax = absmax.reduce((a, b) => Math.max(a, b), 0);
  const M = fround(scheme.scale.divisor ?? largestFinite(scheme.element));
  const divisor = fround(second.divisor);
  const quotient = isReciprocal(second)
    ? fround(divisor * fround(1 / amax))
    : fround(amax / divisor);
  const g = given !== undefined
    ? given
    : amax === 0 || quotient === 0 || !Number.isFinite(quotient)
    ? 1
    : quotient;
  const store = scaleStorage(scheme.scale.format);
  const largest = largestFinite(numberFormat(scheme.scale.format));
  const scaleOf = (a: number) => {
    switch (second.scale) {
      case "(a / M) / g":
        return fround(fround(a / M) / g);
      case "a / (M * g)":
        return fround(a / fround(M * g));
      case "G * (a / M)":
        return fround(g * fround(a / M));
    }
  };
  const scales = absmax.map((a) => {
    if (a === 0) return scheme.scale.all_zero;
    const stored = store(Math.min(largest, Math.max(second.smallest, scaleOf(a))));
    return stored === 0 ? scheme.scale.all_zero : stored;
  });
  const stored: StoredScales = { scales, over: Float32Array.of(g) };
  const read = readScales(second, stored);
  const factors = second.code === "x * ((1 / g) / s)"
    ? scales.map((s) => fround(1 / g) / s)
    : read.scales;
  return { ...read, second: stored, unrounded: factors };
}

/** The scales of CrossQuant: the products of a factor of the row and one of the column. */
export function outerScales(
  scheme: ResolvedScheme,
  alpha: number,
  { min, max, tiling }: Ranges,
): GridParameters {
  if (!tiling) throw new LowbitError("SHAPE", "needs the tiling", { field: scheme.id });
  const { rows, columns } = tiling;
  const rowMax = new Float32Array(rows);
  const columnMax = new Float32Array(columns);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++) {
      const a = Math.max(-min[r * columns + c], max[r * columns + c]);
      rowMax[r] = Math.max(rowMax[r], a);
      columnMax[c] = Math.max(columnMax[c], a);
    }
  }
  const M = scheme.scale.divisor ?? largestFinite(scheme.element);
  const store = scaleStorage(scheme.scale.format);
  const factor = (a: number, power: number, divisor: number) =>
    a === 0 ? 1 : store(fround(rootPower(a, power) / divisor));
  const stored: StoredScales = {
    scales: rowMax.map((a) => factor(a, alpha, M)),
    over: columnMax.map((a) => factor(a, 1 - alpha, 1)),
  };
  return { ...readScales({ kind: "outer", alpha }, stored), second: stored };
}
