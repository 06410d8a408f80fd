/**
 * Reading checkpoints of compressed-tensors: `pack-quantized`, the formats with a code a byte
 * (`int-quantized`, `float-quantized`, `naive-quantized`, `mxfp8-quantized`), and FP4 and FP6
 * (`nvfp4-pack-quantized`, `mxfp4-pack-quantized`, `mxfp6-pack-quantized`).
 *
 * @module
 */

import {
  type Granularity,
  granularityLabel,
  LowbitError,
  type PlainType,
  type ResolvedScheme,
  streamBytes,
  tiling,
} from "../../spec/mod.ts";
import { decodePlain } from "../containers/plain.ts";
import { layout as layoutOf, resolveScheme } from "../lookup.ts";
import type { Tools } from "./coded.ts";
import { type ConfigGroup, configGroups } from "./compressed_tensors_groups.ts";
import { inputNames } from "./compressed_tensors.ts";
import { groupIndex, groupOrder } from "./column_order.ts";
import type { DirectoryTensors, TensorPart } from "./directory.ts";
import { withInputScales } from "./input_scales.ts";
import {
  allValues,
  type DialectReader,
  FoundTensors,
  integerScheme,
  packedValues,
  rowValues,
  type Values,
} from "./packed.ts";

const SCALE_TYPES: readonly PlainType[] = ["float32", "float16", "bfloat16"];

/** The parts of a weight, before it is known which config group it belongs to. */
interface Parts {
  name: string;
  directory: DirectoryTensors;
  codes: TensorPart;
  scales: TensorPart;
  tools: Tools;
}

/**
 * The coded tensors of a checkpoint of compressed-tensors.
 *
 * Which config group a weight belongs to is decided by its parts: bits by the width of its rows, the
 * granularity by the number of scales, symmetry by the presence of zero points.
 *
 * Errors: `UNSUPPORTED` (other widths and types), `MALFORMED`, `NOT_FOUND`.
 */
export const compressedTensors: DialectReader = async (directory, config, file, tools) => {
  const all = configGroups(config, file);
  const found = new FoundTensors();
  for (const scale of directory.names().filter((name) => name.endsWith(".weight_scale"))) {
    const name = scale.slice(0, -"_scale".length);
    const packed = directory.has(`${name}_packed`);
    const groups = all.filter((group) => group.packed === undefined || group.packed === packed);
    const codes = directory.part(packed ? `${name}_packed` : name, [
      ...packed ? ["int32", "uint8"] as const : ["int8", "float8_e4m3fn"] as const,
    ]);
    const scales = directory.part(scale, [...SCALE_TYPES, "uint8", "float8_e4m3fn"]);
    const parts = { name, directory, codes, scales, tools };
    const { type } = codes.place;
    if (directory.has(`${name}_g_idx`) && type !== "int32") {
      throw fail(parts, "UNSUPPORTED", "only packed integers can be read in activation order");
    }
    const group = type === "int32"
      ? await packedIntegers(found, parts, groups)
      : type === "uint8"
      ? packedFloats(found, parts, groups)
      : wholeBytes(found, parts, groups);
    if (group.activation) found.activations.set(name, group.activation);
    const stored = found.tensors.get(name);
    if (stored) {
      found.tensors.set(
        name,
        withInputScales(stored, directory, inputNames(name, group.activation), group.activation),
      );
    }
  }
  return found;
};

function fail({ name, codes }: Parts, code: "MALFORMED" | "UNSUPPORTED", problem: string) {
  return new LowbitError(code, problem, { file: codes.place.source.name, field: name });
}

function noGroup(parts: Parts, [rows, columns]: readonly number[]): LowbitError {
  const shapes = `[${parts.codes.place.shape}] with scales [${parts.scales.place.shape}]`;
  return fail(
    parts,
    "MALFORMED",
    `the shapes of its parts fit no config group: ${shapes} for [${rows},${columns}]`,
  );
}

