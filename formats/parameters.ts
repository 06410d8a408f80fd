/**
 * Scales and zero points: how they come out of the extremes of the values that share them. All
 * arithmetic is f32, step by step, as written here.
 *
 * @module
 */

import type { GridParameters, NumberFormat, Ranges, ResolvedScheme } from "../spec/mod.ts";
import { scaleOverflow, scaleStorage } from "./scale_storage.ts";
import { outerScales, secondLevel } from "./second_level.ts";
import { bitsToFloat, exponentOf, floatBits, largestFinite, roundHalfEven } from "./reference.ts";

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
  const clipped = clipRanges(ranges, clip);
  const { rule, second } = scheme.scale;
  if (second?.kind === "outer") return outerScales(scheme, second.alpha, clipped);
  const count = ranges.min.length;
  const raw = new Float32Array(count).fill(1);
  const scaleOf = scaleRule(scheme);
  const { min, max } = clipped;
  const special = rule === "signed_extreme" ? clipped.extreme : clipped.mean;
  if (rule !== "none") {
    for (let i = 0; i < count; i++) {
      raw[i] = scaleOf(min[i], max[i], special ? special[i] : 0);
    }
  }
  const { zero_point } = scheme;
  const minima = zero_point?.kind !== "minimum"
    ? undefined
    : second
    ? clipped.min.map((m) => Math.min(m, 0))
    : clipped.min;
  if (second) return secondLevel(scheme, second, raw, clipped, minima);
  const parameters = storedScales(scheme, raw, minima);
  if (!zero_point || minima) return parameters;
  const store = zero_point.kind === "float"
    ? scaleStorage(scheme.scale.format)
    : clampedInteger(scheme);
  const zeros = new Float32Array(count);
  for (let i = 0; i < count; i++) {
    zeros[i] = store(fround(-Math.min(clipped.min[i], 0) / parameters.scales[i])) + 0;
  }
  return { ...parameters, zeros };
}

function clipRanges(ranges: Ranges, clip: number | Float32Array): Ranges {
  if (clip === 1) return ranges;
  const factor = typeof clip === "number" ? () => clip : (i: number) => clip[i];
  const times = (values: Float32Array) => values.map((value, i) => value * factor(i));
  const { min, max, extreme } = ranges;
  return {
    ...ranges,
    min: times(min),
    max: times(max),
    ...(extreme && { extreme: times(extreme) }),
  };
}

/** The integer zero points of a scheme, in the range of its codes. */
function clampedInteger(scheme: ResolvedScheme): (z: number) => number {
  const top = 2 ** scheme.element.bits - 1;
  return (z) => Math.min(top, Math.max(0, roundHalfEven(z)));
}

/** Scales, and minima if there are any, stored one by one. */
function storedScales(
  scheme: ResolvedScheme,
  raw: Float32Array,
  minima: Float32Array | undefined,
): GridParameters {
  const { format, codes_from, all_zero } = scheme.scale;
  const keep = codes_from === "unrounded";
  // The powers of two of MX rules are numbers of E8M0 already.
  const exact = scheme.scale.rule.startsWith("mx_") && format === "float8_e8m0fnu";
  const store = exact ? (value: number) => value : scaleStorage(format);
  const scales = raw.map((value) => {
    const stored = value === 0 ? 0 : store(value);
    if (!Number.isFinite(stored)) throw scaleOverflow(scheme, value);
    // A scale too small to store is a zero with its sign, where codes do not need it.
    return stored === 0 && (value === 0 || !keep) ? all_zero : stored;
  });
  const unrounded = keep ? raw.map((value) => value === 0 ? 1 : value) : divisors(scales);
  return {
    scales,
    ...(unrounded && { unrounded }),
    ...(keep && minima && { unroundedZeros: minima.slice() }),
    ...(minima && { zeros: minima.map(store) }),
  };
}

/** What to divide by where a scale is zero: then every code is that of zero. */
function divisors(scales: Float32Array): Float32Array | undefined {
  return scales.includes(0) ? scales.map((s) => s === 0 ? Infinity : s) : undefined;
}

/**
 * The scale of one tile before it is stored; 0 for values that are all zero. `special` is what a rule
 * needs beside the range: the extreme, or the mean magnitude.
 */
function scaleRule(
  scheme: ResolvedScheme,
): (min: number, max: number, special: number) => number {
  const { rule } = scheme.scale;
  const largest = largestFinite(scheme.element);
  const divisor = scheme.scale.divisor ?? largest;
  const levels = 2 ** scheme.element.bits - 1;
  const includeZero = scheme.zero_point?.kind !== "minimum" || scheme.scale.second !== undefined;
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
    case "absmean":
      return (_min, _max, mean) => mean;
    case "mx_floor":
    case "mx_even":
    case "mx_ceil":
    case "mx_rceil": {
      const exponent = sharedExponent(rule, scheme.element);
      return (min, max) => {
        const absmax = Math.max(-min, max);
        if (absmax === 0) return 0;
        return powerOfTwo(Math.min(127, Math.max(-127, exponent(absmax))));
      };
    }
    case "none":
      return () => 1;
  }
}

/** 2^k, for k of -127 to 127. */
function powerOfTwo(k: number): number {
  return bitsToFloat(k > -127 ? (k + 127) << 23 : 1 << 22);
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
