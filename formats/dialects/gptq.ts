/**
 * Writing GPTQ and AWQ checkpoints, as GPTQModel, vLLM and `transformers` load them.
 *
 * Both hold integers in groups with f16 scales. Symmetric GPTQ weights are written in version 1,
 * which every program reads; weights with zero points in version 2, because version 1 stores zero
 * points less one and has no place for a zero point of 0.
 *
 * @module
 */

import {
  type PlannedTensor,
  type QuantizedTensor,
  type ResolvedScheme,
  type Target,
  tiling,
} from "../../spec/mod.ts";
import { encodeUint32 } from "../containers/plain.ts";
import { layout as layoutOf } from "../lookup.ts";
import { packMatrix } from "../pack.ts";
import { packScales } from "../pack_scales.ts";
import { zeroCodes } from "./check.ts";
import { inColumns } from "./column_order.ts";
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

/**
 * The target that writes GPTQ checkpoints.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { resolveScheme } from "../lookup.ts";
 * import { gptqTarget } from "./gptq.ts";
 * const scheme = resolveScheme({ base: "int4_g32_sym", scale_format: "float16" });
 * const storage = { kind: "coded" as const, scheme };
 * const fit = gptqTarget().fit({ name: "x.weight", shape: [32, 64], storage, linear: true });
 * assertEquals(fit.ok && fit.layout, "gptq_int");
 * ```
 */
export function gptqTarget(tools: TargetTools = {}): Target {
  return packedTarget(GPTQ, tools);
}

/**
 * The target that writes AWQ checkpoints, version gemm.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { resolveScheme } from "../lookup.ts";
 * import { awqTarget } from "./gptq.ts";
 * const scheme = resolveScheme({ base: "int8_g32_asym", scale_format: "float16" });
 * const storage = { kind: "coded" as const, scheme };
 * const fit = awqTarget().fit({ name: "x.weight", shape: [32, 64], storage, linear: true });
 * assertEquals(!fit.ok && fit.problem, "awq has no elements of uint8");
 * ```
 */
export function awqTarget(tools: TargetTools = {}): Target {
  return packedTarget(AWQ, tools);
}

const GPTQ: PackedDialect = {
  id: "gptq",
  summary: "int2, int3, int4 and int8 weights in groups for GPTQModel, vLLM and transformers",
  problem: (tensor, scheme) =>
    activationProblem(GPTQ, tensor) ?? schemeProblem("gptq", [2, 3, 4, 8], scheme) ??
      tailProblem(tensor, scheme) ?? wordProblem(tensor, 32),
  layout: ({ zero_point }) => zero_point ? "gptq_uint" : "gptq_int",
  parts: gptqParts,
  sides: ["order"],
  conflicts: (tensors) => schemeConflicts(tensors, "compressed-tensors or lowbit"),
  config(tensors, { provenance }) {
    const scheme = onlyScheme(tensors);
    const skipped = plainModules(tensors).map((name) => [`-:^${name.replaceAll(".", "\\.")}$`, {}]);
    return {
      bits: scheme.element.bits,
      checkpoint_format: scheme.zero_point ? "gptq_v2" : "gptq",
      desc_act: tensors.some(({ ordered }) => ordered),
      ...(skipped.length > 0 && { dynamic: Object.fromEntries(skipped) }),
      group_size: groupSize(scheme),
      lm_head: tensors.some(({ name, storage }) =>
        name === "lm_head.weight" && storage.kind === "coded"
      ),
      meta: { quantizer: [`lowbit:${provenance.lowbit}`] },
      pack_dtype: "int32",
      quant_method: "gptq",
      sym: !scheme.zero_point,
    };
  },
};

const AWQ: PackedDialect = {
  id: "awq",
  summary: "int4 weights in groups for AutoAWQ, vLLM and transformers (gemm)",
  problem: (tensor, scheme) =>
    activationProblem(AWQ, tensor) ?? schemeProblem("awq", [4], scheme) ??
      tailProblem(tensor, scheme) ?? wordProblem(tensor, 8),
  layout: () => "awq_gemm",
  parts: awqParts,
  conflicts: (tensors) => schemeConflicts(tensors, "compressed-tensors or lowbit"),
  config: (tensors) => ({
    bits: 4,
    group_size: groupSize(onlyScheme(tensors)),
    modules_to_not_convert: plainModules(tensors),
    quant_method: "awq",
    version: "gemm",
    zero_point: true,
  }),
};

function groupSize({ granularity }: ResolvedScheme): number {
  return granularity.kind === "group" ? granularity.size : -1;
}

