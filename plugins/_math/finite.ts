/**
 * What cannot be quantised.
 *
 * @module
 */

import { allFinite, LowbitError } from "../../spec/mod.ts";

/** Refuses a weight with a NaN or an infinity; `field` says which. */
export function refuseNonFinite(weight: Float32Array, field: string): void {
  if (allFinite(weight)) return;
  throw new LowbitError("NON_FINITE", "cannot quantise a NaN or an infinity", { field });
}
