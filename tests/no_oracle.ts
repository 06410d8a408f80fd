/**
 * What has no conformance vectors, and why.
 *
 * @module
 */

/** `KIND ID` and the reason. */
export const NO_ORACLE: Readonly<Record<string, string>> = {
  "number abfloat4": "of the OliVe paper; no package on PyPI has it",
  "number binary": "a sign; no package has it as a cast with codes",
  "number flint4": "of the ANT paper; no package on PyPI has it",
  "number power_of_two4": "of the paper; no package on PyPI has it",
};
