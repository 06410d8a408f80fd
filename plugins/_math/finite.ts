/**
 * What cannot be quantised.
 *
 * @module
 */

import { LowbitError } from "../../spec/mod.ts";

/** Refuses a weight with a NaN or an infinity; `field` says which. */
export function refuseNonFinite(weight: Float32Array, field: string): void {
  let sum = 0; // stays 0 where every value is finite
  for (let i = 0; i < weight.length; i++) sum += weight[i] * 0;
  if (sum === 0) return;
  throw new LowbitError("NON_FINITE", "cannot quantise a NaN or an infinity", { field });
}
