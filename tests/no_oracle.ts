/**
 * What has no conformance vectors, and why.
 *
 * @module
 */

/** `KIND ID` and the reason. */
export const NO_ORACLE: Readonly<Record<string, string>> = {
  "layout awq_gemv_zeros_g32":
    "held to its packer in tests/golden/packing, by formats/packing_test.ts",
  "layout awq_gemv_zeros_g64":
    "held to its packer in tests/golden/packing, by formats/packing_test.ts",
  "layout bytes": "held to its packer in tests/golden/packing, by formats/packing_test.ts",
  "layout bytes_offset": "held to its packer in tests/golden/packing, by formats/packing_test.ts",
  "layout compressed_tensors_zeros":
    "held to its packer in tests/golden/packing, by formats/packing_test.ts",
  "layout fp6_4_2": "held to its packer in tests/golden/packing, by formats/packing_test.ts",
  "layout ggml_q1_0":
    "held to ggml's C in tests/golden/ggml, bit for bit; gguf-py does not decode it",
  "layout ggml_q8_1":
    "held to ggml's C in tests/golden/ggml, bit for bit; gguf-py does not decode it",
  "layout ggml_q8_k":
    "held to ggml's C in tests/golden/ggml, bit for bit; gguf-py does not decode it",
  "layout gptq_int": "held to its packer in tests/golden/packing, by formats/packing_test.ts",
  "layout gptq_p3_zeros": "held to its packer in tests/golden/packing, by formats/packing_test.ts",
  "layout gptq_p5_zeros": "held to its packer in tests/golden/packing, by formats/packing_test.ts",
  "layout gptq_p6_zeros": "held to its packer in tests/golden/packing, by formats/packing_test.ts",
  "layout gptq_p7_zeros": "held to its packer in tests/golden/packing, by formats/packing_test.ts",
  "layout group_major": "held to its packer in tests/golden/packing, by formats/packing_test.ts",
  "layout marlin_channel_scales":
    "held to its packer in tests/golden/packing, by formats/packing_test.ts",
  "layout marlin_int4": "held to its packer in tests/golden/packing, by formats/packing_test.ts",
  "layout marlin_int8": "held to its packer in tests/golden/packing, by formats/packing_test.ts",
  "layout marlin_scales": "held to its packer in tests/golden/packing, by formats/packing_test.ts",
  "layout marlin_uint8": "held to its packer in tests/golden/packing, by formats/packing_test.ts",
  "layout marlin_zeros4": "held to its packer in tests/golden/packing, by formats/packing_test.ts",
  "layout marlin_zeros8": "held to its packer in tests/golden/packing, by formats/packing_test.ts",
  "layout sint4_to_s8": "held to its packer in tests/golden/packing, by formats/packing_test.ts",
  "layout torchao_int4": "held to its packer in tests/golden/packing, by formats/packing_test.ts",
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
  "number ggml_e2m1":
    "inside ggml's blocks, which are held to ggml's C in tests/golden/ggml, bit for bit",
  "number ggml_e8m0":
    "inside ggml's blocks, which are held to ggml's C in tests/golden/ggml, bit for bit",
  "number ggml_iq4":
    "inside ggml's blocks, which are held to ggml's C in tests/golden/ggml, bit for bit",
  "number ggml_ternary":
    "inside ggml's blocks, which are held to ggml's C in tests/golden/ggml, bit for bit",
  "number log2_4": "of a paper; no package on PyPI has it",
  "number power_of_two4": "of a paper; no package on PyPI has it",
  "number uflint4": "of the ANT paper; no package on PyPI has it",
  "number uint10": "numbers of grid entries; whole numbers as they are",
  "number uint11": "numbers of grid entries; whole numbers as they are",
  "number uint9": "numbers of grid entries; whole numbers as they are",
  "scheme ggml_nvfp4":
    "held to ggml's C in tests/golden/ggml, bit for bit; gguf-py does not encode it",
  "scheme int4_g128_integer_scale": "of a paper; no package on PyPI has it",
  "scheme int4_g64_search": "a search; candidates and norm differ in every package",
  "scheme int8_cross": "of the CrossQuant paper; no package on PyPI has it",
  "scheme int8_tensor_entropy": "histograms and bins differ in every package",
  "scheme int8_tensor_percentile": "interpolation of percentiles differs in every package",
  "scheme iq4_nl":
    "a search, bounded by ggml's own in formats/least_squares_test.ts; decoding as its layout",
  "scheme iq4_xs":
    "a search, bounded by ggml's own in formats/least_squares_test.ts; decoding as its layout",
  "scheme q1_0": "held to ggml's C in tests/golden/ggml, bit for bit; gguf-py does not have it",
  "scheme q2_k":
    "a search, bounded by ggml's own in formats/least_squares_test.ts; decoding as its layout",
  "scheme q3_k":
    "a search, bounded by ggml's own in formats/least_squares_test.ts; decoding as its layout",
  "scheme q4_k":
    "a search, bounded by ggml's own in formats/least_squares_test.ts; decoding as its layout",
  "scheme q5_k":
    "a search, bounded by ggml's own in formats/least_squares_test.ts; decoding as its layout",
  "scheme q6_k":
    "a search, bounded by ggml's own in formats/least_squares_test.ts; decoding as its layout",
  "scheme q8_1": "held to ggml's C in tests/golden/ggml, bit for bit; gguf-py does not have it",
  "scheme q8_k": "held to ggml's C in tests/golden/ggml, bit for bit; gguf-py does not have it",
};
