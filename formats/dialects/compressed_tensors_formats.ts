/**
 * The formats of compressed-tensors: which weights each holds, and the tensors that it stores. Which
 * one a weight gets follows from its scheme and that of its inputs, as compressed-tensors infers it.
 *
 * @module
 */

import {
  type PlainType,
  type PlannedTensor,
  type QuantizedTensor,
  type ResolvedScheme,
  streamBytes,
  tiling,
} from "../../spec/mod.ts";
import { encodeInt64 } from "../containers/plain.ts";
import { encodeScales } from "../containers/scales.ts";
import { layout as layoutOf, resolveScheme } from "../lookup.ts";
import { packMatrix } from "../pack.ts";
import { zeroCodes } from "./check.ts";
import type { TargetTools } from "./lowbit.ts";
import type { WrittenPart } from "./packed_target.ts";

/** A format of compressed-tensors. */
export interface CompressedFormat {
  /** What `format` calls it. */
  id: string;
  /** Whether it is the one for such weights. */
  holds(scheme: ResolvedScheme, activation?: ResolvedScheme): boolean;
  /** The layout of its codes. */
  layout(scheme: ResolvedScheme): string;
  /** The tensors of a weight. */
  parts(tensor: PlannedTensor, scheme: ResolvedScheme, tools: TargetTools): WrittenPart[];
  /** What the arguments of its weights say of the type of scales. */
  scaleType?: string;
}

const FLOATS = ["float32", "float16", "bfloat16"];

/** The exponents of MX scales, a byte each. */
const EXPONENTS = "float8_e8m0fnu";

/** Whether scales are stored as floats, one level of them. */
export function floatScales({ scale }: ResolvedScheme): boolean {
  return scale.rule !== "none" && !scale.second && FLOATS.includes(scale.format);
}

/** Whether codes are integers of 4 or 8 bits, signed, or unsigned with integer zero points. */
export function integerCodes({ element, zero_point }: ResolvedScheme): boolean {
  return element.family === "int" && element.fraction === 0 &&
    (element.bits === 4 || element.bits === 8) &&
    (zero_point ? zero_point.kind === "int" && !element.signed : element.signed);
}

function exponents(element: string, { element: own, granularity, scale }: ResolvedScheme): boolean {
  return own.id === element && granularity.kind === "group" && granularity.size === 32 &&
    scale.format === EXPONENTS && !scale.second;
}

function isNvfp4({ element, granularity, scale }: ResolvedScheme): boolean {
  const nvfp4 = resolveScheme("nvfp4_ct");
  return element.id === nvfp4.element.id && granularity.kind === "group" &&
    granularity.size === 16 &&
    JSON.stringify(scale.second) === JSON.stringify(nvfp4.scale.second);
}

/** A code a byte, with or without quantised inputs. */
const bytes = {
  layout: ({ zero_point }: ResolvedScheme) => zero_point ? "bytes_offset" : "bytes",
  parts: byteParts,
};

const isByte = (scheme: ResolvedScheme) =>
  floatScales(scheme) && scheme.element.bits === 8 &&
  (integerCodes(scheme) || scheme.element.id === "float8_e4m3fn");

const packsIntegers = (scheme: ResolvedScheme) =>
  integerCodes(scheme) && floatScales(scheme) &&
  (scheme.granularity.kind === "group" || scheme.granularity.kind === "channel");

/** The formats that are written, the particular ones first. */
export const COMPRESSED_FORMATS: readonly CompressedFormat[] = [
  {
    id: "mxfp4-pack-quantized",
    holds: (scheme) => exponents("float4_e2m1fn", scheme),
    layout: () => "fp4_pairs",
    parts: floatParts,
    scaleType: "torch.uint8",
  },
  {
    id: "mxfp6-pack-quantized",
    holds: (scheme) => exponents("float6_e2m3fn", scheme),
    layout: () => "compressed_tensors_fp6",
    parts: floatParts,
    scaleType: "torch.uint8",
  },
  {
    id: "mxfp8-quantized",
    holds: (scheme) => exponents("float8_e4m3fn", scheme),
    layout: () => "bytes",
    parts: byteParts,
    scaleType: "torch.uint8",
  },
  {
    id: "nvfp4-pack-quantized",
    holds: isNvfp4,
    layout: () => "fp4_pairs",
    parts: floatParts,
    scaleType: "torch.float8_e4m3fn",
  },
  {
    id: "int-quantized",
    holds: (scheme, activation) =>
      activation !== undefined && isByte(scheme) && scheme.element.family === "int",
    ...bytes,
  },
  {
    id: "float-quantized",
    holds: (scheme, activation) =>
      activation !== undefined && isByte(scheme) && scheme.element.family !== "int",
    ...bytes,
  },
  { id: "pack-quantized", holds: packsIntegers, layout: packedLayout, parts: packedParts },
  { id: "naive-quantized", holds: isByte, ...bytes },
];