/** The grid of scales of a granularity, if the tensor of scales has it. */
function gridOf(
  { scales: { place: { shape } } }: Parts,
  granularity: Granularity,
  [rows, columns]: readonly number[],
): { rows: number; columns: number } | undefined {
  const { gridRows, gridColumns } = tiling(granularity, rows, columns);
  const count = shape.reduce((product, size) => product * size, 1);
  const same = shape.length === 2 && shape[0] === gridRows && shape[1] === gridColumns;
  const flat = shape.length < 2 && count === gridRows * gridColumns &&
    (gridRows === 1 || gridColumns === 1);
  return same || flat ? { rows: gridRows, columns: gridColumns } : undefined;
}

async function packedIntegers(
  found: FoundTensors,
  parts: Parts,
  groups: readonly ConfigGroup[],
): Promise<ConfigGroup> {
  const { name, directory, codes, scales, tools } = parts;
  const shape = directory.part(`${name}_shape`, ["int64", "int32"], [2]);
  const [rows, columns] = await readShape(shape);
  const asymmetric = directory.has(`${name}_zero_point`);
  const { shape: [packedRows, words] } = codes.place;
  const group = groups.find((g) =>
    g.type === "int" && g.symmetric !== asymmetric && packedRows === rows &&
    words === streamBytes(columns, g.bits, 4) / 4 && gridOf(parts, g.granularity, [rows, columns])
  );
  const { type } = scales.place;
  if (!group || !SCALE_TYPES.includes(type)) throw noGroup(parts, [rows, columns]);
  const { bits, granularity } = group;
  const grid = gridOf(parts, granularity, [rows, columns])!;
  const zeros = asymmetric
    ? directory.part(`${name}_zero_point`, ["int32"], [
      streamBytes(grid.rows, bits, 4) / 4,
      grid.columns,
    ])
    : undefined;
  const zeroLayout = layoutOf("compressed_tensors_zeros");
  const index = directory.has(`${name}_g_idx`)
    ? directory.part(`${name}_g_idx`, ["int32", "int64"], [columns])
    : undefined;
  const order = index && await activationOrder(parts, index, granularity, grid.columns);
  found.add({
    name,
    shape: [rows, columns],
    scheme: integers(group, type),
    layout: layoutOf(asymmetric ? "compressed_tensors_uint" : "compressed_tensors_int"),
    codes,
    others: [scales, shape, ...(zeros ? [zeros] : []), ...(index ? [index] : [])],
    order,
    values: {
      scales: valuesOf(scales, type, grid),
      ...(zeros && { zeros: packedValues(zeros, { ...grid, bits }, zeroLayout, tools) }),
    },
  }, tools);
  return group;
}

/** The columns, group after group, where groups are no runs of columns. An index of -1 says nothing. */
async function activationOrder(
  parts: Parts,
  index: TensorPart,
  granularity: Granularity,
  groups: number,
): Promise<Uint32Array | undefined> {
  if (granularity.kind !== "group") return undefined;
  const plain = decodePlain(index.place.type, await index.read());
  if (plain.every((group) => group === -1)) return undefined;
  const indices = await groupIndex(index, granularity.size, groups);
  const order = indices && groupOrder(indices, granularity.size);
  if (indices && !order) {
    throw fail(parts, "MALFORMED", `has an index whose groups are not of ${granularity.size}`);
  }
  return order;
}

