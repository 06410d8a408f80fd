/**
 * The normative reference for one number: what a code means, and which code a number becomes.
 *
 * @module
 */

import {
  type Cast,
  type CodebookFormat,
  type FloatFormat,
  type IntFormat,
  LowbitError,
  type NumberFormat,
} from "../spec/mod.ts";
import { exponentOf, isNegative, needRandom, roundToInteger } from "./float_bits.ts";
import { generated } from "./generators.ts";

/**
 * The value of every code of a format, in code order; `2^bits` entries. Codes that mean no number
 * are NaN; unused codes of a codebook are NaN as well.
 *
 * @example
 * ```ts
 * import { decodeTable } from "./elements.ts";
 * import { numberFormat } from "./lookup.ts";
 * decodeTable(numberFormat("float4_e2m1fn")).slice(0, 8); // 0, 0.5, 1, 1.5, 2, 3, 4, 6
 * ```
 */
export function decodeTable(format: NumberFormat): Float32Array {
  return Float32Array.from({ length: 2 ** format.bits }, (_, code) => decodeElement(format, code));
}

/**
 * The value of one code, exactly.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { decodeElement } from "./elements.ts";
 * import { numberFormat } from "./lookup.ts";
 * assertEquals(decodeElement(numberFormat("int4"), 0b1000), -8);
 * assertEquals(decodeElement(numberFormat("float4_e2m1fn"), 0b1111), -6);
 * ```
 */
export function decodeElement(format: NumberFormat, code: number): number {
  switch (format.family) {
    case "int": {
      const half = 2 ** (format.bits - 1);
      if (format.range === "symmetric" && code === half) return NaN;
      const signed = format.signed && code >= half;
      return (signed ? code - 2 ** format.bits : code) / 2 ** format.fraction;
    }
    case "float":
      return decodeFloat(format, code);
    case "codebook": {
      const value = format.values[code] ?? null;
      return value === null ? NaN : Math.fround(value);
    }
    case "generated":
      return decodeElement(generated(format), code);
  }
}

function decodeFloat(format: FloatFormat, code: number): number {
  const { exponent, mantissa, bias, signed } = format;
  const sign = signed && code >= 2 ** (format.bits - 1) ? -1 : 1;
  const magnitude = signed ? code % 2 ** (format.bits - 1) : code;
  const e = Math.floor(magnitude / 2 ** mantissa);
  const m = magnitude % 2 ** mantissa;
  const top = e === 2 ** exponent - 1;
  if (format.nan === "negative_zero" && sign < 0 && magnitude === 0) return NaN;
  if (format.nan === "all_ones" && top && m === 2 ** mantissa - 1) return NaN;
  if (format.infinities === "ieee" && top && m === 0) return sign * Infinity;
  if (format.infinities === "top" && magnitude === topCode(format)) return sign * Infinity;
  if (format.nan === "ieee" && top && m !== 0) return NaN;
  if (format.subnormals && e === 0) return sign * 2 ** (1 - bias - mantissa) * m;
  return sign * 2 ** (e - bias - mantissa) * (2 ** mantissa + m);
}

/**
 * The largest finite magnitude that a format can represent.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { largestFinite } from "./elements.ts";
 * import { numberFormat } from "./lookup.ts";
 * const ids = ["int4", "float4_e2m1fn", "float8_e4m3fn", "nf4"];
 * assertEquals(ids.map((id) => largestFinite(numberFormat(id))), [7, 6, 448, 1]);
 * ```
 */
export function largestFinite(format: NumberFormat): number {
  switch (format.family) {
    case "int":
      return (2 ** (format.bits - (format.signed ? 1 : 0)) - 1) / 2 ** format.fraction;
    case "float":
      return decodeFloat(format, largestCode(format));
    case "codebook":
      return Math.max(...sortedValues(format).map(({ v }) => Math.abs(v)));
    case "generated":
      return largestFinite(generated(format));
  }
}

/** The largest magnitude that is no NaN. */
function topCode(format: FloatFormat): number {
  return 2 ** (format.exponent + format.mantissa) - (format.nan === "all_ones" ? 2 : 1);
}

/** The code of the largest finite magnitude: NaNs and infinities are the codes above it. */
function largestCode(format: FloatFormat): number {
  if (format.infinities === "top") return topCode(format) - 1;
  if (format.infinities === "none" && format.nan !== "ieee") return topCode(format);
  return (2 ** format.exponent - 1) * 2 ** format.mantissa - 1;
}

