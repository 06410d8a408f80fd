/**
 * Reading `pack-quantized` checkpoints of compressed-tensors.
 *
 * @module
 */

import {
  type Granularity,
  LowbitError,
  type QuantizedTensor,
  type ResolvedScheme,
  type StoredTensor,
  streamBytes,
} from "../../spec/mod.ts";
import { decodePlain } from "../containers/plain.ts";
import { layout as layoutOf, resolveScheme } from "../lookup.ts";
import { unpackMatrix } from "../pack.ts";
import { codedTensor, type Tools } from "./coded.ts";
import type { DirectoryTensors, TensorPart } from "./directory.ts";

/** What a config group says of weights. */
interface WeightArguments {
  bits: number;
  symmetric: boolean;
  /** Elements of a group; undefined for a scale a row. */
  group?: number;
  activation?: ResolvedScheme;
}

/** The coded tensors of a checkpoint, and the schemes of the inputs of their linears. */
export interface PackQuantized {
  /** By the names of the weights. */
  tensors: Map<string, StoredTensor>;
  /** By the names of the weights. */
  activations: Map<string, ResolvedScheme>;
}

/**
 * The coded tensors of a `pack-quantized` checkpoint; takes their parts from `directory`.
 *
 * Which config group a weight belongs to is decided by its shapes: bits by the width of the packed
 * rows, the group by the number of scales, symmetry by the presence of zero points.
 *
 * Errors: `UNSUPPORTED` (other formats, other bits, activation order), `MALFORMED`, `NOT_FOUND`.
 */
