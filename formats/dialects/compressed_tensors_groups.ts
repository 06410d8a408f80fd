/**
 * The config groups of compressed-tensors: what they say of weights and of inputs.
 *
 * @module
 */

import { type Granularity, LowbitError, type ResolvedScheme } from "../../spec/mod.ts";
import { resolveScheme } from "../lookup.ts";

/** What a config group says of weights. */
export interface ConfigGroup {
  /** Bits of an element. */
  bits: number;
  /** What elements are. */
  type: "int" | "float";
  /** Whether there are no zero points. */
  symmetric: boolean;
  /** Which elements share a scale. */
  granularity: Granularity;
  /** The scheme of the inputs, where it can be represented. */
  activation?: ResolvedScheme;
  /** Whether several codes are in one element of the stored tensor, if the group says so. */
  packed?: boolean;
}

/** Formats whose weights are read. */
const FORMATS = [
  "pack-quantized",
  "int-quantized",
  "float-quantized",
  "naive-quantized",
  "nvfp4-pack-quantized",
  "mxfp4-pack-quantized",
  "mxfp6-pack-quantized",
  "mxfp8-quantized",
  "mixed-precision",
];

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * The config groups of a `quantization_config`.
 *
 * Errors: `UNSUPPORTED` (a format, type, width or strategy that cannot be read), `MALFORMED`.
 */
export function configGroups(config: Record<string, unknown>, file: string): ConfigGroup[] {
  const { format, config_groups: groups } = config;
  if (!FORMATS.includes(format as string)) {
    throw new LowbitError(
      "UNSUPPORTED",
      `compressed-tensors checkpoints of format ${JSON.stringify(format)} cannot be read`,
      { file, field: "quantization_config.format", advice: `${FORMATS.join(", ")} can` },
    );
  }
  const field = "quantization_config.config_groups";
  if (!isRecord(groups)) throw new LowbitError("MALFORMED", "is not an object", { file, field });
  return Object.entries(groups).map(([key, group]) => {
    const weights = isRecord(group) ? group.weights : undefined;
    const place = { file, field: `${field}.${key}.weights` };
    if (!isRecord(weights)) throw new LowbitError("MALFORMED", "is not an object", place);
    const { num_bits, type, strategy, symmetric } = weights;
    const integer = type === "int" && Number.isInteger(num_bits) && (num_bits as number) >= 1 &&
      (num_bits as number) <= 8;
    const float = type === "float" && (num_bits === 8 || num_bits === 6 || num_bits === 4);
    const granularity = granularityOf(weights, place);
    if (!(integer || float) || !granularity) {
      throw new LowbitError(
        "UNSUPPORTED",
        `weights of ${num_bits} bits, type ${type}, strategy ${strategy} cannot be read`,
        { ...place, advice: "integers of 1 to 8 bits and floats of 4, 6 and 8 bits can" },
      );
    }
    return {
      bits: num_bits as number,
      type: type as ConfigGroup["type"],
      symmetric: symmetric !== false,
      granularity,
      activation: activationScheme((group as Record<string, unknown>).input_activations),
      packed: packedFormat((group as Record<string, unknown>).format),
    };
  });
}

function packedFormat(format: unknown): boolean | undefined {
  return typeof format === "string" ? /pack-quantized$/.test(format) : undefined;
}

function granularityOf(
  { strategy, group_size, block_structure }: Record<string, unknown>,
  place: { file: string; field: string },
): Granularity | undefined {
  const positive = (value: unknown): value is number =>
    Number.isSafeInteger(value) && (value as number) > 0 && (value as number) <= 2 ** 20;
  switch (strategy) {
    case "tensor":
      return { kind: "tensor" };
    case "channel":
      return { kind: "channel" };
    case "group":
    case "tensor_group":
      if (positive(group_size)) return { kind: "group", size: group_size };
      throw new LowbitError("MALFORMED", "has no group_size", place);
    case "block": {
      const [rows, columns] = Array.isArray(block_structure) ? block_structure : [];
      if (positive(rows) && positive(columns)) return { kind: "block", rows, columns };
      throw new LowbitError("MALFORMED", "has no block_structure", place);
    }
  }
}

/**
 * Symmetric activations of 8 bits, static by tensor or dynamic by token, of FP8 by group, and of NVFP4
 * under a static scale; others are not represented.
 */
function activationScheme(input: unknown): ResolvedScheme | undefined {
  if (!isRecord(input)) return undefined;
  const { num_bits, type, strategy, symmetric, dynamic } = input;
  if (num_bits === 4 && type === "float" && strategy === "tensor_group" && dynamic === "local") {
    return input.group_size === 16
      ? resolveScheme({ base: "nvfp4_ct", timing: "static" })
      : undefined;
  }
  if (num_bits !== 8 || symmetric === false) return undefined;
  if (strategy === "tensor" && (dynamic ?? false) === false) {
    if (type === "int") return resolveScheme("int8_tensor_static");
    return type === "float" ? resolveScheme({ base: "fp8_tensor", timing: "static" }) : undefined;
  }
  if (strategy === "group" && type === "float" && dynamic === true) {
    const { group_size: size } = input;
    if (!Number.isSafeInteger(size) || (size as number) < 1) return undefined;
    return resolveScheme({
      base: "fp8_g128",
      granularity: { kind: "group", size: size as number },
    });
  }
  if (strategy !== "token" || dynamic !== true) return undefined;
  return type === "int" || type === "float"
    ? resolveScheme(type === "int" ? "int8_token" : "fp8_token")
    : undefined;
}
