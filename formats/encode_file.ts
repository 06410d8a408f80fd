/**
 * Casting a file of tensors to a number format or scheme: how other implementations are compared.
 *
 * @module
 */

import {
  type Cast,
  type Codecs,
  type Kernels,
  LowbitError,
  type NumberFormat,
  numberFormatSchema,
  type PlainType,
  type ResolvedScheme,
  type ScaleRule,
  type ScaleSpec,
  schemeSchema,
  unknownName,
  type VectorFormat,
} from "../spec/mod.ts";
import { bytesOf, type Part, writeParts } from "./containers/parts.ts";
import {
  layouts,
  numberFormats,
  resolveScheme,
  schemes,
  vectorFormat,
  vectorFormats,
} from "./lookup.ts";
import { openCheckpoint } from "./open.ts";
import { holdsCodes, packFile } from "./pack_file.ts";
import { parameterParts, partValues } from "./parameter_parts.ts";
import { decodeElement, decodeTable, encodeElement, encodeNan } from "./reference.ts";
import { elementEncoder } from "./steps.ts";

/** What is cast; f16 and bf16 are f32 exactly. */
const SOURCES: ReadonlySet<PlainType> = new Set(["float32", "float16", "bfloat16"]);

/**
 * Turns every F32, F16 or BF16 tensor NAME of `input` into `NAME.codes` (U8, or U16 above 8 bits, one
 * code an element), for schemes also `NAME.scales` and `NAME.zeros` (F32, one a tile; where scales
 * have a second level, `NAME.second.PART` too, as they are stored), and `NAME.values` (F32, decoded).
 * Vector formats have codes of U8, U16 or U32 in the shape of the format, and `NAME.tables` and
 * `NAME.scales` where they have any. Schemes and vector formats see the last dimension as columns and
 * all others as rows. The id of a layout packs tensors of codes; see `packFile`. An id
 * of both is that of the layout where the file has codes.
 *
 * Errors: `UNKNOWN_NAME`, `NON_FINITE` for a NaN that the cast refuses (named with its tensor).
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { referenceKernels } from "../kernels-wasm/reference.ts";
 * import { createCodecs } from "./codec.ts";
 * import { fileOutput } from "./containers/output.ts";
 * import { writeSafetensors } from "./containers/safetensors.ts";
 * import { encodeFile } from "./encode_file.ts";
 *
 * const folder = await Deno.makeTempDir();
 * const [input, output] = [`${folder}/in.safetensors`, `${folder}/out.safetensors`];
 * const file = await fileOutput(input);
 * const entries = [{ name: "x", type: "float32" as const, shape: [2] }];
 * const writer = await writeSafetensors(await file.file(input), entries);
 * await writer.write("x", new Uint8Array(Float32Array.of(0.5, 3).buffer));
 * await writer.finish();
 * await file.commit();
 *
 * const kernels = referenceKernels(), codecs = createCodecs(kernels);
 * const written = await encodeFile({ kernels, codecs, id: "float4_e2m1fn", input, output });
 * assertEquals(written.map(({ name }) => name), ["x.codes", "x.values"]);
 * await Deno.remove(folder, { recursive: true });
 * ```
 */
export async function encodeFile(args: {
  kernels: Kernels;
  codecs: Codecs;
  id: string;
  input: string;
  output: string;
  overwrite?: boolean;
  /** What replaces parts of the format's or scheme's cast. */
  cast?: Partial<Cast>;
  /** What replaces the scheme's scale rule. */
  rule?: ScaleRule;
  /** Bits of a code, for layouts that hold several widths. */
  bits?: number;
  /** Random numbers in `[0, 1)` for stochastic rounding. */
  random?: () => number;
}): Promise<{ name: string; shape: number[] }[]> {
  const { id, input, output } = args;
  if (layouts.has(id) && (!schemes.has(id) || await holdsCodes(input))) {
    return await packFile(args, layouts.get(id));
  }
  const encode = encoderOf(args);
  const checkpoint = await openCheckpoint(input);
  const parts: Part[] = [];
  try {
    for (const tensor of checkpoint.tensors.values()) {
      if (tensor.storage.kind !== "plain" || !SOURCES.has(tensor.storage.type)) continue;
      const values = await tensor.read();
      const shape = [...tensor.shape];
      try {
        parts.push(...encode(tensor.name, values, shape));
      } catch (error) {
        if (!(error instanceof LowbitError)) throw error;
        const { code, problem, advice, cause } = error;
        throw new LowbitError(code, problem, { file: input, field: tensor.name, advice, cause });
      }
    }
  } finally {
    checkpoint.close();
  }
  if (parts.length === 0) {
    throw new LowbitError("NOT_FOUND", "has no F32, F16 or BF16 tensor", { file: input });
  }
  await writeParts(output, parts, args.overwrite);
  return parts.map(({ name, shape }) => ({ name, shape }));
}