function schemeProblem(
  id: string,
  bits: readonly number[],
  { element, granularity, scale, zero_point }: ResolvedScheme,
): Problem | undefined {
  const advice = `choose an integer scheme of ${bits.join(", ")} bits by group or channel`;
  const plain = element.family === "int" && element.fraction === 0 && bits.includes(element.bits);
  if (!plain) return [`${id} has no elements of ${element.id}`, advice];
  if (zero_point && zero_point.kind !== "int") {
    return [`${id} has no zero points of kind ${zero_point.kind}`, advice];
  }
  if (element.signed === (zero_point !== undefined)) {
    return [`${id} has signed codes without zero points, and unsigned with them`, advice];
  }
  if (granularity.kind !== "group" && granularity.kind !== "channel") {
    return [`${id} has no scales by ${granularity.kind}`, advice];
  }
  if (scale.rule === "none" || scale.second || scale.format !== "float16") {
    return [`${id} has no scales of ${scale.format}`, "store scales with scale_format: float16"];
  }
}

/** Codes lie in words of 32 bits. */
function wordProblem({ shape: [rows, columns] }: PlannedTensor, of: number): Problem | undefined {
  if (rows % of === 0 && columns % of === 0) return undefined;
  return [`its ${rows} x ${columns} are not multiples of ${of}`, "keep it in full precision"];
}

/** Scales and zero points, group after group. */
function parameterParts(
  module: string,
  { shape: [rows, columns] }: PlannedTensor,
  scheme: ResolvedScheme,
  zeroLayout: string,
  { kernels }: TargetTools,
): WrittenPart[] {
  const { bits } = scheme.element;
  const grid = { rows, columns: tiling(scheme.granularity, rows, columns).gridColumns };
  const layout = layoutOf(zeroLayout);
  const middle = () => new Uint8Array(rows * grid.columns).fill(2 ** (bits - 1));
  return [
    {
      name: `${module}.qzeros`,
      type: "int32",
      shape: [grid.columns, rows * bits / 32],
      bytes({ parameters: { zeros } }) {
        const codes = scheme.zero_point ? zeroCodes(zeros!, bits, `${module}.weight`) : middle();
        return packMatrix(kernels, { codes }, { ...grid, bits }, layout);
      },
    },
    {
      name: `${module}.scales`,
      type: "float16",
      shape: [grid.columns, rows],
      bytes: ({ parameters: { scales } }) =>
        packScales("float16", scales, grid, layoutOf("group_major")),
    },
  ];
}

function gptqParts(
  tensor: PlannedTensor,
  scheme: ResolvedScheme,
  tools: TargetTools,
): WrittenPart[] {
  const { name, shape: [rows, columns] } = tensor;
  const module = moduleName(name);
  const { bits } = scheme.element;
  const layout = layoutOf(GPTQ.layout(scheme, tensor));
  const group = scheme.granularity.kind === "group" ? scheme.granularity.size : columns;
  return [
    {
      name: `${module}.qweight`,
      type: "int32",
      shape: [columns * bits / 32, rows],
      bytes: (quantized) => {
        const { codes } = inColumns(quantized);
        return packMatrix(tools.kernels, { codes }, { rows, columns, bits }, layout);
      },
    },
    ...parameterParts(
      module,
      tensor,
      scheme,
      scheme.zero_point ? "gptq_zeros_v2" : "gptq_zeros_v1",
      tools,
    ),
    {
      name: `${module}.g_idx`,
      type: "int32",
      shape: [columns],
      bytes: (quantized) => encodeUint32(inColumns(quantized).places.map((place) => place / group)),
    },
  ];
}

function awqParts(
  tensor: PlannedTensor,
  scheme: ResolvedScheme,
  tools: TargetTools,
): WrittenPart[] {
  const { name, shape: [rows, columns] } = tensor;
  const module = moduleName(name);
  const { bits } = scheme.element;
  const layout = layoutOf("awq_gemm");
  // Codes are unsigned there: of a signed one, the sign bit is turned.
  const unsigned = ({ codes }: QuantizedTensor) =>
    scheme.zero_point ? codes : codes.map((code) => code ^ 2 ** (bits - 1));
  return [
    {
      name: `${module}.qweight`,
      type: "int32",
      shape: [columns, rows * bits / 32],
      bytes: (quantized) =>
        packMatrix(tools.kernels, { codes: unsigned(quantized) }, { rows, columns, bits }, layout),
    },
    ...parameterParts(module, tensor, scheme, "awq_gemm", tools),
  ];
}
