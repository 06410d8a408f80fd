/**
 * Writing HQQ checkpoints: codes, scales and real zero points of groups along the rows (axis 1), and
 * the settings of every weight as tensors of their own.
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
import { encodeInt64 } from "../containers/plain.ts";
import { encodeScales } from "../containers/scales.ts";
import { layout as layoutOf } from "../lookup.ts";
import { packMatrix } from "../pack.ts";
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

/** How codes of so many bits are packed: the name, the element, and codes in one. */
const PACKING: Readonly<Record<number, { name: string; type: "uint8" | "int32"; count: number }>> =
  {
    1: { name: "1bit_u8", type: "uint8", count: 8 },
    2: { name: "2bit_u8", type: "uint8", count: 4 },
    3: { name: "3bit_32", type: "int32", count: 10 },
    4: { name: "4bit_u8", type: "uint8", count: 2 },
    8: { name: "8bit_u8", type: "uint8", count: 1 },
  };

/**
 * The target that writes HQQ checkpoints.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { resolveScheme } from "../lookup.ts";
 * import { hqqTarget } from "./hqq.ts";
 * const storage = { kind: "coded" as const, scheme: resolveScheme("int4_g64_float_zero") };
 * const fit = hqqTarget().fit({ name: "x.weight", shape: [8, 64], storage, linear: true });
 * assertEquals(fit.ok && fit.layout, "hqq4");
 * ```
 */
export function hqqTarget(tools: TargetTools = {}): Target {
  return packedTarget(DIALECT, tools);
}

const DIALECT: PackedDialect = {
  id: "hqq",
  summary: "weights of 1 to 8 bits with real zero points, for hqq and transformers",
  problem: (tensor, scheme) =>
    activationProblem(DIALECT, tensor) ?? schemeProblem(tensor, scheme) ??
      tailProblem(tensor, scheme),
  layout: ({ element }) => `hqq${element.bits}`,
  parts,
  conflicts: (tensors) => schemeConflicts(tensors, "lowbit"),
  config(tensors) {
    const { element, granularity } = onlyScheme(tensors);
    return {
      quant_config: {
        weight_quant_params: {
          axis: 1,
          group_size: granularity.kind === "group" ? granularity.size : null,
          nbits: element.bits,
        },
      },
      quant_method: "hqq",
      skip_modules: plainModules(tensors),
    };
  },
};

function schemeProblem(
  { shape: [rows, columns] }: PlannedTensor,
  { element, granularity, scale, zero_point }: ResolvedScheme,
): Problem | undefined {
  const advice = "choose int4_g64_float_zero or an asymmetric integer scheme by group";
  const packing = PACKING[element.bits];
  if (element.family !== "int" || element.fraction !== 0 || element.signed || !packing) {
    return [`hqq has no elements of ${element.id}`, advice];
  }
  if (zero_point?.kind !== "float" && zero_point?.kind !== "int") {
    return ["hqq has codes with zero points", advice];
  }
  const group = granularity.kind === "group"
    ? granularity.size
    : granularity.kind === "channel"
    ? columns
    : 0;
  if (group < 8) return [`hqq here has no scales by ${granularity.kind} of ${group}`, advice];
  if (
    scale.rule === "none" || scale.second ||
    !["float32", "float16", "bfloat16"].includes(scale.format)
  ) return [`hqq has no scales of ${scale.format}`, "store scales as float16 or float32"];
  const groups = rows * columns / group;
  if (packing.type === "uint8" && groups % packing.count !== 0) {
    return [`its ${groups} groups are not whole bytes`, "keep it in full precision"];
  }
}

function parts(
  { name, shape: [rows, columns] }: PlannedTensor,
  { element: { bits }, granularity, scale: { format } }: ResolvedScheme,
  { kernels }: TargetTools,
): WrittenPart[] {
  const module = moduleName(name);
  const { gridRows, gridColumns } = tiling(granularity, rows, columns);
  const groups = gridRows * gridColumns;
  const group = columns / gridColumns;
  const packing = PACKING[bits];
  const type = format as PlainType;
  const number = (part: string, value: number): WrittenPart => ({
    name: `${module}.${part}`,
    type: "int32",
    shape: [],
    bytes: () => new Uint8Array(Int32Array.of(value).buffer),
  });
  const flag = (part: string, value: boolean): WrittenPart => ({
    name: `${module}.${part}`,
    type: "uint8",
    shape: [],
    bytes: () => Uint8Array.of(Number(value)),
  });
  const text = (part: string, value: string): WrittenPart => ({
    name: `${module}.${part}`,
    type: "uint8",
    shape: [value.length],
    bytes: () => new TextEncoder().encode(value),
  });
  return [
    {
      name: `${module}.W_q`,
      type: packing.type,
      shape: [Math.ceil(groups / packing.count), group],
      bytes: ({ codes }) =>
        packMatrix(
          kernels,
          { codes },
          { rows: groups, columns: group, bits },
          layoutOf(`hqq${bits}`),
        ),
    },
    {
      name: `${module}.scale`,
      type,
      shape: [groups, 1],
      bytes: ({ parameters: { scales } }) => encodeScales(format, scales),
    },
    {
      name: `${module}.zero`,
      type,
      shape: [groups, 1],
      bytes: ({ parameters: { zeros } }) => encodeScales(format, zeros!),
    },
    {
      name: `${module}.shape`,
      type: "int64",
      shape: [2],
      bytes: () => encodeInt64([rows, columns]),
    },
    number("nbits", bits),
    number("group_size", group),
    number("axis", 1),
    text("packing", packing.name),
    text("unpack_view_dtype", `torch.${packing.type}`),
    text("compute_dtype", `torch.${format}`),
    flag("view_as_float", false),
    flag("quant_scale", false),
    flag("quant_zero", false),
    flag("offload_meta", false),
    flag("encoded_state_dict", true),
    flag("stores_quant_config", true),
    flag("channel_wise", true),
    flag("optimize", true),
    flag("round_zero", bits === 4),
  ];
}
