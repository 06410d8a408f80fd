/**
 * Numbers of tables and scales, rounded to the format that they are stored in.
 *
 * @module
 */

import { decodePlain, encodePlain } from "../containers/plain.ts";
import { numberFormat } from "../lookup.ts";
import { decodeElement, encodeElement } from "../reference.ts";

/**
 * Values as they read back from a number format.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { roundEntries } from "./entries.ts";
 * assertEquals([...roundEntries("float16", Float64Array.of(1 / 3))], [0.333251953125]);
 * assertEquals([...roundEntries("int8", Float64Array.of(-3.6))], [-4]);
 * ```
 */
export function roundEntries(format: string, values: ArrayLike<number>): Float32Array {
  const rounded = Float32Array.from(values);
  if (format === "float32") return rounded;
  if (format === "float16" || format === "bfloat16") {
    return decodePlain(format, encodePlain(format, rounded));
  }
  const element = numberFormat(format);
  return rounded.map((value) => decodeElement(element, encodeElement(element, value)));
}