/** How the tensors of a file are turned into parts. */
type TensorEncoder = (name: string, values: Float32Array, shape: number[]) => Part[];

function encoderOf(args: Parameters<typeof encodeFile>[0]): TensorEncoder {
  const { id, kernels, codecs, cast, rule, random } = args;
  if (numberFormats.has(id)) {
    const format = varyFormat(id, cast);
    return (name, values, shape) => encodeTensor(kernels, format, name, values, shape, random);
  }
  if (schemes.has(id)) {
    const scheme = varyScheme(id, cast, rule && { rule });
    return (name, values, shape) => encodeScheme(codecs, scheme, name, values, shape);
  }
  if (vectorFormats.has(id)) {
    if (rule !== undefined || Object.keys(cast ?? {}).length > 0) {
      throw new LowbitError("USAGE", `${id} is a vector format, which has no cast to change`);
    }
    const format = vectorFormat(id);
    return (name, values, shape) => encodeVector(codecs, format, name, values, shape);
  }
  throw unknownName("format", id, [
    ...numberFormats.ids(),
    ...schemes.ids(),
    ...vectorFormats.ids(),
    ...layouts.ids(),
  ]);
}

/** A number format with another cast, checked like one from a file. */
export function varyFormat(id: string, cast: Partial<Cast> = {}): NumberFormat {
  const format = numberFormats.get(id);
  return numberFormatSchema.parse({ ...format, cast: { ...format.cast, ...cast } }, id);
}

/** A scheme with another cast and other parts of its scale, checked like one from a file. */
export function varyScheme(
  id: string,
  cast: Partial<Cast> = {},
  scale: Partial<ScaleSpec> = {},
): ResolvedScheme {
  const scheme = schemes.get(id);
  const varied = {
    ...scheme,
    cast: { ...scheme.cast, ...cast },
    scale: { ...scheme.scale, ...scale },
  };
  const resolved = resolveScheme(schemeSchema.parse(varied, id));
  return { ...resolved, element: numberFormatSchema.parse(resolved.element, id) };
}

function encodeTensor(
  kernels: Kernels,
  format: NumberFormat,
  name: string,
  values: Float32Array,
  shape: number[],
  random?: () => number,
): Part[] {
  const made = castTensor(kernels, format, values, random);
  const type = format.bits <= 8 ? "uint8" : "uint16";
  return [
    { name: `${name}.codes`, type, shape, bytes: bytesOf(made.codes) },
    { name: `${name}.values`, type: "float32", shape, bytes: bytesOf(made.values) },
  ];
}

/**
 * The codes of numbers in a number format and what they mean; by the reference where there are no
 * kernels. Error `NON_FINITE` for a NaN that the cast refuses.
 */
export function castTensor(
  kernels: Kernels | undefined,
  format: NumberFormat,
  values: Float32Array,
  random?: () => number,
): { codes: Uint8Array | Uint16Array; values: Float32Array } {
  if (format.cast.nan === "refuse") {
    const at = values.findIndex(Number.isNaN);
    if (at >= 0) throw new LowbitError("NON_FINITE", `element ${at} is NaN, which has no code`);
  }
  const { rounding, overflow } = format.cast;
  const byKernels = format.bits <= 8 && rounding !== "stochastic" && overflow !== "wrap";
  const made = () => referenceCodes(format, values, random);
  const codes = kernels && byKernels
    ? smallCodes(kernels, format, values)
    : format.bits <= 8
    ? Uint8Array.from(made())
    : Uint16Array.from(made());
  const table = format.bits <= 8 ? decodeTable(format) : undefined;
  const decode = (code: number) => table ? table[code] : decodeElement(format, code);
  return { codes, values: Float32Array.from(codes, decode) };
}

