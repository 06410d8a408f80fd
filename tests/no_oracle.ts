/**
 * What has no conformance vectors, and why.
 *
 * @module
 */

/** `KIND ID` and the reason. */
export const NO_ORACLE: Readonly<Record<string, string>> = {
  "number abfloat4": "of the OliVe paper; no package on PyPI has it",
  "number adalog4": "of the AdaLog paper; no package on PyPI has it",
  "number apot4": "of the APoT paper; no package on PyPI has it",
  "number apot5": "of the APoT paper; no package on PyPI has it",
  "number binary": "a sign; no package has it as a cast with codes",
  "number flint3": "of the ANT paper; no package on PyPI has it",
  "number flint4": "of the ANT paper; no package on PyPI has it",
  "number flint5": "of the ANT paper; no package on PyPI has it",
  "number flint6": "of the ANT paper; no package on PyPI has it",
  "number flint7": "of the ANT paper; no package on PyPI has it",
  "number flint8": "of the ANT paper; no package on PyPI has it",
  "number log2_4": "of a paper; no package on PyPI has it",
  "number power_of_two4": "of a paper; no package on PyPI has it",
  "number uflint4": "of the ANT paper; no package on PyPI has it",
  "scheme int4_g128_integer_scale": "of a paper; no package on PyPI has it",
  "scheme int4_g64_search": "a search; candidates and norm differ in every package",
  "scheme int8_cross": "of the CrossQuant paper; no package on PyPI has it",
  "scheme int8_tensor_entropy": "histograms and bins differ in every package",
  "scheme int8_tensor_percentile": "interpolation of percentiles differs in every package",
};
