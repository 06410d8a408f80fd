/**
 * Fast conversions between element types, by name.
 *
 * @module
 */

import type { Buffer } from "./kernel_buffers.ts";

/** A conversion: units of input become units of output. */
export interface Conversion {
  /** Its name. */
  name: string;
  /** What it does. */
  summary: string;
  /** The buffer type of the input. */
  from: "u8" | "f32";
  /** The buffer type of the output. */
  to: "u8" | "f32";
  /** Elements of an input unit. */
  take: number;
  /** Elements of an output unit. */
  give: number;
  /** Whether values are multiplied by a factor. */
  factor: boolean;
}

/**
 * The conversions. A kernel knows them by their position.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { CONVERSIONS } from "./kernels_convert.ts";
 * const wide = CONVERSIONS.find(({ name }) => name === "sint4_to_s8_times16")!;
 * assertEquals([wide.take, wide.give], [16, 32]);
 * ```
 */
export const CONVERSIONS: readonly Conversion[] = [
  {
    name: "f32_to_s8",
    summary: "rint(x * factor), clamped to int8; a NaN gives 0",
    ...{ from: "f32", to: "u8", take: 1, give: 1, factor: true },
  },
  {
    name: "f16_to_s8",
    summary: "the same from float16 bytes",
    ...{ from: "u8", to: "u8", take: 2, give: 1, factor: true },
  },
  {
    name: "s8_to_f32",
    summary: "x * factor",
    ...{ from: "u8", to: "f32", take: 1, give: 1, factor: true },
  },
  {
    name: "s4_to_s8",
    summary: "pairs of signed nibbles, the first in the low one",
    ...{ from: "u8", to: "u8", take: 1, give: 2, factor: false },
  },
  {
    name: "s4_to_s8_times16",
    summary: "pairs of signed nibbles to 16 times the code, by a shift and a mask",
    ...{ from: "u8", to: "u8", take: 1, give: 2, factor: false },
  },
  {
    name: "u4_to_u8",
    summary: "pairs of nibbles without sign",
    ...{ from: "u8", to: "u8", take: 1, give: 2, factor: false },
  },
  {
    name: "sint4_to_s8_times16",
    summary:
      "32 codes in 16 bytes, the first 16 in the high nibbles: a mask gives 16 times the code",
    ...{ from: "u8", to: "u8", take: 16, give: 32, factor: false },
  },
];

/** The conversions as one operation. */
export interface ConvertKernels {
  /** Converts `x` to `y` by a conversion of the list; `factor` is 1 if absent. */
  convert(
    args: { name: string; x: Buffer<"u8" | "f32">; y: Buffer<"u8" | "f32">; factor?: number },
  ): void;
}
