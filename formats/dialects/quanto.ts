/**
 * Writing checkpoints of optimum-quanto: qint8 and qfloat8 by channel, qint4 and qint2 by channel or
 * group. `quanto_qmap.json` names the modules, as `QuantizedModelForCausalLM.from_pretrained` needs.
 *
 * @module
 */

import {
  type PlainType,
  type PlannedTensor,
  type ResolvedScheme,
  type Target,
  tiling,
} from "../../spec/mod.ts";
import { encodePlain } from "../containers/plain.ts";
import { encodeScales } from "../containers/scales.ts";
import { sortedJson } from "../containers/json.ts";
import { layout as layoutOf } from "../lookup.ts";
import { packMatrix } from "../pack.ts";
import { zeroCodes } from "./check.ts";
import { moduleName } from "./module_name.ts";
import type { TargetTools } from "./lowbit.ts";
import {
  activationProblem,
  onlyScheme,
  type PackedDialect,
  packedTarget,
  plainModules,
  type Problem,
  schemeConflicts,
  tailProblem,
  type WrittenPart,
} from "./packed_target.ts";

/** What quanto calls elements, and what `QuantoConfig` calls them. */
const TYPES: Readonly<Record<string, [type: string, weights: string]>> = {
  int8: ["qint8", "int8"],
  float8_e4m3fn: ["qfloat8", "float8"],
  uint4: ["qint4", "int4"],
  uint2: ["qint2", "int2"],
};

/**
 * The target that writes checkpoints of optimum-quanto.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { resolveScheme } from "../lookup.ts";
 * import { quantoTarget } from "./quanto.ts";
 * const storage = { kind: "coded" as const, scheme: resolveScheme("int4_g128_asym") };
 * const fit = quantoTarget().fit({ name: "x.weight", shape: [8, 128], storage, linear: true });
 * assertEquals(fit.ok && fit.layout, "quanto4");
 * ```
 */
export function quantoTarget(tools: TargetTools = {}): Target {
  return packedTarget(DIALECT, tools);
}

const DIALECT: PackedDialect = {
  id: "quanto",
  summary: "int8, FP8, int4 and int2 weights for optimum-quanto",
  problem: (tensor, scheme) =>
    activationProblem(DIALECT, tensor) ?? schemeProblem(scheme) ?? tailProblem(tensor, scheme) ??
      groupProblem(tensor, scheme),
  layout: ({ element: { bits } }) => bits === 8 ? "bytes" : `quanto${bits}`,
  parts: (tensor, scheme, tools) =>
    scheme.element.bits === 8
      ? byteParts(tensor, scheme, tools)
      : packedParts(tensor, scheme, tools),
  conflicts: (tensors) => schemeConflicts(tensors, "lowbit"),
  config: (tensors) => ({
    activations: null,
    modules_to_not_convert: plainModules(tensors),
    quant_method: "quanto",
    weights: TYPES[onlyScheme(tensors).element.id][1],
  }),
  files: (tensors) => ({
    "quanto_qmap.json": sortedJson(Object.fromEntries(
      tensors.flatMap(({ name, storage }) =>
        storage.kind === "coded"
          ? [[moduleName(name), {
            activations: "none",
            weights: TYPES[storage.scheme.element.id][0],
          }]]
          : []
      ),
    )),
  }),
};

function schemeProblem(
  { element, granularity, scale, zero_point }: ResolvedScheme,
): Problem | undefined {
  const advice = "choose int8_channel_sym, fp8_channel, or an asymmetric int4 or int2 scheme";
  if (!Object.hasOwn(TYPES, element.id)) return [`quanto has no elements of ${element.id}`, advice];
  const byte = element.bits === 8;
  if (byte && zero_point) return ["quanto has no zero points of 8-bit codes", advice];
  if (!byte && zero_point?.kind !== "int" && zero_point?.kind !== "minimum") {
    return [`quanto has no zero points of kind ${zero_point?.kind ?? "none"}`, advice];
  }
  const { kind } = granularity;
  if (kind !== "channel" && (byte || kind !== "group")) {
    return [`quanto has no scales by ${kind} of ${element.id}`, advice];
  }
  const fine = scale.rule !== "none" && !scale.second &&
    ["float32", "float16", "bfloat16"].includes(scale.format);
  if (!fine) return [`quanto has no scales of ${scale.format}`, "store scales as float32"];
}

/** The group of packed weights, which quanto takes from the columns; none is a scale a row. */
function groupOf(columns: number): number | undefined {
  return columns > 128 ? [128, 96, 64, 32].find((size) => columns % size === 0) : undefined;
}

function groupProblem(
  { shape: [, columns] }: PlannedTensor,
  { element, granularity }: ResolvedScheme,
): Problem | undefined {
  if (element.bits === 8) return undefined;
  const group = groupOf(columns) ?? columns;
  const own = granularity.kind === "group" ? granularity.size : columns;
  if (own === group) return undefined;
  const what = group === columns ? "one scale a row" : `groups of ${group}`;
  return [`quanto has ${what} for ${columns} columns`, `choose a scheme with ${what}`];
}

/** Scales of inputs and outputs, which stay as they are. */
function inputsAndOutputs(name: string): WrittenPart[] {
  return ["input_scale", "output_scale"].map((part) => ({
    name: `${moduleName(name)}.${part}`,
    type: "float32",
    shape: [],
    bytes: () => encodePlain("float32", Float32Array.of(1)),
  }));
}

function byteParts(
  { name, shape: [rows, columns] }: PlannedTensor,
  { element, scale: { format } }: ResolvedScheme,
  { kernels }: TargetTools,
): WrittenPart[] {
  return [
    {
      name: `${name}._data`,
      type: element.family === "int" ? "int8" : "float8_e4m3fn",
      shape: [rows, columns],
      bytes: ({ codes }) =>
        packMatrix(kernels, { codes }, { rows, columns, bits: 8 }, layoutOf("bytes")),
    },
    {
      name: `${name}._scale`,
      type: format as PlainType,
      shape: [rows, 1],
      bytes: ({ parameters: { scales } }) => encodeScales(format, scales),
    },
    ...inputsAndOutputs(name),
  ];
}

/** Groups are rows of the matrix that is packed; a real shift is subtracted after scaling. */
function packedParts(
  { name, shape: [rows, columns] }: PlannedTensor,
  { element: { bits }, granularity, scale: { format }, zero_point }: ResolvedScheme,
  { kernels }: TargetTools,
): WrittenPart[] {
  const { gridRows, gridColumns } = tiling(granularity, rows, columns);
  const groups = gridRows * gridColumns;
  const group = columns / gridColumns;
  const real = zero_point!.kind === "minimum";
  const size = { rows: groups, columns: group, bits };
  return [
    {
      name: `${name}._data._data`,
      type: "uint8",
      shape: [Math.ceil(groups * bits / 8), group],
      bytes: ({ codes }) => packMatrix(kernels, { codes }, size, layoutOf(`quanto${bits}`)),
    },
    {
      name: `${name}._scale`,
      type: format as PlainType,
      shape: [groups, 1],
      bytes: ({ parameters: { scales } }) => encodeScales(format, scales),
    },
    {
      name: `${name}._shift`,
      type: real ? format as PlainType : "int8",
      shape: [groups, 1],
      bytes: ({ parameters: { zeros } }) =>
        real
          ? encodeScales(format, zeros!.map((minimum) => -minimum))
          : zeroCodes(zeros!, bits, name),
    },
    ...inputsAndOutputs(name),
  ];
}
