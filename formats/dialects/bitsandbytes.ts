/**
 * Writing checkpoints of bitsandbytes, as `transformers` loads them: NF4 and FP4 in blocks, with
 * double quantisation or without, and LLM.int8.
 *
 * LLM.int8 stores the largest magnitude of a row, which is multiplied by 1/127 on reading: most scales
 * come back as they are, the others within one unit in the last place.
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
import { encodePlain } from "../containers/plain.ts";
import { encodeScales } from "../containers/scales.ts";
import { layout as layoutOf, numberFormat } from "../lookup.ts";
import { packMatrix } from "../pack.ts";
import { decodeTable } from "../reference.ts";
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

/** What bitsandbytes calls the number formats that it holds in 4 bits. */
const TYPES: Readonly<Record<string, string>> = { nf4: "nf4", fp4_bnb: "fp4" };

const BLOCKS = [32, 64, 128, 256, 512, 1024, 2048, 4096];

/** Bytes of the state of a weight: JSON, padded with spaces, because its numbers vary in length. */
const STATE_BYTES = 256;

/**
 * The target that writes checkpoints of bitsandbytes.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { resolveScheme } from "../lookup.ts";
 * import { bitsandbytesTarget } from "./bitsandbytes.ts";
 * const storage = { kind: "coded" as const, scheme: resolveScheme("nf4_b64_dq") };
 * const fit = bitsandbytesTarget().fit({ name: "x.weight", shape: [2, 64], storage, linear: true });
 * assertEquals(fit.ok && fit.layout, "bitsandbytes4");
 * ```
 */
export function bitsandbytesTarget(tools: TargetTools = {}): Target {
  return packedTarget(DIALECT, tools);
}

const DIALECT: PackedDialect = {
  id: "bitsandbytes",
  summary: "NF4, FP4 and LLM.int8 weights for transformers with bitsandbytes",
  problem: (tensor, scheme) =>
    activationProblem(DIALECT, tensor) ?? schemeProblem(scheme) ?? tailProblem(tensor, scheme),
  layout: ({ element }) => element.bits === 8 ? "bytes" : "bitsandbytes4",
  parts: (tensor, scheme, tools) =>
    scheme.element.bits === 8 ? rowParts(tensor, tools) : blockParts(tensor, scheme, tools),
  conflicts: (tensors) => schemeConflicts(tensors, "lowbit"),
  config(tensors) {
    const { element, scale } = onlyScheme(tensors);
    const four = element.bits === 4;
    return {
      bnb_4bit_compute_dtype: "float32",
      bnb_4bit_quant_storage: "uint8",
      bnb_4bit_quant_type: TYPES[element.id] ?? "fp4",
      bnb_4bit_use_double_quant: scale.second !== undefined,
      llm_int8_skip_modules: plainModules(tensors),
      load_in_4bit: four,
      load_in_8bit: !four,
      quant_method: "bitsandbytes",
    };
  },
};

function schemeProblem(
  { element, granularity, scale: { rule, format, second }, zero_point }: ResolvedScheme,
): Problem | undefined {
  const advice = "choose nf4_b64, nf4_b64_dq, fp4_b64 or int8_channel_sym";
  if (zero_point) return ["bitsandbytes has no zero points", advice];
  if (element.id === "int8" && granularity.kind === "channel" && format === "float32") {
    return rule === "none" || second
      ? ["bitsandbytes has no such scales of int8", advice]
      : undefined;
  }
  if (!Object.hasOwn(TYPES, element.id)) {
    return [`bitsandbytes has no elements of ${element.id}`, advice];
  }
  if (granularity.kind !== "group" || !BLOCKS.includes(granularity.size)) {
    return [`bitsandbytes has blocks of ${BLOCKS.join(", ")}`, advice];
  }
  const single = !second && rule !== "none" && format === "float32";
  const double = second?.kind === "double" && format === "dynamic8";
  if (!single && !double) return ["bitsandbytes has no such scales of scales", advice];
}

function blockParts(
  { name, shape: [rows, columns] }: PlannedTensor,
  { element, granularity, scale: { second } }: ResolvedScheme,
  { kernels }: TargetTools,
): WrittenPart[] {
  const { gridRows, gridColumns, tileColumns } = tiling(granularity, rows, columns);
  const blocks = gridRows * gridColumns;
  const type = TYPES[element.id];
  const runs = second?.kind === "double" ? second.tiles : 0;
  const state = {
    quant_type: type,
    blocksize: tileColumns,
    dtype: "float32",
    shape: [rows, columns],
  };
  const size = { rows, columns, bits: 4 };
  const table = (id: string) => () => encodePlain("float32", decodeTable(numberFormat(id)));
  const json = ({ parameters: { second: stored } }: QuantizedTensor) => {
    const nested = {
      nested_blocksize: runs,
      nested_dtype: "float32",
      nested_offset: stored?.offset?.[0],
    };
    const text = JSON.stringify(runs ? { ...state, ...nested } : state);
    return new TextEncoder().encode(text.padEnd(STATE_BYTES));
  };
  return [
    {
      name,
      type: "uint8",
      shape: [rows * columns / 2, 1],
      bytes: ({ codes }) => packMatrix(kernels, { codes }, size, layoutOf("bitsandbytes4")),
    },
    {
      name: `${name}.absmax`,
      type: runs ? "uint8" : "float32",
      shape: [blocks],
      bytes: ({ parameters: { scales, second: stored } }) =>
        encodeScales(runs ? "dynamic8" : "float32", stored?.scales ?? scales),
    },
    ...(runs
      ? [
        {
          name: `${name}.nested_absmax`,
          type: "float32" as const,
          shape: [Math.ceil(blocks / runs)],
          bytes: ({ parameters }: QuantizedTensor) =>
            encodeScales("float32", parameters.second!.over),
        },
        {
          name: `${name}.nested_quant_map`,
          type: "float32" as const,
          shape: [256],
          bytes: table("dynamic8"),
        },
      ]
      : []),
    { name: `${name}.quant_map`, type: "float32", shape: [16], bytes: table(element.id) },
    {
      name: `${name}.quant_state.bitsandbytes__${type}`,
      type: "uint8",
      shape: [STATE_BYTES],
      bytes: json,
    },
  ];
}

/** The maximum of a row that reads back as its scale, if there is one: times 1/127, in f32. */
function rowMaximum(scale: number): number {
  const near = Float32Array.of(scale * 127, 0, 0, 0, 0);
  const bits = new Int32Array(near.buffer);
  [-1, 1, -2, 2].forEach((step, i) => bits[i + 1] = bits[0] + step);
  return near.find((maximum) => Math.fround(maximum * INVERSE) === scale) ?? near[0];
}

const INVERSE = Math.fround(1 / 127);

function rowParts(
  { name, shape: [rows, columns] }: PlannedTensor,
  { kernels }: TargetTools,
): WrittenPart[] {
  const module = moduleName(name);
  const size = { rows, columns, bits: 8 };
  return [
    {
      name,
      type: "int8",
      shape: [rows, columns],
      bytes: ({ codes }) => packMatrix(kernels, { codes }, size, layoutOf("bytes")),
    },
    {
      name: `${module}.SCB`,
      type: "float32",
      shape: [rows],
      bytes: ({ parameters: { scales } }) => encodeScales("float32", scales.map(rowMaximum)),
    },
    { name: `${module}.weight_format`, type: "uint8", shape: [], bytes: () => new Uint8Array(1) },
  ];
}