/** The code of an infinity, without its sign. */
function infinityCode(format: FloatFormat): number {
  return format.infinities === "top"
    ? topCode(format)
    : (2 ** format.exponent - 1) * 2 ** format.mantissa;
}

/**
 * The code of a number under a cast; the format's own cast if none is given. Throws `NON_FINITE`
 * for NaN where the cast refuses it.
 *
 * @example
 * ```ts
 * import { encodeElement } from "./elements.ts";
 * import { numberFormat } from "./lookup.ts";
 * encodeElement(numberFormat("float4_e2m1fn"), 2.5); // 4: the tie goes to 2, whose code is even
 * ```
 */
export function encodeElement(
  format: NumberFormat,
  x: number,
  cast: Cast = format.cast,
  random?: number,
): number {
  const value = Math.fround(x);
  if (Number.isNaN(value)) return encodeNan(format, cast, false);
  switch (format.family) {
    case "int":
      return encodeInt(format, value, cast, random);
    case "float":
      return encodeFloat(format, value, cast, random);
    case "codebook":
      return encodeCodebook(format, value, cast, random);
    case "generated":
      return encodeCodebook(generated(format), value, cast, random);
  }
}

/**
 * The code of a NaN with this sign; JavaScript numbers do not keep the sign of a NaN reliably.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { encodeNan } from "./elements.ts";
 * import { numberFormat } from "./lookup.ts";
 * const format = numberFormat("float8_e4m3fn");
 * assertEquals([false, true].map((sign) => encodeNan(format, format.cast, sign)), [0x7f, 0xff]);
 * ```
 */
export function encodeNan(format: NumberFormat, cast: Cast, negative: boolean): number {
  if (cast.nan === "refuse") {
    throw new LowbitError("NON_FINITE", "NaN has no code", {
      field: format.id,
      advice: "remove the NaN, or choose a cast that says what it becomes",
    });
  }
  if (cast.nan === "zero" || format.family !== "float") return encodeElement(format, 0, cast);
  return nanCode(format, negative);
}

/** The canonical NaN of a float format; the sign is kept where the format has signed NaNs. */
function nanCode(format: FloatFormat, negative: boolean): number {
  const signBit = format.signed ? 2 ** (format.bits - 1) : 0;
  if (format.nan === "negative_zero") return signBit;
  const top = (2 ** format.exponent - 1) * 2 ** format.mantissa;
  const payload = format.nan === "ieee" ? 2 ** (format.mantissa - 1) : 2 ** format.mantissa - 1;
  return top + payload + (negative ? signBit : 0);
}

function encodeInt(format: IntFormat, value: number, cast: Cast, random?: number): number {
  const absolute = !format.signed && cast.negative === "absolute";
  const scaled = (absolute ? Math.abs(value) : value) * 2 ** format.fraction;
  const half = 2 ** (format.bits - 1);
  const max = format.signed ? half - 1 : 2 * half - 1;
  const min = format.signed ? (format.range === "symmetric" ? -max : -half) : 0;
  const rounded = cast.rounding === "biased_floor"
    ? Math.floor(Math.fround(scaled + cast.bias!)) - (format.signed ? half : 0)
    : roundToInteger(scaled, cast.rounding, (lower) => lower % 2 === 0, random);
  if (cast.overflow === "wrap" && Number.isFinite(rounded)) {
    return ((rounded % (2 * half)) + 2 * half) % (2 * half);
  }
  const clamped = Math.min(max, Math.max(min, rounded));
  return clamped < 0 ? clamped + 2 * half : clamped + 0;
}

