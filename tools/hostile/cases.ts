/**
 * The hostile corpus as code: what is wrong with each file, and what its reader must say; and valid
 * files that look odd, with what must be read of them.
 *
 * @module
 */

import { arrays } from "./cases_arrays.ts";
import { containers } from "./cases_containers.ts";
import type { Case } from "./case.ts";
import { texts } from "./cases_texts.ts";

/** All cases. */
export function cases(): Case[] {
  return [...containers(), ...arrays(), ...texts()];
}