/** int8 and FP8: the tensor of codes has the shape of the weight. */
function wholeBytes(
  found: FoundTensors,
  parts: Parts,
  groups: readonly ConfigGroup[],
): ConfigGroup {
  const { name, directory, codes, scales, tools } = parts;
  const [rows, columns] = codes.place.shape;
  const kind = codes.place.type === "int8" ? "int" : "float";
  const asymmetric = directory.has(`${name}_zero_point`);
  const group = groups.find((g) =>
    g.type === kind && g.bits === 8 && (kind === "float" || g.symmetric !== asymmetric) &&
    gridOf(parts, g.granularity, [rows, columns])
  );
  const { type } = scales.place;
  const exponents = type === "uint8" && kind === "float";
  if (!group || codes.place.shape.length !== 2 || !(SCALE_TYPES.includes(type) || exponents)) {
    throw noGroup(parts, [rows, columns]);
  }
  const grid = gridOf(parts, group.granularity, [rows, columns])!;
  const format = exponents ? "float8_e8m0fnu" : type;
  const scheme = kind === "int"
    ? integers(group, type)
    : exponents
    ? { ...resolveScheme("mxfp8_e4m3"), granularity: group.granularity }
    : floats(group, "float8_e4m3fn", type);
  const zeros = asymmetric && kind === "int"
    ? directory.part(`${name}_zero_point`, ["int8"], scales.place.shape)
    : undefined;
  const signed = zeros && valuesOf(zeros, "int8", grid);
  found.add({
    name,
    shape: [rows, columns],
    scheme,
    layout: layoutOf(zeros ? "bytes_offset" : "bytes"),
    codes,
    others: [scales, ...(zeros ? [zeros] : [])],
    values: {
      scales: valuesOf(scales, format, grid),
      ...(signed && {
        zeros: async (first: number, last: number) =>
          (await signed(first, last)).map((zero) => zero + 128),
      }),
    },
  }, tools);
  return group;
}

/** NVFP4 and MXFP4, two codes a byte; MXFP6, four codes in three. */
function packedFloats(
  found: FoundTensors,
  parts: Parts,
  groups: readonly ConfigGroup[],
): ConfigGroup {
  const { name, directory, codes, scales, tools } = parts;
  const [rows, width] = codes.place.shape;
  const nv = directory.has(`${name}_global_scale`);
  const columnsOf = ({ bits }: ConfigGroup) => width * 8 / bits;
  const group = groups.find((g) =>
    g.type === "float" && (g.bits === 4 || (g.bits === 6 && !nv)) &&
    Number.isInteger(columnsOf(g)) && gridOf(parts, g.granularity, [rows, columnsOf(g)])
  );
  const type = nv ? "float8_e4m3fn" : "uint8";
  if (!group || codes.place.shape.length !== 2 || scales.place.type !== type) {
    throw noGroup(parts, [rows, 2 * width]);
  }
  const { bits, granularity } = group;
  const columns = columnsOf(group);
  const grid = gridOf(parts, granularity, [rows, columns])!;
  const over = nv ? directory.part(`${name}_global_scale`, ["float32"], [1]) : undefined;
  const base = nv ? "nvfp4_ct" : bits === 6 ? "mxfp6_e2m3" : "mxfp4";
  found.add({
    name,
    shape: [rows, columns],
    scheme: { ...resolveScheme(base), granularity },
    layout: layoutOf(bits === 6 ? "compressed_tensors_fp6" : "fp4_pairs"),
    codes,
    others: [scales, ...(over ? [over] : [])],
    values: {
      scales: valuesOf(scales, nv ? "float8_e4m3fn" : "float8_e8m0fnu", grid),
      ...(over && { over: allValues(over, "float32") }),
    },
  }, tools);
  return group;
}

/** Scales of rows; a flat tensor of one scale is for the whole matrix. */
function valuesOf(part: TensorPart, format: string, grid: { rows: number }): Values {
  const { shape } = part.place;
  if (shape.length > 0 && shape[0] === grid.rows) return rowValues(part, format);
  return async (first, last) => {
    const all = await allValues(part, format)(first, last);
    const width = all.length / Math.max(1, grid.rows);
    return all.subarray(first * width, last * width);
  };
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

function integers({ bits, symmetric, granularity }: ConfigGroup, format: string): ResolvedScheme {
  const source = "compressed-tensors 0.20";
  return integerScheme({
    dialect: "compressed_tensors",
    bits,
    symmetric,
    granularity,
    format,
    source,
  });
}

function floats({ granularity }: ConfigGroup, element: string, format: string): ResolvedScheme {
  return resolveScheme({
    id: `compressed_tensors_fp8_${granularityLabel(granularity)}`,
    summary: "compressed-tensors FP8, read from a checkpoint",
    element,
    granularity,
    scale: { rule: "absmax", format, codes_from: "stored", apply: "divide", all_zero: 1 },
    cast: { overflow: "saturate", infinity: "saturate" },
    tail: "short",
    source: "compressed-tensors 0.20",
  });
}
