/**
 * Number formats: how the bits of one element mean a value. A format is data; its codec is
 * derived from the parameters (see `formats/`).
 *
 * @module
 */

/**
 * An identifier of the catalogs: lower case, digits, `_`. An id never changes its bytes.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { ID_PATTERN } from "./number_format.ts";
 * assertEquals(["int4", "4bit", "Int4"].map((id) => ID_PATTERN.test(id)), [true, false, false]);
 * ```
 */
export const ID_PATTERN = /^[a-z][a-z0-9_]{0,63}$/;

/**
 * How a real number between two representable neighbours becomes one of them.
 *
 * - `nearest_even`: nearest; a tie goes to the even code (IEEE 754)
 * - `half_away`, `half_toward_zero`, `half_up`, `half_down`: nearest; ties as the name says
 * - `toward_zero`, `up`, `down`: directed
 * - `biased_floor`: `floor(fl32(x + bias))`, integers only: ggml's `(int)(x + 8.5f)`
 * - `stochastic`: up with the probability of the distance from the lower neighbour; whoever casts
 *   gives the random numbers
 */
export type Rounding =
  | "nearest_even"
  | "half_away"
  | "half_toward_zero"
  | "half_up"
  | "half_down"
  | "toward_zero"
  | "up"
  | "down"
  | "biased_floor"
  | "stochastic";

/** What a value beyond the largest finite number becomes; `wrap` (integers) is modulo `2^bits`. */
export type Overflow = "saturate" | "infinity" | "nan" | "wrap";

/** How a number is cast to a format. A source number is rounded to f32 first. */
export interface Cast {
  /** How a value between two neighbours is rounded. */
  rounding: Rounding;
  /** What a finite value that rounds beyond the largest finite number becomes. */
  overflow: Overflow;
  /** What an infinity becomes: as `overflow` says, or kept where the format has infinities. */
  infinity: Overflow;
  /** What a NaN becomes: the format's NaN code, or zero, or an error. */
  nan: "nan" | "zero" | "refuse";
  /**
   * What becomes of -0 and of small negatives that round to zero: the code of -0 for both, for
   * neither, or (`rounded`) only for numbers that were not zero.
   */
  negative_zero: "keep" | "positive" | "rounded";
  /**
   * What a negative number becomes in an unsigned int or float format; if absent, NaN where the
   * format has one, and zero elsewhere.
   */
  negative?: "zero" | "absolute" | "nan";
  /** What zero becomes in a float without zero; if absent, NaN where the format has one. */
  zero?: "smallest" | "nan";
  /** For `biased_floor`: the number added before the floor. */
  bias?: number;
}

/** What number formats of all families have. */
export interface NumberFormatBase {
  /** The catalog id; the name that ml_dtypes or the paper uses. */
  id: string;
  /** One line: what it is. */
  summary: string;
  /** Bits of one element, 1 to 16. */
  bits: number;
  /** The default cast. */
  cast: Cast;
  /** Where the definition comes from. */
  source: string;
  /** Facts that must follow from the parameters; `lowbit formats test` checks them. */
  expect?: Expectation;
}

/** Facts about a format, written down by whoever defines it. */
export interface Expectation {
  /** The largest finite magnitude. */
  largest?: number;
  /** The smallest magnitude above zero. */
  smallest?: number;
  /** Distinct finite values. */
  values?: number;
  /** Values of some codes: `[code, value]`. */
  decode?: [code: number, value: number][];
  /** Codes of some values: `[value, code]`. */
  encode?: [value: number, code: number][];
}

/** A fixed-point integer: `value = code * 2^-fraction`, two's complement if signed. */
export interface IntFormat extends NumberFormatBase {
  /** The family. */
  family: "int";
  /** Two's complement, or unsigned. */
  signed: boolean;
  /** `full` uses every code; `symmetric` leaves out the most negative one. */
  range: "full" | "symmetric";
  /** Fraction bits. */
  fraction: number;
}

/**
 * A binary floating-point format: with E stored exponent bits and M mantissa bits,
 * `value = (-1)^s * 2^(e - bias) * (1 + m/2^M)`, and `2^(1 - bias) * m/2^M` for e = 0.
 */
