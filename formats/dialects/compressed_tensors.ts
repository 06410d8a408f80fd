/**
 * The dialect "compressed-tensors", as `transformers` and vLLM load it, in all formats that it
 * writes itself today: integers packed or a byte each, FP8, NVFP4, MXFP4, MXFP6 and MXFP8.
 *
 * A linear `X` has `X.weight_packed` or, with a code a byte, `X.weight`; `X.weight_scale`; and as its
 * format needs them `X.weight_shape`, `X.weight_zero_point` and `X.weight_global_scale`.
 *
 * @module
 */

import type { ResolvedScheme, Target } from "../../spec/mod.ts";
import { quantizationConfig } from "./compressed_tensors_config.ts";
import { compressedFormat, floatScales, integerCodes } from "./compressed_tensors_formats.ts";
import { inputEntries, type InputNames } from "./input_scales.ts";
import type { TargetTools } from "./lowbit.ts";
import { type PackedDialect, packedTarget, type Problem, tailProblem } from "./packed_target.ts";

/**
 * The target that writes checkpoints of compressed-tensors.
 *
 * @example
 * ```ts
 * import { compressedTensorsTarget } from "./compressed_tensors.ts";
 * import { resolveScheme } from "../lookup.ts";
 * const storage = { kind: "coded" as const, scheme: resolveScheme("int4_g32_sym") };
 * compressedTensorsTarget({}).fit({ name: "x.weight", shape: [2, 33], storage, linear: true }).ok;
 * // false: 33 columns are not whole groups of 32
 * ```
 */
export function compressedTensorsTarget(tools: TargetTools = {}): Target {
  return packedTarget(DIALECT, tools);
}

const DIALECT: PackedDialect = {
  id: "compressed-tensors",
  summary: "int4, int8, FP8, NVFP4 and MX weights for transformers and vLLM",
  problem: (tensor, scheme) =>
    schemeProblem(scheme, tensor.activation) ?? tailProblem(tensor, scheme) ??
      activationProblem(scheme, tensor.activation),
  layout: (scheme, { activation }) => compressedFormat(scheme, activation)!.layout(scheme),
  parts: (tensor, scheme, tools) => [
    ...compressedFormat(scheme, tensor.activation)!.parts(tensor, scheme, tools),
    ...inputEntries(inputNames(tensor.name, tensor.activation), tensor.activation),
  ],
  config: quantizationConfig,
};

/** What the static scale of the inputs of a weight is called; where groups have scales, the global one. */
export function inputNames(weight: string, activation?: ResolvedScheme): InputNames {
  const module = weight.replace(/weight$/, "");
  const scale = activation?.scale.second ? "input_global_scale" : "input_scale";
  return { scale: `${module}${scale}`, zero: `${module}input_zero_point` };
}

function schemeProblem(
  scheme: ResolvedScheme,
  activation: ResolvedScheme | undefined,
): Problem | undefined {
  if (compressedFormat(scheme, activation)) return undefined;
  const { element, granularity, scale, zero_point } = scheme;
  const advice = "choose a scheme of int4, int8 or FP8, nvfp4_ct or an MX format";
  if (integerCodes(scheme) && floatScales(scheme)) {
    return [`int${element.bits} has no scales by ${granularity.kind} here`, advice];
  }
  if (!integerCodes(scheme)) {
    return [
      `compressed-tensors here has no elements of ${element.id} ` +
      (zero_point ? `with zero points of kind ${zero_point.kind}` : "without zero points"),
      advice,
    ];
  }
  return [
    `compressed-tensors has no scales of ${scale.rule === "none" ? "none" : scale.format}`,
    "store scales as float16, bfloat16 or float32",
  ];
}

/** Inputs are of the kind of the weights: int8, FP8, or NVFP4 with a static scale of the tensor. */
function activationProblem(
  weight: ResolvedScheme,
  activation: ResolvedScheme | undefined,
): Problem | undefined {
  if (!activation) return undefined;
  const { element, granularity, zero_point, timing, keep_above, scale } = activation;
  if (scale.second?.kind === "tensor" && timing === "static") {
    const same = (scheme: ResolvedScheme) =>
      JSON.stringify([scheme.element, scheme.granularity, scheme.scale]);
    if (same(weight) === same(activation)) return undefined;
  }
  const integers = weight.element.family === "int";
  const kind = integers
    ? element.family === "int" && element.signed && element.bits === 8
    : element.id === "float8_e4m3fn" && weight.element.id === "float8_e4m3fn" &&
      weight.scale.format !== "float8_e8m0fnu";
  const cut = timing === "static" ? granularity.kind === "tensor" : granularity.kind === "token" ||
    (!integers && granularity.kind === "group" && scale.format === "float32");
  if (kind && cut && !zero_point && keep_above === undefined) return undefined;
  return [
    `cannot say activations of ${activation.id} for weights of ${weight.id}`,
    integers
      ? "use int8_token, int8_tensor_static, or none"
      : "use fp8_token, fp8_g128 or none, with FP8 weights",
  ];
}