function smallCodes(kernels: Kernels, format: NumberFormat, values: Float32Array): Uint8Array {
  const count = values.length;
  const tiling = { rows: 1, columns: count, tileRows: 1, tileColumns: Math.max(1, count) };
  using x = kernels.upload(values);
  using codes = kernels.alloc("u8", count);
  kernels.encode({
    x,
    codes,
    tiling: { ...tiling, gridRows: 1, gridColumns: Math.min(1, count) },
    apply: "divide",
    encoder: elementEncoder(format),
  });
  return codes.array.slice();
}

function* referenceCodes(
  format: NumberFormat,
  values: Float32Array,
  random?: () => number,
): Generator<number> {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  for (let i = 0; i < values.length; i++) {
    yield Number.isNaN(values[i])
      ? encodeNan(format, format.cast, bits[i] >= 2 ** 31)
      : encodeElement(format, values[i], format.cast, random?.());
  }
}

function encodeScheme(
  codecs: Codecs,
  scheme: ResolvedScheme,
  name: string,
  values: Float32Array,
  shape: number[],
): Part[] {
  const made = quantizeTensor(codecs, scheme, values, shape);
  const f32 = (role: string, array: Float32Array, of: number[]): Part => ({
    name: `${name}.${role}`,
    type: "float32",
    shape: of,
    bytes: bytesOf(array),
  });
  return [
    { name: `${name}.codes`, type: "uint8", shape, bytes: made.codes },
    f32("scales", made.scales, made.grid),
    ...(made.zeros ? [f32("zeros", made.zeros, made.grid)] : []),
    ...made.stored.map(({ name, values, shape }) => f32(`second.${name}`, values, shape)),
    f32("values", made.values, shape),
  ];
}

/** What a scheme makes of a tensor; the last dimension is its columns. Error `NON_FINITE`. */
export function quantizeTensor(
  codecs: Codecs,
  scheme: ResolvedScheme,
  values: Float32Array,
  shape: readonly number[],
): {
  codes: Uint8Array;
  scales: Float32Array;
  zeros?: Float32Array;
  values: Float32Array;
  grid: number[];
  stored: { name: string; shape: number[]; values: Float32Array }[];
} {
  const { rows, columns } = finiteMatrix(values, shape);
  const codec = codecs.get(scheme);
  const tiles = codec.tiling(rows, columns);
  const tensor = codec.quantize(values, rows, columns);
  const { scales, zeros, second } = tensor.parameters;
  const grid = [tiles.gridRows, tiles.gridColumns];
  const stored = (second ? parameterParts(scheme, tiles) : []).map((part) => ({
    name: part.name,
    shape: part.shape,
    values: partValues(tensor.parameters, part)!,
  }));
  return { codes: tensor.codes, scales, zeros, stored, grid, values: codec.dequantize(tensor) };
}

/** The last dimension as columns, all others as rows; every value must be finite. */
function finiteMatrix(
  values: Float32Array,
  shape: readonly number[],
): { rows: number; columns: number } {
  const at = values.findIndex((value) => !Number.isFinite(value));
  if (at >= 0) throw new LowbitError("NON_FINITE", `element ${at} is ${values[at]}`);
  const columns = shape.at(-1) ?? 1;
  return { rows: columns === 0 ? 0 : values.length / columns, columns };
}

function encodeVector(
  codecs: Codecs,
  format: VectorFormat,
  name: string,
  values: Float32Array,
  shape: number[],
): Part[] {
  const { rows, columns } = finiteMatrix(values, shape);
  const codec = codecs.vector(format);
  const tensor = codec.encode(values, rows, columns);
  const { codeRows, codeColumns, codeBits, tables, tableSize, scales } = codec.shape(rows, columns);
  const [type, codes]: [PlainType, Uint8Array | Uint16Array | Uint32Array] = codeBits <= 8
    ? ["uint8", Uint8Array.from(tensor.codes)]
    : codeBits <= 16
    ? ["uint16", Uint16Array.from(tensor.codes)]
    : ["uint32", tensor.codes];
  const floats = (part: string, shape: number[], values: Float32Array): Part => ({
    name: `${name}.${part}`,
    type: "float32",
    shape,
    bytes: bytesOf(values),
  });
  return [
    { name: `${name}.codes`, type, shape: [codeRows, codeColumns], bytes: bytesOf(codes) },
    ...(tables
      ? [floats("tables", [tables.gridRows * tables.gridColumns, tableSize], tensor.tables!)]
      : []),
    ...(scales ? [floats("scales", [scales.gridRows, scales.gridColumns], tensor.scales!)] : []),
    floats("values", shape, codec.decode(tensor)),
  ];
}
