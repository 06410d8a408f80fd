/**
 * Scales and zero points: how they come out of the extremes of the values that share them. All
 * arithmetic is f32, step by step, as written here.
 *
 * @module
 */

import {
  type GridParameters,
  LowbitError,
  type NumberFormat,
  type Ranges,
  type ResolvedScheme,
} from "../spec/mod.ts";
import { numberFormat } from "./lookup.ts";
import {
  decodeElement,
  encodeElement,
  exponentOf,
  floatBits,
  largestFinite,
  roundHalfEven,
} from "./reference.ts";

const fround = Math.fround;

/**
 * The scales (and zero points) of a scheme from the extremes of every tile. `clip` multiplies the
 * range: one factor for all, or one a tile. Throws `NON_FINITE` if an extreme is not finite or a
 * scale overflows the format that stores it.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { resolveScheme } from "./lookup.ts";
 * import { fitParameters } from "./parameters.ts";
 * const [min, max, extreme] = [Float32Array.of(-7), Float32Array.of(3), Float32Array.of(-7)];
 * const scheme = resolveScheme("int4_g64_sym"); // absmax / 7
 * assertEquals([...fitParameters(scheme, { min, max, extreme }).scales], [1]);
 * assertEquals([...fitParameters(scheme, { min, max, extreme }, 0.5).scales], [0.5]);
 * ```
 */
export function fitParameters(
  scheme: ResolvedScheme,
  ranges: Ranges,
  clip: number | Float32Array = 1,
): GridParameters {
  const { rule, format, codes_from, all_zero } = scheme.scale;
  const count = ranges.min.length;
  const scales = new Float32Array(count);
  const keepUnrounded = codes_from === "unrounded";
  const unrounded = keepUnrounded ? new Float32Array(count) : undefined;
  const zeros = scheme.zero_point ? new Float32Array(count) : undefined;
  const minimum = scheme.zero_point?.kind === "minimum";
  const unroundedZeros = keepUnrounded && minimum ? new Float32Array(count) : undefined;
  const store = scaleStorage(format);
  const scaleOf = scaleRule(scheme);
  const factor = typeof clip === "number" ? () => clip : (i: number) => clip[i];
  for (let i = 0; i < count; i++) {
    const c = factor(i);
    const min = fround(ranges.min[i] * c);
    const max = fround(ranges.max[i] * c);
    const raw = rule === "none" ? 1 : scaleOf(min, max, fround(ranges.extreme[i] * c));
    const stored = raw === 0 ? 0 : store(raw);
    if (!Number.isFinite(stored)) throw overflow(scheme, raw);
    // A scale that is too small to store is a zero with its sign, where codes do not need it.
    scales[i] = stored === 0 && (raw === 0 || !keepUnrounded) ? all_zero : stored;
    if (unrounded) unrounded[i] = raw === 0 ? 1 : raw;
    if (!zeros) continue;
    if (minimum) {
      zeros[i] = store(min);
      if (unroundedZeros) unroundedZeros[i] = min;
    } else {
      const top = 2 ** scheme.element.bits - 1;
      const z = roundHalfEven(fround(-Math.min(min, 0) / scales[i]));
      zeros[i] = Math.min(top, Math.max(0, z)) + 0;
    }
  }
  return {
    scales,
    ...(unrounded && { unrounded }),
    ...(unroundedZeros && { unroundedZeros }),
    ...(zeros && { zeros }),
  };
}

/** The scale of one tile before it is stored; 0 for values that are all zero. */
function scaleRule(
  scheme: ResolvedScheme,
): (min: number, max: number, extreme: number) => number {
  const { rule } = scheme.scale;
  const largest = largestFinite(scheme.element);
  const divisor = scheme.scale.divisor ?? largest;
  const levels = 2 ** scheme.element.bits - 1;
  const includeZero = scheme.zero_point?.kind !== "minimum";
  switch (rule) {
    case "absmax":
      return (min, max) => fround(Math.max(-min, max) / divisor);
    case "signed_extreme":
      return (_min, _max, extreme) => fround(extreme / -divisor) + 0;
    case "minmax":
      return (min, max) => {
        const [lo, hi] = includeZero ? [Math.min(min, 0), Math.max(max, 0)] : [min, max];
        return fround(fround(hi - lo) / levels);
      };
    case "mx_floor":
    case "mx_even":
    case "mx_ceil":
    case "mx_rceil": {
      const exponent = sharedExponent(rule, scheme.element);
      return (min, max) => {
        const absmax = Math.max(-min, max);
        if (absmax === 0) return 0;
        return 2 ** Math.min(127, Math.max(-127, exponent(absmax)));
      };
    }
    case "none":
      return () => 1;
  }
}

/** The exponent of an MX scale for a largest magnitude; all by bits of f32, so exactly. */
function sharedExponent(
  rule: "mx_floor" | "mx_even" | "mx_ceil" | "mx_rceil",
  element: NumberFormat,
): (absmax: number) => number {
  const largest = largestFinite(element);
  const top = exponentOf(largest);
  const ceil = (x: number) => exponentOf(x) + (2 ** exponentOf(x) === x ? 0 : 1);
  switch (rule) {
    case "mx_floor":
      return (absmax) => exponentOf(absmax) - top;
    case "mx_even": {
      const mantissa = element.family === "float" ? element.mantissa : element.bits - 2;
      const half = 2 ** (22 - mantissa);
      return (absmax) => ((floatBits(absmax) + half) >>> 23) - 127 - top;
    }
    case "mx_ceil":
      return (absmax) => ceil(absmax) - top;
    case "mx_rceil":
      // 2^k >= a / M holds exactly when 2^k M >= a, and the product is exact.
      return (absmax) => {
        const guess = exponentOf(absmax) - top;
        return largest * 2 ** guess >= absmax ? guess : guess + 1;
      };
  }
}

/**
 * What a scale becomes when it is stored in a number format and read back.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { scaleStorage } from "./parameters.ts";
 * assertEquals(scaleStorage("bfloat16")(1.001), 1);
 * assertEquals(scaleStorage("float8_e8m0fnu")(0.5), 0.5);
 * ```
 */
export function scaleStorage(id: string): (scale: number) => number {
  if (id === "float32") return fround;
  const format = numberFormat(id);
  return (scale) => decodeElement(format, encodeElement(format, scale));
}

function overflow(scheme: ResolvedScheme, scale: number): LowbitError {
  return new LowbitError(
    "NON_FINITE",
    `a scale of ${scale} cannot be stored in ${scheme.scale.format}`,
    { field: scheme.id, advice: "check the weights, or store the scales in float32" },
  );
}