export interface FloatFormat extends NumberFormatBase {
  /** The family. */
  family: "float";
  /** Whether there is a sign bit. */
  signed: boolean;
  /** Bits of the stored exponent. */
  exponent: number;
  /** Bits of the stored mantissa. */
  mantissa: number;
  /** Exponent bias. */
  bias: number;
  /** Whether exponent 0 means subnormals and zero; if not, it is an ordinary exponent. */
  subnormals: boolean;
  /**
   * Which codes are infinities: `ieee` (all-ones exponent, mantissa 0), `top` (the largest
   * magnitude that is no NaN, as in IEEE P3109), or `none`.
   */
  infinities: "none" | "ieee" | "top";
  /**
   * Which codes are not a number: `ieee` (all-ones exponent, mantissa not 0), `all_ones` (all-ones
   * exponent and mantissa), `negative_zero` (the code of -0), or `none`.
   */
  nan: "none" | "ieee" | "all_ones" | "negative_zero";
}

/** A table: code `i` means `values[i]`. */
export interface CodebookFormat extends NumberFormatBase {
  /** The family. */
  family: "codebook";
  /** The values in code order, rounded to f32; null for a code that means nothing. */
  values: (number | null)[];
  /** Whether values ascend with their codes, or stand in any order. */
  order: "ascending" | "any";
  /** Where a value goes to the upper neighbour: at f32 midpoints, or above these literal bounds. */
  thresholds: "midpoints" | number[];
  /** Whether codes may mean the same number; the lowest of them is the one that is written. */
  repeats: boolean;
}

/**
 * How the values of a generated format are made; `formats/generators.ts` does it.
 *
 * - `normal_float`: quantiles of a normal distribution with an exact zero (NFk of QLoRA)
 * - `student_float`: the same of Student's t (SFk)
 * - `abfloat`: sign and magnitude, `(2^mantissa + m) << (e + bias)`, code 0 is zero (OliVe)
 * - `power_of_two`: sign and magnitude, powers of two up to 1, code 0 is zero
 * - `additive_power_of_two`: fields of `base` bits, the first the highest; field i of n adds 0 or
 *   `2^-(i + j n)`, j one less than its code; all over the largest sum (APoT)
 * - `logarithm`: `2^(-i * numerator / denominator)` of code i (log2 quantisers; AdaLog's base)
 * - `flint`: leading-one coded (ANT). Of n magnitude bits, the highest 0: the others as a whole
 *   number; the highest 1, the others f: `2f * 4^z` with z the leading zeros of f, and `4^(n-1)`
 *   for f = 0
 */
export type TableGenerator =
  | {
    kind: "normal_float";
    /** The outermost quantile; `per_bits` is the definition of QLoRA for this number of bits. */
    offset: number | "per_bits";
  }
  | {
    kind: "student_float";
    /** Degrees of freedom. */
    degrees: number;
    /** The outermost quantile. */
    offset: number | "per_bits";
  }
  | {
    kind: "abfloat";
    /** Exponent bits. */
    exponent: number;
    /** Mantissa bits. */
    mantissa: number;
    /** Added to the exponent. */
    bias: number;
  }
  | { kind: "power_of_two" }
  | {
    kind: "additive_power_of_two";
    /** Bits of a field. */
    base: number;
    /** Whether the highest bit is a sign. */
    signed: boolean;
  }
  | {
    kind: "logarithm";
    /** The exponent of a step, over `denominator`. */
    numerator: number;
    /** What `numerator` is counted in. */
    denominator: number;
  }
  | {
    kind: "flint";
    /** Whether the highest bit is a sign. */
    signed: boolean;
  };

/** A table that is computed from a few numbers instead of written down. */
export interface GeneratedFormat extends NumberFormatBase {
  /** The family. */
  family: "generated";
  /** How the values are made. */
  generator: TableGenerator;
}

/** A number format of any family. */
export type NumberFormat = IntFormat | FloatFormat | CodebookFormat | GeneratedFormat;

/**
 * The families of number formats. The list is open: a family adds a schema here and a decoder.
 *
 * @example
 * ```ts
 * import { assert } from "@std/assert";
 * import { FAMILIES } from "./number_format.ts";
 * const family: (typeof FAMILIES)[number] = "codebook";
 * assert(FAMILIES.includes(family));
 * ```
 */
export const FAMILIES = ["int", "float", "codebook", "generated"] as const;
