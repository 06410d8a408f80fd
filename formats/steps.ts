/**
 * Step tables: a cast to a format of 8 bits or fewer is a step function over the total order of
 * f32, so a sorted list of thresholds says all of it. Derived from the reference by bisection.
 *
 * @module
 */

import { type ElementEncoder, LowbitError, type NumberFormat } from "../spec/mod.ts";
import {
  bitsToFloat,
  decodeElement,
  encodeElement,
  encodeNan,
  floatBits,
  roundHalfEven,
} from "./reference.ts";

/**
 * The order-preserving key of an f32's bits: NaNs lie beyond the infinities, -0 before +0.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { floatBits } from "./reference.ts";
 * import { orderKey } from "./steps.ts";
 * const keys = [-Infinity, -1, -0, 0, 1e-40, 1].map((x) => orderKey(floatBits(x)));
 * assertEquals(keys.toSorted((a, b) => a - b), keys);
 * ```
 */
export function orderKey(bits: number): number {
  return (bits & 0x80000000 ? ~bits : bits | 0x80000000) >>> 0;
}

/**
 * The f32 with this key.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { floatBits } from "./reference.ts";
 * import { keyToFloat, orderKey } from "./steps.ts";
 * const key = orderKey(floatBits(1));
 * assertEquals([keyToFloat(key), keyToFloat(key + 1)], [1, 1 + 2 ** -23]);
 * ```
 */
export function keyToFloat(key: number): number {
  return bitsToFloat((key & 0x80000000 ? key & 0x7fffffff : ~key) >>> 0);
}

/**
 * The encoder of a format, for kernels. Integers that round to nearest or down get arithmetic,
 * everything else a step table. Where the cast refuses NaN, its steps are those of zero: refuse it before.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { numberFormat } from "./lookup.ts";
 * import { elementEncoder } from "./steps.ts";
 * assertEquals(elementEncoder(numberFormat("int4")), { kind: "int", min: -8, max: 7, mask: 15 });
 * assertEquals(elementEncoder(numberFormat("nf4")).kind, "steps");
 * ```
 */
export function elementEncoder(format: NumberFormat): ElementEncoder {
  const { rounding, overflow } = format.cast;
  if (rounding === "stochastic" || overflow === "wrap") {
    throw new LowbitError(
      "FORMAT",
      `a cast that is ${rounding === "stochastic" ? rounding : overflow} ` +
        "is no step function",
      { field: format.id, advice: "schemes need a deterministic cast" },
    );
  }
  if (format.family === "int" && !format.fraction && !format.cast.negative) {
    const half = 2 ** (format.bits - 1);
    const max = format.signed ? half - 1 : 2 * half - 1;
    const min = format.signed ? (format.range === "symmetric" ? -max : -half) : 0;
    const range = { kind: "int" as const, min, max, mask: 2 * half - 1 };
    if (rounding === "nearest_even") return range;
    if (rounding === "half_away") return { ...range, rounding };
    if (rounding === "biased_floor") {
      // The floor of x + bias counts from 0, which stands for the most negative number.
      const shift = format.signed ? half : 0;
      const offset = { min: min + shift, max: max + shift, shift };
      return { ...range, ...offset, rounding: "floor", bias: format.cast.bias! };
    }
  }
  return stepTable(format);
}

/**
 * The step table of a format of 8 bits or fewer.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { numberFormat } from "./lookup.ts";
 * import { keyToFloat, stepTable } from "./steps.ts";
 * const { thresholds, codes } = stepTable(numberFormat("float4_e2m1fn"));
 * assertEquals(codes.length, thresholds.length + 1);
 * assertEquals(keyToFloat(thresholds[codes.indexOf(4)]), 2.5); // the last number that becomes 2
 * ```
 */
