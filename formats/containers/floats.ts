/**
 * Small floating-point formats, one number at a time, in plain TypeScript: bits to f32 and back.
 * Used for headers, scales and tensors where no kernels are at hand.
 *
 * @module
 */

const f32 = new Float32Array(1);
const u32 = new Uint32Array(f32.buffer);

/** The value of a float with `mantissa` bits and IEEE-like fields, without special codes. */
function fields(code: number, exponentBits: number, mantissaBits: number, bias: number): number {
  const mantissa = code & ((1 << mantissaBits) - 1);
  const exponent = (code >> mantissaBits) & ((1 << exponentBits) - 1);
  const sign = (code >> (mantissaBits + exponentBits)) & 1 ? -1 : 1;
  const scaled = mantissa / 2 ** mantissaBits;
  return sign * (exponent === 0 ? 2 ** (1 - bias) * scaled : 2 ** (exponent - bias) * (1 + scaled));
}

/** The value of float16 bits; exact. NaNs lose their payload. */
export function fromFloat16(bits: number): number {
  if ((bits & 0x7c00) !== 0x7c00) return fields(bits, 5, 10, 15);
  return bits & 0x3ff ? NaN : bits & 0x8000 ? -Infinity : Infinity;
}

/** The value of bfloat16 bits; exact. */
export function fromBfloat16(bits: number): number {
  u32[0] = bits << 16;
  return f32[0];
}

/**
 * float16 bits of a number, rounded to f32 first and then to nearest even; beyond 65504 it becomes
 * infinity, and NaN the quiet NaN 0x7e00.
 *
 * @example
 * ```ts
 * import { fromFloat16, toFloat16 } from "./floats.ts";
 * toFloat16(1.5); // 0x3e00
 * fromFloat16(toFloat16(0.1)); // 0.0999755859375
 * ```
 */
export function toFloat16(value: number): number {
  f32[0] = value;
  const bits = u32[0];
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return 0x7e00 | sign;
  if (magnitude >= 0x47800000) return sign | 0x7c00;
  if (magnitude < 0x38800000) {
    // Subnormal: a multiple of 2^-24; the multiplication is exact.
    const scaled = Math.abs(f32[0]) * 2 ** 24;
    return sign | roundEven(scaled);
  }
  const shifted = magnitude - 0x38000000;
  const lower = shifted & 0x1fff;
  const result = shifted >>> 13;
  const up = lower > 0x1000 || (lower === 0x1000 && (result & 1));
  return sign | (result + (up ? 1 : 0));
}

/** bfloat16 bits of a number, rounded to f32 first and then to nearest even. */
export function toBfloat16(value: number): number {
  f32[0] = value;
  const bits = u32[0];
  if ((bits & 0x7fffffff) > 0x7f800000) return ((bits >>> 16) & 0x8000) | 0x7fc0;
  const rounded = bits + 0x7fff + ((bits >>> 16) & 1);
  return (rounded >>> 16) & 0xffff;
}

function roundEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  return rest > 0.5 || (rest === 0.5 && floor & 1) ? floor + 1 : floor;
}

function table(size: number, value: (code: number) => number): Float32Array {
  return Float32Array.from({ length: size }, (_, code) => value(code));
}

let float16Values: Float32Array | undefined;

/** The values of all 65536 float16 codes; made once. */
export function float16Table(): Float32Array {
  return float16Values ??= table(65536, fromFloat16);
}

/** The values of the 256 codes of float8_e4m3fn: no infinities, NaN at 0x7f and 0xff. */
export const FLOAT8_E4M3FN: Float32Array = table(
  256,
  (code) => (code & 0x7f) === 0x7f ? NaN : fields(code, 4, 3, 7),
);

/** The values of the 256 codes of float8_e5m2: IEEE, with infinities and NaNs. */
export const FLOAT8_E5M2: Float32Array = table(256, (code) => {
  if ((code & 0x7c) !== 0x7c) return fields(code, 5, 2, 15);
  return code & 3 ? NaN : code & 0x80 ? -Infinity : Infinity;
});

/** The values of the 256 codes of float8_e8m0fnu: 2^(code - 127), NaN at 255. */
export const FLOAT8_E8M0FNU: Float32Array = table(
  256,
  (code) => code === 255 ? NaN : 2 ** (code - 127),
);
