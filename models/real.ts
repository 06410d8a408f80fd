/**
 * Functions of real numbers from sums, products and quotients alone, which every host rounds the
 * same: the host's own may differ in the last bit.
 *
 * @module
 */

const LN2_HIGH = 0x162e42fee00000 / 2 ** 53, LN2_LOW = 1.9082149292705877e-10;
/** The first 33 bits of pi/2, and the rest. */
const QUARTER_HIGH = 1.57079632673412561417, QUARTER_LOW = 6.07710050650619224932e-11;

/**
 * `e^x`.
 *
 * @example
 * ```ts
 * import { assertAlmostEquals } from "@std/assert";
 * import { exp } from "./real.ts";
 * assertAlmostEquals(exp(1), Math.E, 1e-15);
 * ```
 */
export function exp(x: number): number {
  if (!(x > -745)) return x !== x ? NaN : 0;
  if (x > 709.7) return Infinity;
  const k = Math.round(x / Math.LN2);
  const r = (x - k * LN2_HIGH) - k * LN2_LOW;
  let term = 1, sum = 1;
  for (let n = 1; n < 18; n++) sum += term *= r / n;
  return k < -1000 ? sum * 2 ** (k + 100) * 2 ** -100 : sum * 2 ** k;
}

/**
 * The natural logarithm of a positive number.
 *
 * @example
 * ```ts
 * import { assertAlmostEquals } from "@std/assert";
 * import { log } from "./real.ts";
 * assertAlmostEquals(log(10000), Math.log(10000), 1e-14);
 * ```
 */
export function log(x: number): number {
  let k = 0;
  while (x > 1.5) {
    x /= 2;
    k++;
  }
  while (x < 0.75) {
    x *= 2;
    k--;
  }
  const t = (x - 1) / (x + 1);
  let power = t, sum = 0;
  for (let n = 1; n < 50; n += 2, power *= t * t) sum += power / n;
  return 2 * sum + k * Math.LN2;
}

/**
 * `base^exponent` for a positive base; whole and half powers by products and square roots.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { power } from "./real.ts";
 * assertEquals(power(64, -0.5), 1 / 8);
 * ```
 */
export function power(base: number, exponent: number): number {
  if (exponent === 1) return base;
  if (exponent === 0.5) return Math.sqrt(base);
  if (exponent === -0.5) return 1 / Math.sqrt(base);
  return exp(exponent * log(base));
}

/**
 * Cosine and sine of an angle that is not beyond a million.
 *
 * @example
 * ```ts
 * import { assertAlmostEquals } from "@std/assert";
 * import { circle } from "./real.ts";
 * const [cos, sin] = circle(12345.678);
 * assertAlmostEquals(cos, Math.cos(12345.678), 1e-12);
 * assertAlmostEquals(sin, Math.sin(12345.678), 1e-12);
 * ```
 */
export function circle(angle: number): [cos: number, sin: number] {
  const k = Math.round(angle / (Math.PI / 2));
  const r = (angle - k * QUARTER_HIGH) - k * QUARTER_LOW, square = r * r;
  let cos = 1, sin = 1;
  for (let n = 18; n >= 0; n -= 2) {
    cos = 1 - square * cos / ((n + 1) * (n + 2));
    sin = 1 - square * sin / ((n + 2) * (n + 3));
  }
  sin *= r;
  switch (((k % 4) + 4) % 4) {
    case 0:
      return [cos, sin];
    case 1:
      return [-sin, cos];
    case 2:
      return [-cos, -sin];
    default:
      return [sin, -cos];
  }
}

/**
 * The hyperbolic tangent.
 *
 * @example
 * ```ts
 * import { assertAlmostEquals } from "@std/assert";
 * import { tanh } from "./real.ts";
 * assertAlmostEquals(tanh(0.001), Math.tanh(0.001), 1e-15);
 * ```
 */
export function tanh(x: number): number {
  if (Math.abs(x) > 20) return Math.sign(x);
  if (Math.abs(x) < 0.02) {
    const s = x * x;
    return x * (1 - s / 3 * (1 - s * 2 / 5 * (1 - s * 17 / 42)));
  }
  const e = exp(2 * x);
  return (e - 1) / (e + 1);
}

/**
 * The logistic function.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { sigmoid } from "./real.ts";
 * assertEquals(sigmoid(0), 0.5);
 * ```
 */
export function sigmoid(x: number): number {
  return 1 / (1 + exp(-x));
}
