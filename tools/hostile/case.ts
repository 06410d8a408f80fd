/**
 * What a case of the hostile corpus is.
 *
 * @module
 */

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