export async function packQuantizedTensors(
  directory: DirectoryTensors,
  config: Record<string, unknown>,
  file: string,
  tools: Tools,
): Promise<PackQuantized> {
  const { format } = config;
  if (format !== "pack-quantized") {
    throw new LowbitError(
      "UNSUPPORTED",
      `compressed-tensors checkpoints of format ${JSON.stringify(format)} cannot be read`,
      { file, field: "quantization_config.format", advice: "only pack-quantized can" },
    );
  }
  const groups = configGroups(config, file);
  const tensors = new Map<string, StoredTensor>();
  const activations = new Map<string, ResolvedScheme>();
  for (const packed of directory.names().filter((name) => name.endsWith(".weight_packed"))) {
    const name = packed.slice(0, -"_packed".length);
    const { tensor, activation } = await packedTensor(directory, name, groups, tools);
    tensors.set(name, tensor);
    if (activation) activations.set(name, activation);
  }
  return { tensors, activations };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function configGroups(config: Record<string, unknown>, file: string): WeightArguments[] {
  const groups = config.config_groups;
  const field = "quantization_config.config_groups";
  if (!isRecord(groups)) throw new LowbitError("MALFORMED", "is not an object", { file, field });
  return Object.entries(groups).map(([key, group]) => {
    const weights = isRecord(group) ? group.weights : undefined;
    const place = { file, field: `${field}.${key}.weights` };
    if (!isRecord(weights)) throw new LowbitError("MALFORMED", "is not an object", place);
    const { num_bits, type, strategy, symmetric, group_size, actorder } = weights;
    const fine = (num_bits === 4 || num_bits === 8) && type === "int" &&
      (strategy === "group" || strategy === "channel") && (actorder ?? null) !== "group";
    if (!fine) {
      throw new LowbitError(
        "UNSUPPORTED",
        `weights of ${num_bits} bits, type ${type}, strategy ${strategy} cannot be read`,
        { ...place, advice: "int weights of 4 or 8 bits by group or channel can" },
      );
    }
    if (strategy === "group" && !(Number.isSafeInteger(group_size) && (group_size as number) > 0)) {
      throw new LowbitError("MALFORMED", "has no group_size", place);
    }
    return {
      bits: num_bits as number,
      symmetric: symmetric !== false,
      group: strategy === "group" ? group_size as number : undefined,
      activation: activationScheme((group as Record<string, unknown>).input_activations),
    };
  });
}

/** Dynamic symmetric int8 activations with a scale a token; others are not represented. */
function activationScheme(input: unknown): ResolvedScheme | undefined {
  if (!isRecord(input)) return undefined;
  const { num_bits, type, strategy, symmetric, dynamic } = input;
  const known = num_bits === 8 && type === "int" && strategy === "token" && symmetric !== false &&
    dynamic === true;
  return known ? resolveScheme("int8_token") : undefined;
}

async function packedTensor(
  directory: DirectoryTensors,
  name: string,
  groups: readonly WeightArguments[],
  tools: Tools,
): Promise<{ tensor: StoredTensor; activation?: ResolvedScheme }> {
  const packed = directory.part(`${name}_packed`, ["int32"]);
  const file = packed.place.source.name;
  const fail = (code: "MALFORMED" | "UNSUPPORTED", problem: string): never => {
    throw new LowbitError(code, problem, { file, field: name });
  };
  if (directory.has(`${name}_g_idx`)) {
    fail("UNSUPPORTED", "weights in activation order cannot be read");
  }
  const [rows, columns] = await readShape(directory.part(`${name}_shape`, ["int64", "int32"], [2]));
  const scales = directory.part(`${name}_scale`, ["float32", "float16", "bfloat16"]);
  const asymmetric = directory.has(`${name}_zero_point`);
  const [packedRows, words] = packed.place.shape;
  const grid = scales.place.shape[1];
  const group = groups.find((g) =>
    g.symmetric !== asymmetric && words === streamBytes(columns, g.bits, 4) / 4 &&
    grid === (g.group === undefined ? 1 : Math.ceil(columns / g.group))
  );
  if (!group || packedRows !== rows || scales.place.shape[0] !== rows) {
    return fail(
      "MALFORMED",
      `the shapes of its parts fit no config group: [${packed.place.shape}] for [${rows},${columns}]`,
    );
  }
  const scheme = weightScheme(group, scales.place.type);
  const layout = layoutOf(
    asymmetric ? "compressed_tensors_uint" : "compressed_tensors_int",
  );
  const zeroLayout = layoutOf("compressed_tensors_zeros");
  const zeroShape = [streamBytes(rows, group.bits, 4) / 4, grid];
  const zeros = asymmetric ? directory.part(`${name}_zero_point`, ["int32"], zeroShape) : undefined;
  const { bits } = group;
  const tensor = codedTensor({
    name,
    shape: [rows, columns],
    scheme,
    layout,
    bytes: packed.bytes + scales.bytes + (zeros?.bytes ?? 0) + 16,
    file,
    load: async (start, end): Promise<QuantizedTensor> => {
      const size = { rows: end - start, columns, bits };
      const { codes } = unpackMatrix(tools.kernels, await packed.read(start, end), size, layout);
      const result: QuantizedTensor = {
        shape: [end - start, columns],
        scheme,
        codes,
        parameters: {
          scales: decodePlain(scales.place.type, await scales.read(start, end)),
        },
      };
      if (zeros) {
        const size = { rows, columns: grid, bits };
        const all = unpackMatrix(tools.kernels, await zeros.read(), size, zeroLayout).codes;
        result.parameters.zeros = Float32Array.from(all.subarray(start * grid, end * grid));
      }
      return result;
    },
  }, tools);
  return { tensor, activation: group.activation };
}

async function readShape(part: TensorPart): Promise<[number, number]> {
  const [rows, columns] = decodePlain(part.place.type, await part.read());
  const fine = [rows, columns].every((n) => Number.isSafeInteger(n) && n >= 0 && n < 2 ** 24);
  if (fine) return [rows, columns];
  throw new LowbitError("MALFORMED", `says [${rows}, ${columns}]`, {
    file: part.place.source.name,
    field: part.place.name,
  });
}

function weightScheme(group: WeightArguments, scaleFormat: string): ResolvedScheme {
  const granularity: Granularity = group.group === undefined
    ? { kind: "channel" }
    : { kind: "group", size: group.group };
  const label = group.group === undefined ? "channel" : `g${group.group}`;
  const { bits, symmetric } = group;
  return resolveScheme({
    id: `compressed_tensors_int${bits}_${label}_${symmetric ? "sym" : "asym"}`,
    summary: `compressed-tensors int${bits}, read from a checkpoint`,
    element: symmetric ? `int${bits}` : `uint${bits}`,
    granularity,
    scale: {
      rule: symmetric ? "absmax" : "minmax",
      format: scaleFormat,
      ...(symmetric && { divisor: (2 ** bits - 1) / 2 }),
      codes_from: "stored",
      apply: "divide",
      all_zero: 1,
    },
    ...(!symmetric && { zero_point: { kind: "int" as const } }),
    tail: "short",
    source: "compressed-tensors 0.20, pack-quantized",
  });
}