function encodeFloat(format: FloatFormat, value: number, cast: Cast, random?: number): number {
  const { mantissa, bias, signed } = format;
  const negative = isNegative(value);
  const signBit = signed && negative ? 2 ** (format.bits - 1) : 0;
  if (negative && !signed && value !== 0 && cast.negative !== "absolute") {
    const policy = cast.negative ?? (format.nan === "none" ? "zero" : "nan");
    return policy === "nan" ? nanCode(format, false) : encodeFloat(format, 0, cast, random);
  }
  const a = Math.abs(value);
  const max = largestFinite(format);
  if (a === Infinity) return beyond(format, cast.infinity, negative);
  if (a === 0 && !format.subnormals) {
    const policy = cast.zero ?? (format.nan === "none" ? "smallest" : "nan");
    return policy === "nan" ? nanCode(format, false) : 0;
  }
  // The spacing of the format's numbers around `a`, and `a` in units of it; both exact.
  const smallestExponent = format.subnormals ? 1 - bias : -bias;
  const e = Math.max(exponentOf(a), smallestExponent);
  const unit = 2 ** (e - mantissa);
  const magnitudeOf = (multiple: number) => (e + bias - 1) * 2 ** mantissa + multiple;
  const rounded = roundToInteger(
    negative ? -a / unit : a / unit,
    cast.rounding,
    (lower) => magnitudeOf(Math.abs(lower)) % 2 === 0,
    random,
  );
  const result = Math.abs(rounded) * unit;
  if (result > max) return beyond(format, cast.overflow, negative);
  const magnitude = Math.max(0, magnitudeOf(Math.abs(rounded)));
  if (result === 0) {
    if (!format.subnormals) return 0;
    return keepsSign(cast, value) && format.nan !== "negative_zero" ? signBit : 0;
  }
  return magnitude + signBit;
}

/** Whether a negative number that becomes zero gets the code of -0. */
function keepsSign({ negative_zero }: Cast, value: number): boolean {
  return negative_zero === "keep" || (negative_zero === "rounded" && value !== 0);
}

/** The code of a value beyond the largest finite one. */
function beyond(format: FloatFormat, policy: Cast["overflow"], negative: boolean): number {
  const signBit = format.signed && negative ? 2 ** (format.bits - 1) : 0;
  if (policy === "nan") return nanCode(format, negative);
  if (policy === "infinity") return infinityCode(format) + signBit;
  return largestCode(format) + signBit;
}

function encodeCodebook(
  format: CodebookFormat,
  value: number,
  cast: Cast,
  random?: number,
): number {
  const order = sortedValues(format);
  for (let i = 0; i + 1 < order.length; i++) {
    const [lower, upper] = [order[i], order[i + 1]];
    // Between -0 and 0 the sign of the number decides.
    if (lower.v === 0 && upper.v === 0) {
      if (isNegative(value) && keepsSign(cast, value)) return lower.code;
    } else if (value <= lower.v) return lower.code;
    else if (value < upper.v) {
      const bound = format.thresholds === "midpoints"
        ? Math.fround((lower.v + upper.v) / 2)
        : Math.fround(format.thresholds[i]);
      return goesUp(value, lower, upper, bound, cast.rounding, random) ? upper.code : lower.code;
    }
  }
  return order[order.length - 1].code;
}

const sorted = new WeakMap<CodebookFormat, { v: number; code: number }[]>();

/** The entries of a codebook in order of value; kept, for they are asked for with every number. */
function sortedValues(format: CodebookFormat): { v: number; code: number }[] {
  let order = sorted.get(format);
  if (!order) {
    order = format.values
      .flatMap((v, code) => v === null ? [] : [{ v: Math.fround(v), code }])
      .sort((a, b) => a.v - b.v || order0(a.v) - order0(b.v) || a.code - b.code)
      .filter(({ v }, i, all) => i === 0 || !Object.is(v, all[i - 1].v));
    sorted.set(format, order);
  }
  return order;
}

/** -0 comes before 0. */
function order0(v: number): number {
  return Object.is(v, -0) ? -1 : 0;
}

/** Whether a value between two entries of a codebook becomes the upper one. */
function goesUp(
  value: number,
  lower: { v: number; code: number },
  upper: { v: number; code: number },
  bound: number,
  rounding: Cast["rounding"],
  random?: number,
): boolean {
  const upIsLarger = Math.abs(upper.v) >= Math.abs(lower.v);
  switch (rounding) {
    case "up":
      return true;
    case "down":
      return false;
    case "toward_zero":
      return !upIsLarger;
    case "stochastic":
      return needRandom(random) < (value - lower.v) / (upper.v - lower.v);
  }
  if (value !== bound) return value > bound;
  switch (rounding) {
    case "half_up":
      return true;
    case "half_down":
      return false;
    case "half_away":
      return upIsLarger;
    case "half_toward_zero":
      return !upIsLarger;
    default:
      return upper.code % 2 === 0 && lower.code % 2 !== 0;
  }
}