export function stepTable(format: NumberFormat): ElementEncoder & { kind: "steps" } {
  const lenient = format.cast.nan === "refuse"
    ? { ...format.cast, nan: "zero" as const }
    : format.cast;
  const codeOf = (key: number) => {
    const x = keyToFloat(key);
    if (Number.isNaN(x)) return encodeNan(format, lenient, key < 0x80000000);
    return encodeElement(format, x, lenient);
  };
  const thresholds: number[] = [];
  const codes: number[] = [];
  const step = (lastKeyBefore: number, code: number) => {
    if (codes.length > 0) thresholds.push(lastKeyBefore);
    codes.push(code);
  };
  /** Appends the steps of `(lo, hi]`, given the codes at both ends. */
  const bisect = (lo: number, loCode: number, hi: number, hiCode: number): void => {
    if (loCode === hiCode) return;
    if (hi - lo === 1) return step(lo, hiCode);
    const middle = Math.floor((lo + hi) / 2);
    const code = codeOf(middle);
    bisect(lo, loCode, middle, code);
    bisect(middle, code, hi, hiCode);
  };
  // Inside each of these intervals the codes are monotone; at their borders they may jump.
  const borders = [
    [0, orderKey(0xff800000) - 1], // negative NaNs
    [orderKey(0xff800000), orderKey(0xff800000)], // -infinity
    [orderKey(0xff7fffff), orderKey(0x80000001)], // negative numbers
    [orderKey(0x80000000), orderKey(0x80000000)], // -0
    [orderKey(0), orderKey(0)], // 0
    [orderKey(1), orderKey(0x7f7fffff)], // positive numbers
    [orderKey(0x7f800000), orderKey(0x7f800000)], // infinity
    [orderKey(0x7f800001), 0xffffffff], // positive NaNs
  ];
  for (const [lo, hi] of borders) {
    const first = codeOf(lo);
    if (codes.at(-1) !== first) step(lo - 1, first);
    bisect(lo, first, hi, codeOf(hi));
  }
  return { kind: "steps", thresholds: Uint32Array.from(thresholds), codes: Uint8Array.from(codes) };
}

/**
 * The plain meaning of an encoder, for tests and for the few values a host encodes itself.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { numberFormat } from "./lookup.ts";
 * import { applyEncoder, elementEncoder } from "./steps.ts";
 * assertEquals(applyEncoder(elementEncoder(numberFormat("float4_e2m1fn")), 2.5), 4);
 * assertEquals(applyEncoder(elementEncoder(numberFormat("uint4")), 2.5, 8), 10); // 2, and zero 8
 * ```
 */
export function applyEncoder(encoder: ElementEncoder, v: number, zero = 0): number {
  if (encoder.kind === "int") {
    const { min, max, mask, shift = 0 } = encoder;
    return (Math.min(max, Math.max(min, roundedBy(encoder, v) + zero)) - shift) & mask;
  }
  const key = orderKey(floatBits(v));
  let [lo, hi] = [0, encoder.thresholds.length];
  while (lo < hi) {
    const middle = (lo + hi) >> 1;
    if (encoder.thresholds[middle] < key) lo = middle + 1;
    else hi = middle;
  }
  return encoder.codes[lo];
}

function roundedBy({ rounding, bias }: ElementEncoder & { kind: "int" }, v: number): number {
  if (rounding === "half_away") return Math.sign(v) * Math.floor(Math.abs(v) + 0.5);
  return rounding === "floor" ? Math.floor(Math.fround(v + bias!)) : roundHalfEven(v);
}

/**
 * The codes of a format that mean a finite number, in order of value; -0 before 0.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { numberFormat } from "./lookup.ts";
 * import { finiteCodes } from "./steps.ts";
 * assertEquals(finiteCodes(numberFormat("int2")), [2, 3, 0, 1]); // -2, -1, 0, 1
 * assertEquals(finiteCodes(numberFormat("float8_e4m3fn")).length, 254);
 * ```
 */
export function finiteCodes(format: NumberFormat): number[] {
  return Array.from({ length: 2 ** format.bits }, (_, code) => code)
    .filter((code) => Number.isFinite(decodeElement(format, code)))
    .sort((a, b) => {
      const [x, y] = [decodeElement(format, a), decodeElement(format, b)];
      return x - y || orderKey(floatBits(x)) - orderKey(floatBits(y));
    });
}
