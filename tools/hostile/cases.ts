/**
 * The hostile corpus as code: what is wrong with each file, and what its reader must say; and valid
 * files that look odd, with what must be read of them.
 *
 * @module
 */

import { arrays } from "./cases_arrays.ts";
import { containers } from "./cases_containers.ts";
import { texts } from "./cases_texts.ts";

/** One case. */
export interface Case {
  /** Its reader. */
  reader: string;
  /** What is odd about it. */
  name: string;
  /** The files. */
  files: Record<string, Uint8Array | string>;
  /** What must be in the line of the error (which begins with `error[CODE]`), or in what was read. */
  expect: string;
}

/** A case of one file. */
export const one = (
  reader: string,
  file: string,
  name: string,
  content: Uint8Array | string,
  expect: string,
): Case => ({ reader, name, files: { [file]: content }, expect });

/** All cases. */
export function cases(): Case[] {
  return [...containers(), ...arrays(), ...texts()];
}
