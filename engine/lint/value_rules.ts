/**
 * Rules about the values of tensors.
 *
 * @module
 */

import type { Finding, LintInput, LintTensor, Rule } from "./rule.ts";

/** Scales or words of which there are so few may well be equal. */
const FEW = 64;

function* each(
  { tensors }: LintInput,
  problem: (tensor: LintTensor) => string | undefined,
): Iterable<Finding> {
  for (const tensor of tensors.values()) {
    const found = problem(tensor);
    if (found) yield { where: tensor.name, problem: found };
  }
}

function notFinite({ scan }: LintTensor): string | undefined {
  if (scan.notFinite === 0) return undefined;
  return `${scan.notFinite} of ${scan.count} values are NaN or infinite, the first at ${scan.firstNotFinite}`;
}

/** The rules about values. */
export const VALUE_RULES: readonly Rule[] = [
  {
    code: "scale-not-finite",
    severity: "error",
    summary: "a scale is NaN or infinite",
    advice: "every output that meets it becomes NaN; quantise the layer again",
    bugs: [
      {
        what: "GPTQ checkpoints with NaN and infinite weight_scale tensors",
        url: "https://github.com/vllm-project/compressed-tensors/issues/832",
      },
      {
        what: "NaN block scales in GGUF files of experts",
        url: "https://github.com/ikawrakow/ik_llama.cpp/issues/649",
      },
      {
        what: "NaN bytes among the E4M3 scales of exported NVFP4 checkpoints",
        url: "https://github.com/vllm-project/vllm-omni/pull/4025",
      },
    ],
    check: (input) =>
      each(input, (tensor) => tensor.role === "scales" ? notFinite(tensor) : undefined),
  },
  {
    code: "scale-constant",
    severity: "warning",
    summary: "all scales of a weight are the same number",
    advice: "scales of real weights differ: these look initialised and never filled",
    bugs: [{
      what: "scales left at the value that they were initialised with",
      url: "https://github.com/vllm-project/vllm-omni/pull/5262",
    }],
    check: (input) =>
      each(input, ({ role, scan }) => {
        if (role !== "scales" || !scan.constant || scan.count < FEW) return undefined;
        return `all ${scan.count} scales are ${scan.min}`;
      }),
  },
  {
    code: "words-constant",
    severity: "error",
    summary: "all packed words of a weight are the same",
    advice: "the codes were never written; quantise and pack the layer again",
    bugs: [{
      what: "qweight and bias saved as zeros with group_size -1",
      url: "https://github.com/ModelCloud/GPTQModel/issues/1294",
    }],
    check: (input) =>
      each(input, ({ role, scan }) => {
        if (role !== "words" || !scan.constant || scan.count < FEW) return undefined;
        return `all ${scan.count} words are ${scan.min}`;
      }),
  },
  {
    code: "weight-not-finite",
    severity: "error",
    summary: "a plain weight is NaN or infinite",
    advice: "the checkpoint is damaged or did not survive its training or its conversion to f16",
    bugs: [{
      what: "quantisation fails on NaN losses of a layer",
      url: "https://github.com/ModelCloud/GPTQModel/issues/1632",
    }],
    check: (input) =>
      each(input, (tensor) => tensor.role === "weight" ? notFinite(tensor) : undefined),
  },
  {
    code: "never-written",
    severity: "error",
    summary: "a matrix of plain weights is zero everywhere",
    advice: "the tensor was allocated and never written; export the checkpoint again",
    bugs: [{
      what: "tensors reloaded as zeros after saving",
      url: "https://github.com/ModelCloud/GPTQModel/issues/1294",
    }],
    check: (input) =>
      each(input, ({ role, scan, shape }) => {
        const matrix = role === "weight" && shape.length > 1 && scan.count >= FEW;
        return matrix && scan.constant && scan.min === 0
          ? `all ${scan.count} values are zero`
          : undefined;
      }),
  },
  {
    code: "zero-point-convention",
    severity: "error",
    summary: "zero points of symmetric GPTQ weights are of the other version",
    advice: "version 1 stores zero points less one; correct checkpoint_format, or convert",
    bugs: [
      {
        what: "version 2 zero points under checkpoint_format gptq give only `!!!`",
        url: "https://github.com/vllm-project/vllm/pull/38966",
      },
      {
        what: "version 2 checkpoints read as version 1",
        url: "https://github.com/vllm-project/vllm/issues/26343",
      },
    ],
    *check({ tensors, quantization }) {
      const { quant_method, sym, bits, checkpoint_format = "gptq" } = quantization;
      if (quant_method !== "gptq" || sym !== true || ![2, 4, 8].includes(bits as number)) return;
      const middle = 2 ** (bits as number - 1);
      const word = (code: number) => {
        let all = 0;
        for (let bit = 0; bit < 32; bit += bits as number) all += code * 2 ** bit;
        return all;
      };
      const other = checkpoint_format === "gptq_v2" ? middle - 1 : middle;
      for (const { name, scan } of tensors.values()) {
        if (!name.endsWith(".qzeros") || !scan.constant || scan.min !== word(other)) continue;
        yield { where: name, problem: `stores ${other}, not as ${checkpoint_format} does` };
      }
    },
  },
];
