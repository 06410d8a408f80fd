/**
 * Scales as a number format stores them.
 *
 * @module
 */

import { LowbitError, type ResolvedScheme } from "../spec/mod.ts";
import { numberFormat } from "./lookup.ts";
import { decodeElement, encodeElement } from "./reference.ts";

const fround = Math.fround;

/**
 * What a scale becomes when it is stored in a number format and read back.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { scaleStorage } from "./scale_storage.ts";
 * assertEquals(scaleStorage("bfloat16")(1.001), 1);
 * assertEquals(scaleStorage("float8_e8m0fnu")(0.5), 0.5);
 * ```
 */
export function scaleStorage(id: string): (scale: number) => number {
  if (id === "float32") return fround;
  const format = numberFormat(id);
  return (scale) => decodeElement(format, encodeElement(format, scale));
}

/** The error of a scale that the format of scales cannot hold. */
export function scaleOverflow(scheme: ResolvedScheme, scale: number): LowbitError {
  return new LowbitError(
    "NON_FINITE",
    `a scale of ${scale} cannot be stored in ${scheme.scale.format}`,
    { field: scheme.id, advice: "check the weights, or store the scales in float32" },
  );
}
