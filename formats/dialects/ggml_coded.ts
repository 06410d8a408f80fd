/**
 * The block types of ggml that are codes with scales: which scheme and which layout each is.
 *
 * @module
 */

import type {
  GridParameters,
  Layout,
  LayoutPart,
  PartName,
  QuantizedTensor,
  ResolvedScheme,
  SecondLevel,
} from "../../spec/mod.ts";
import { tiling } from "../../spec/mod.ts";
import { numberFormat, resolveScheme } from "../lookup.ts";
import { parametersFrom } from "../parameter_parts.ts";
import { decodeTable } from "../reference.ts";
import { scaleStorage } from "../scale_storage.ts";

/** A block type that is codes with scales. */
export interface GgmlCoded {
  /** The scheme of the catalog. */
  scheme: string;
  /** The layout of the catalog. */
  layout: string;
  /** `general.file_type` of a file of such blocks (llama.cpp's `LLAMA_FTYPE`), if there is one. */
  fileType?: number;
  /** The same of files that mix it with K-quants of more bits, where that has a number. */
  mixedFileType?: number;
}

const ROWS: readonly [type: string, scheme: string, fileType?: number, mixedFileType?: number][] = [
  ["Q4_0", "q4_0", 2],
  ["Q4_1", "q4_1", 3],
  ["Q5_0", "q5_0", 8],
  ["Q5_1", "q5_1", 9],
  ["Q8_0", "q8_0", 7],
  ["Q8_1", "q8_1"],
  ["Q2_K", "q2_k", 10],
  ["Q3_K", "q3_k", 11, 12],
  ["Q4_K", "q4_k", 14, 15],
  ["Q5_K", "q5_k", 16, 17],
  ["Q6_K", "q6_k", 18],
  ["Q8_K", "q8_k"],
  ["IQ4_NL", "iq4_nl", 25],
  ["IQ4_XS", "iq4_xs", 30],
  ["TQ1_0", "tq1_0", 36],
  ["TQ2_0", "tq2_0", 37],
  ["MXFP4", "ggml_mxfp4", 38],
  ["NVFP4", "ggml_nvfp4", 39],
  ["Q1_0", "q1_0", 40],
];

/** The block types that are codes with scales, by their names in ggml. */
export const GGML_CODED: ReadonlyMap<string, GgmlCoded> = new Map(
  ROWS.map(([type, scheme, fileType, mixedFileType]) => [
    type,
    { scheme, layout: `ggml_${type.toLowerCase()}`, fileType, mixedFileType },
  ]),
);

/**
 * The ggml block type that holds the codes and parameters of a scheme, however they were chosen: the
 * type of that scheme, or the first whose codes, scales and groups mean the same.
 */
export function blockType(scheme: ResolvedScheme): string | undefined {
  const types = [...GGML_CODED].filter(([, row]) => sameAlgebra(resolveScheme(row.scheme), scheme));
  return (types.find(([, row]) => row.scheme === scheme.id) ?? types[0])?.[0];
}

function sameAlgebra(a: ResolvedScheme, b: ResolvedScheme): boolean {
  return form(a) === form(b) && sameValues(a, b);
}

/** What decides how codes and parameters are stored and read back, beside the values of codes. */
function form({ element, granularity, scale, zero_point }: ResolvedScheme): string {
  const scaled = scale.rule !== "none";
  return JSON.stringify([
    element.bits,
    granularity,
    scaled,
    scale.format,
    scale.second,
    zero_point,
  ]);
}

/** Whether every code of `b` that is a number means that of `a`. */
function sameValues(a: ResolvedScheme, b: ResolvedScheme): boolean {
  const values = decodeTable(a.element);
  return decodeTable(b.element).every((value, code) =>
    Number.isNaN(value) || value === values[code]
  );
}

/** The names of the parts of a block, by the names of stored parameters. */
function partNames(second: SecondLevel | undefined): [name: string, part: PartName][] {
  return second
    ? [
      ["scales", "scale"],
      ["minima", "minimum"],
      ["over", "super_scale"],
      ["overMinima", "super_minimum"],
    ]
    : [["scales", "scale"], ["zeros", "minimum"]];
}

/** Parameters from the parts of blocks. */
export function parametersOf(
  scheme: ResolvedScheme,
  [rows, columns]: [rows: number, columns: number],
  parts: Partial<Record<PartName, Float32Array>>,
): GridParameters {
  const named = new Map<string, Float32Array>();
  for (const [name, part] of partNames(scheme.scale.second)) {
    const values = parts[part];
    if (values) named.set(name, values);
  }
  return parametersFrom(scheme, tiling(scheme.granularity, rows, columns), named);
}

/** The parts of the blocks of a quantised tensor. */
export function blockParts(
  tensor: QuantizedTensor,
  layout: Layout,
): Partial<Record<PartName, Float32Array>> {
  const { scheme, parameters } = tensor;
  const values = (parameters.second ?? parameters) as unknown as Record<string, Float32Array>;
  const parts: Partial<Record<PartName, Float32Array>> = {};
  for (const [name, part] of partNames(scheme.scale.second)) {
    if (values[name]) parts[part] = values[name];
  }
  const sum = layout.parts?.find(({ part }) => part === "sum");
  if (sum && layout.unit.kind === "block") parts.sum = sums(tensor, sum, layout.unit.codes);
  return parts;
}

/** Sums of the codes of runs, or of their values where the format of sums is a float. */
function sums(
  { scheme, codes, parameters: { scales, unrounded } }: QuantizedTensor,
  { format, count }: LayoutPart,
  blockCodes: number,
): Float32Array {
  const run = blockCodes / count;
  const values = decodeTable(scheme.element);
  const store = scaleStorage(format);
  const scaled = numberFormat(format).family === "float";
  return Float32Array.from({ length: codes.length / run }, (_, i) => {
    let sum = 0;
    for (let k = i * run; k < (i + 1) * run; k++) sum += values[codes[k]];
    const scale = (unrounded ?? scales)[Math.floor(i * run / blockCodes)];
    return scaled ? store(Math.fround(sum * scale)) : sum;
  });
}
