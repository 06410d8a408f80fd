/**
 * Writing FP8 checkpoints as DeepSeek has them and `transformers` (finegrained FP8), vLLM and SGLang
 * read them: E4M3 codes, and a scale for each block, which the weight is multiplied with.
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
import { encodeScales } from "../containers/scales.ts";
import { layout as layoutOf } from "../lookup.ts";
import { packMatrix } from "../pack.ts";
import type { TargetTools } from "./lowbit.ts";
import {
  onlyScheme,
  type PackedDialect,
  packedTarget,
  plainModules,
  type Problem,
  schemeConflicts,
  type WrittenPart,
} from "./packed_target.ts";

/**
 * The target that writes FP8 checkpoints of DeepSeek.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { resolveScheme } from "../lookup.ts";
 * import { fp8Target } from "./fp8.ts";
 * const storage = { kind: "coded" as const, scheme: resolveScheme("fp8_b128") };
 * const fit = fp8Target().fit({ name: "x.weight", shape: [256, 256], storage, linear: true });
 * assertEquals(fit.ok && fit.bytes, 256 * 256 + 4 * 4);
 * ```
 */
export function fp8Target(tools: TargetTools = {}): Target {
  return packedTarget(DIALECT, tools);
}

const DIALECT: PackedDialect = {
  id: "fp8",
  summary: "FP8 weights in blocks of 128 x 128 as DeepSeek has them, for transformers and vLLM",
  problem: (tensor, scheme) => schemeProblem(scheme) ?? inputProblem(tensor, scheme),
  layout: () => "bytes",
  parts,
  conflicts: (tensors) => schemeConflicts(tensors, "compressed-tensors or lowbit"),
  config(tensors) {
    const { granularity } = onlyScheme(tensors);
    const size = granularity.kind === "block" ? [granularity.rows, granularity.columns] : [];
    return {
      activation_scheme: "dynamic",
      fmt: "e4m3",
      modules_to_not_convert: plainModules(tensors),
      quant_method: "fp8",
      weight_block_size: size,
    };
  },
};

function schemeProblem({ element, granularity, scale }: ResolvedScheme): Problem | undefined {
  const advice = "choose fp8_b128";
  if (element.id !== "float8_e4m3fn") return [`fp8 has no elements of ${element.id}`, advice];
  if (granularity.kind !== "block") return [`fp8 has no scales by ${granularity.kind}`, advice];
  const fine = scale.rule !== "none" && !scale.second &&
    ["float32", "bfloat16"].includes(scale.format);
  return fine ? undefined : [`fp8 has no scales of ${scale.format}`, advice];
}

/** Kernels quantise inputs as they come, in groups as wide as a block. */
function inputProblem(
  { activation }: PlannedTensor,
  { granularity: block }: ResolvedScheme,
): Problem | undefined {
  if (!activation) return undefined;
  const { element, granularity } = activation;
  const fine = element.id === "float8_e4m3fn" && granularity.kind === "group" &&
    block.kind === "block" && granularity.size === block.columns;
  if (fine) return undefined;
  return [`fp8 cannot say activations of ${activation.id}`, "use fp8_g128, or none"];
}

function parts(
  { name, shape: [rows, columns] }: PlannedTensor,
  { granularity, scale: { format } }: ResolvedScheme,
  { kernels }: TargetTools,
): WrittenPart[] {
  const { gridRows, gridColumns } = tiling(granularity, rows, columns);
  const size = { rows, columns, bits: 8 };
  return [
    {
      name,
      type: "float8_e4m3fn",
      shape: [rows, columns],
      bytes: ({ codes }) => packMatrix(kernels, { codes }, size, layoutOf("bytes")),
    },
    {
      name: `${name}_scale_inv`,
      type: format as PlainType,
      shape: [gridRows, gridColumns],
      bytes: ({ parameters: { scales } }) => encodeScales(format, scales),
    },
  ];
}
