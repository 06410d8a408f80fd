/**
 * Generators: tables that follow from a few numbers.
 *
 * @module
 */

import type { CodebookFormat, GeneratedFormat, TableGenerator } from "../spec/mod.ts";

const made = new WeakMap<GeneratedFormat, CodebookFormat>();

/**
 * The table of a generated format, as a codebook; made once.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { numberFormatSchema } from "../spec/mod.ts";
 * import { generated } from "./generators.ts";
 * const format = numberFormatSchema.parse({
 *   id: "abfloat4",
 *   summary: "E2M1 with bias 2",
 *   family: "generated",
 *   bits: 4,
 *   generator: { kind: "abfloat", exponent: 2, mantissa: 1, bias: 2 },
 * });
 * if (format.family !== "generated") throw new Error();
 * assertEquals(generated(format).values.slice(0, 8), [0, 12, 16, 24, 32, 48, 64, 96]);
 * ```
 */
export function generated(format: GeneratedFormat): CodebookFormat {
  let codebook = made.get(format);
  if (!codebook) {
    const { generator, ...rest } = format;
    const values = tableOf(generator, format.bits);
    made.set(
      format,
      codebook = {
        ...rest,
        family: "codebook",
        values,
        order: "any",
        thresholds: "midpoints",
        repeats: false,
      },
    );
  }
  return codebook;
}

function tableOf(generator: TableGenerator, bits: number): (number | null)[] {
  switch (generator.kind) {
    case "normal_float":
      return quantileTable(bits, generator.offset, normalQuantile);
    case "student_float": {
      const { degrees, offset } = generator;
      return quantileTable(bits, offset, (p) => studentQuantile(p, degrees));
    }
    case "abfloat": {
      const { exponent, mantissa, bias } = generator;
      return signAndMagnitude(2 ** (exponent + mantissa), (code) => {
        const e = Math.floor(code / 2 ** mantissa);
        return (2 ** mantissa + code % 2 ** mantissa) * 2 ** (e + bias);
      });
    }
    case "power_of_two": {
      const magnitudes = 2 ** (bits - 1);
      return signAndMagnitude(magnitudes, (code) => 2 ** (code - magnitudes + 1));
    }
    case "additive_power_of_two": {
      const { base, signed } = generator;
      return maybeSigned(bits, signed, additivePowers(bits - (signed ? 1 : 0), base));
    }
    case "logarithm": {
      const { numerator, denominator } = generator;
      return Array.from({ length: 2 ** bits }, (_, i) => 2 ** (-i * numerator / denominator));
    }
    case "flint": {
      const magnitudeBits = bits - (generator.signed ? 1 : 0);
      return maybeSigned(bits, generator.signed, (code) => flintValue(code, magnitudeBits));
    }
  }
}

/** A table of magnitudes, with a sign in the highest bit or without. */
function maybeSigned(
  bits: number,
  signed: boolean,
  value: (code: number) => number,
): (number | null)[] {
  return signed
    ? signAndMagnitude(2 ** (bits - 1), value)
    : Array.from({ length: 2 ** bits }, (_, code) => value(code));
}

/** APoT (Li et al. 2020, arXiv 1909.13144, eq. 5): one power of two from each field, or zero. */
function additivePowers(bits: number, base: number): (code: number) => number {
  const terms = bits / base;
  const sum = (code: number) => {
    let total = 0;
    for (let i = 0; i < terms; i++) {
      const field = Math.floor(code / 2 ** ((terms - 1 - i) * base)) % 2 ** base;
      if (field > 0) total += 2 ** -(i + (field - 1) * terms);
    }
    return total;
  };
  const largest = Math.max(...Array.from({ length: 2 ** bits }, (_, code) => sum(code)));
  return (code) => sum(code) / largest;
}

/** Flint (Guo et al. 2022, arXiv 2208.14286, section IV): the first one says how long the exponent is. */
function flintValue(code: number, bits: number): number {
  const high = 2 ** (bits - 1);
  if (code < high) return code;
  const rest = code - high;
  if (rest === 0) return 4 ** (bits - 1);
  const zeros = bits - 2 - Math.floor(Math.log2(rest));
  return 2 * rest * 4 ** zeros;
}

/** Magnitude 0 is zero, and the code of -0 means nothing. */
function signAndMagnitude(count: number, value: (code: number) => number): (number | null)[] {
  const magnitudes = Array.from({ length: count }, (_, code) => code === 0 ? 0 : value(code));
  return [...magnitudes, ...magnitudes.map((m) => m === 0 ? null : -m)];
}

/**
 * NFk and SFk (Dettmers et al. 2023, arXiv 2305.14314, eq. 4; Dotzel et al. 2024, arXiv 2405.03103):
 * `2^(k-1)` quantiles from `offset` down to 1/2 for positive numbers, one fewer for negative ones,
 * an exact zero, all divided by the largest.
 */
function quantileTable(
  bits: number,
  offset: number | "per_bits",
  quantile: (p: number) => number,
): number[] {
  const n = 2 ** bits;
  const outermost = offset === "per_bits"
    ? 0.5 * ((1 - 1 / (2 * n)) + (1 - 1 / (2 * (n - 1))))
    : offset;
  const side = (count: number) =>
    Array.from(
      { length: count },
      (_, i) => quantile(outermost + (0.5 - outermost) * i / count),
    );
  const positive = side(n / 2);
  const negative = side(n / 2 - 1).map((value) => -value);
  const largest = positive[0];
  return [...negative, 0, ...positive.reverse()].map((value) => value / largest);
}

/** The normal quantile of p in (0, 1). */
export function normalQuantile(p: number): number {
  return bisect(p, normalCdf);
}

/** The quantile of Student's t distribution. */
export function studentQuantile(p: number, degrees: number): number {
  return bisect(p, (x) => studentCdf(x, degrees));
}

/** The x with cdf(x) = p, to the last bits of a double. */
function bisect(p: number, cdf: (x: number) => number): number {
  if (p < 0.5) return -bisect(1 - p, cdf);
  let [lo, hi] = [0, 1];
  while (cdf(hi) < p && hi < 1e300) hi *= 2;
  for (let i = 0; i < 80; i++) {
    const middle = (lo + hi) / 2;
    if (cdf(middle) < p) lo = middle;
    else hi = middle;
  }
  return (lo + hi) / 2;
}

/** Marsaglia's series for the normal distribution; x >= 0. */
function normalCdf(x: number): number {
  if (x > 8.3) return 1;
  let [term, sum] = [x, x];
  for (let n = 1; n < 300 && term > 1e-18; n++) {
    term *= x * x / (2 * n + 1);
    sum += term;
  }
  return 0.5 + sum * Math.exp(-x * x / 2) / Math.sqrt(2 * Math.PI);
}

/** Student's t by Simpson's rule over the angle: with x = sqrt(v) tan(a), the density is cos^(v-1). */
function studentCdf(x: number, degrees: number): number {
  const density = (angle: number) => Math.cos(angle) ** (degrees - 1);
  const area = (to: number) => {
    const steps = 400;
    const h = to / steps;
    let sum = density(0) + density(to);
    for (let i = 1; i < steps; i++) sum += density(i * h) * (i % 2 === 1 ? 4 : 2);
    return sum * h / 3;
  };
  return 0.5 + 0.5 * area(Math.atan(x / Math.sqrt(degrees))) / area(Math.PI / 2);
}