/** The format of a weight; undefined if none holds it. */
export function compressedFormat(
  scheme: ResolvedScheme,
  activation?: ResolvedScheme,
): CompressedFormat | undefined {
  return COMPRESSED_FORMATS.find(({ holds }) => holds(scheme, activation));
}

function packedLayout({ zero_point }: ResolvedScheme): string {
  return zero_point ? "compressed_tensors_uint" : "compressed_tensors_int";
}

function packedParts(
  { name, shape: [rows, columns] }: PlannedTensor,
  scheme: ResolvedScheme,
  { kernels }: TargetTools,
): WrittenPart[] {
  const { bits } = scheme.element;
  const { gridColumns } = tiling(scheme.granularity, rows, columns);
  const words = (count: number) => streamBytes(count, bits, 4) / 4;
  const layout = layoutOf(packedLayout(scheme));
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
        bytes({ parameters }: QuantizedTensor) {
          const codes = zeroCodes(parameters.zeros!, bits, name);
          return packMatrix(kernels, { codes }, { rows, columns: gridColumns, bits }, zeroLayout);
        },
      }]
      : []),
    scalePart(name, [rows, gridColumns], scheme),
  ];
}

function byteParts(
  { name, shape: [rows, columns] }: PlannedTensor,
  scheme: ResolvedScheme,
  { kernels }: TargetTools,
): WrittenPart[] {
  const { element, granularity, zero_point } = scheme;
  const { gridRows, gridColumns } = tiling(granularity, rows, columns);
  const grid = granularity.kind === "tensor" ? [1] : [gridRows, gridColumns];
  const layout = layoutOf(bytes.layout(scheme));
  return [
    {
      name,
      type: element.family === "int" ? "int8" : "float8_e4m3fn",
      shape: [rows, columns],
      bytes: ({ codes }) => packMatrix(kernels, { codes }, { rows, columns, bits: 8 }, layout),
    },
    ...(zero_point
      ? [{
        name: `${name}_zero_point`,
        type: "int8" as const,
        shape: grid,
        bytes: ({ parameters }: QuantizedTensor) =>
          zeroCodes(parameters.zeros!, 8, name).map((zero) => zero ^ 128),
      }]
      : []),
    scalePart(name, grid, scheme),
  ];
}

/** FP4 and FP6: codes packed in rows, scales of one byte, and for NVFP4 what those are divided by. */
function floatParts(
  { name, shape: [rows, columns] }: PlannedTensor,
  scheme: ResolvedScheme,
  { kernels }: TargetTools,
): WrittenPart[] {
  const { bits, id } = scheme.element;
  const layout = layoutOf(id === "float6_e2m3fn" ? "compressed_tensors_fp6" : "fp4_pairs");
  const { gridRows, gridColumns } = tiling(scheme.granularity, rows, columns);
  return [
    {
      name: `${name}_packed`,
      type: "uint8",
      shape: [rows, columns * bits / 8],
      bytes: ({ codes }) => packMatrix(kernels, { codes }, { rows, columns, bits }, layout),
    },
    scalePart(name, [gridRows, gridColumns], scheme),
    ...(scheme.scale.second
      ? [{
        name: `${name}_global_scale`,
        type: "float32" as const,
        shape: [1],
        bytes: ({ parameters }: QuantizedTensor) =>
          encodeScales("float32", parameters.second!.over),
      }]
      : []),
  ];
}

function scalePart(name: string, shape: number[], { scale }: ResolvedScheme): WrittenPart {
  const { format } = scale;
  return {
    name: `${name}_scale`,
    type: format === EXPONENTS ? "uint8" : format as PlainType,
    shape,
    bytes: ({ parameters: { scales, second } }) => encodeScales(format, second?.scales ?? scales),
  };
}
