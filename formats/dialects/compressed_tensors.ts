/**
 * The dialect "compressed-tensors", format `pack-quantized`: integers of 4 and 8 bits by group or
 * channel, as `transformers` and vLLM load them.
 *
 * A linear `X` has `X.weight_packed` (I32, rows of codes in offset binary), `X.weight_scale`,
 * `X.weight_shape` (I64) and, if asymmetric, `X.weight_zero_point` (I32, packed along the rows).
 *
 * @module
 */

import {
  type PlainType,
  type PlannedTensor,
  type ResolvedScheme,
  streamBytes,
  type Target,
  tiling,
} from "../../spec/mod.ts";
import { encodeInt64 } from "../containers/plain.ts";
import { encodeScales } from "../containers/scales.ts";
import { layout as layoutOf } from "../lookup.ts";
import { packMatrix } from "../pack.ts";
import { zeroCodes } from "./check.ts";
import { quantizationConfig } from "./compressed_tensors_config.ts";
import { inputEntries, type InputNames } from "./input_scales.ts";
import type { TargetTools } from "./lowbit.ts";
import {
  type PackedDialect,
  packedTarget,
  type Problem,
  tailProblem,
  type WrittenPart,
} from "./packed_target.ts";

/**
 * The target that writes `pack-quantized` checkpoints of compressed-tensors.
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
  summary: "int4 and int8 weights for transformers and vLLM (pack-quantized)",
  problem: (tensor, scheme) =>
    schemeProblem(scheme) ?? tailProblem(tensor, scheme) ?? activationProblem(tensor.activation),
  layout: layoutId,
  parts,
  config: (tensors) => quantizationConfig(tensors),
};

/** What the static scale of the inputs of a weight is called. */
export function inputNames(weight: string): InputNames {
  const module = weight.replace(/weight$/, "");
  return { scale: `${module}input_scale`, zero: `${module}input_zero_point` };
}

function schemeProblem(scheme: ResolvedScheme): Problem | undefined {
  const { element, granularity, scale, zero_point } = scheme;
  const advice = "choose an int4 or int8 scheme by group or channel";
  const plain = element.family === "int" && element.fraction === 0 &&
    (element.bits === 4 || element.bits === 8);
  if (!plain) return [`pack-quantized here has no elements of ${element.id}`, advice];
  if (zero_point && zero_point.kind !== "int") {
    return [`pack-quantized has no zero points of kind ${zero_point.kind}`, advice];
  }
  if (element.signed === (zero_point !== undefined)) {
    return ["pack-quantized has signed codes without zero points, and unsigned with them", advice];
  }
  if (granularity.kind !== "group" && granularity.kind !== "channel") {
    return [`pack-quantized here has no scales by ${granularity.kind}`, advice];
  }
  if (scale.rule === "none" || !SCALE_FORMATS.includes(scale.format)) {
    return [
      `pack-quantized has no scales of ${scale.rule === "none" ? "none" : scale.format}`,
      "store scales as float16, bfloat16 or float32",
    ];
  }
}

const SCALE_FORMATS = ["float32", "float16", "bfloat16"];

function activationProblem(activation: ResolvedScheme | undefined): Problem | undefined {
  if (!activation) return undefined;
  const { element, granularity, zero_point, timing, keep_above } = activation;
  const fine = element.family === "int" && element.signed && element.bits === 8 &&
    !zero_point && keep_above === undefined &&
    (timing === "static" ? granularity.kind === "tensor" : granularity.kind === "token");
  if (fine) return undefined;
  return [
    `cannot say activations of ${activation.id}`,
    "use int8_token, int8_tensor_static, or none",
  ];
}

function layoutId({ zero_point }: ResolvedScheme): string {
  return zero_point ? "compressed_tensors_uint" : "compressed_tensors_int";
}

/** The tensors of a coded weight. */
function parts(
  { name, shape: [rows, columns], activation }: PlannedTensor,
  scheme: ResolvedScheme,
  { kernels }: TargetTools,
): WrittenPart[] {
  const { bits } = scheme.element;
  const { gridColumns } = tiling(scheme.granularity, rows, columns);
  const words = (count: number) => streamBytes(count, bits, 4) / 4;
  const layout = layoutOf(layoutId(scheme));
  const zeroLayout = layoutOf("compressed_tensors_zeros");
  const size = { rows, columns, bits };
  return [
    {
      name: `${name}_packed`,
      type: "int32",
      shape: [rows, words(columns)],
      bytes: ({ codes }) => packMatrix(kernels, { codes }, size, layout),
    },
    {
      name: `${name}_shape`,
      type: "int64",
      shape: [2],
      bytes: () => encodeInt64([rows, columns]),
    },
    ...(scheme.zero_point
      ? [{
        name: `${name}_zero_point`,
        type: "int32" as const,
        shape: [words(rows), gridColumns],
        bytes({ parameters }: Parameters<WrittenPart["bytes"]>[0]) {
          const codes = zeroCodes(parameters.zeros!, bits, name);
          return packMatrix(kernels, { codes }, { rows, columns: gridColumns, bits }, zeroLayout);
        },
      }]
      : []),
    {
      name: `${name}_scale`,
      type: scheme.scale.format as PlainType,
      shape: [rows, gridColumns],
      bytes: ({ parameters }) => encodeScales(scheme.scale.format, parameters.scales),
    },
    ...inputEntries(inputNames(name), activation),
  ];
}
