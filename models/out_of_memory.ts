/**
 * What is said where a model does not fit memory.
 *
 * @module
 */

import { LowbitError } from "../spec/mod.ts";

/** Errors of engines that refuse an array; other RangeErrors are of programs. */
const REFUSED_ARRAY = /alloc|array (buffer|length)|buffer length/i;

/**
 * A `MEMORY` error in the words of a user where kernels or the JavaScript engine had no room; any
 * other error as it is.
 */
export function outOfMemory(
  cause: unknown,
  { problem, ...details }: { file: string; problem: string; advice: string },
): unknown {
  const kernels = cause instanceof LowbitError && cause.code === "MEMORY";
  const engine = cause instanceof RangeError && REFUSED_ARRAY.test(cause.message);
  return kernels || engine ? new LowbitError("MEMORY", problem, { ...details, cause }) : cause;
}
