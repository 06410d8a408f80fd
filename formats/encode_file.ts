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
  schemeSchema,
  unknownName,
} from "../spec/mod.ts";
import { fileOutput } from "./containers/output.ts";
import { writeSafetensors } from "./containers/safetensors.ts";
import { numberFormats, resolveScheme, schemes } from "./lookup.ts";
import { openCheckpoint } from "./open.ts";
import { parameterParts, partValues } from "./parameter_parts.ts";
import { decodeElement, decodeTable, encodeElement, encodeNan } from "./reference.ts";
import { elementEncoder } from "./steps.ts";

/** What is cast; f16 and bf16 are f32 exactly. */
const SOURCES: ReadonlySet<PlainType> = new Set(["float32", "float16", "bfloat16"]);

/** One tensor to be written. */
interface Part {
  name: string;
  type: PlainType;
  shape: number[];
  bytes: Uint8Array;
}

/**
 * Turns every F32, F16 or BF16 tensor NAME of `input` into `NAME.codes` (U8, or U16 above 8 bits, one code an
 * element), for schemes also `NAME.scales` and `NAME.zeros` (F32, one a tile; where scales have a
 * second level, `NAME.second.PART` too, as they are stored), and `NAME.values`
 * (F32, decoded). A scheme sees the last dimension as columns and all others as rows.
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
  /** Random numbers in `[0, 1)` for stochastic rounding. */
  random?: () => number;
}): Promise<{ name: string; shape: number[] }[]> {
  const { id, input, output } = args;
  if (!numberFormats.has(id) && !schemes.has(id)) {
    throw unknownName("format", id, [...numberFormats.ids(), ...schemes.ids()]);
  }
  const isNumber = numberFormats.has(id);
  const format = isNumber ? varyFormat(id, args.cast) : undefined!;
  const scheme = isNumber ? undefined! : varyScheme(id, args.cast, args.rule);
  const checkpoint = await openCheckpoint(input);
  const parts: Part[] = [];
  try {
    for (const tensor of checkpoint.tensors.values()) {
      if (tensor.storage.kind !== "plain" || !SOURCES.has(tensor.storage.type)) continue;
      const values = await tensor.read();
      const shape = [...tensor.shape];
      try {
        parts.push(
          ...isNumber
            ? encodeTensor(args.kernels, format, tensor.name, values, shape, args.random)
            : encodeScheme(args.codecs, scheme, tensor.name, values, shape),
        );
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
  await write(output, parts, args.overwrite);
  return parts.map(({ name, shape }) => ({ name, shape }));
}

/** A number format with another cast, checked like one from a file. */
function varyFormat(id: string, cast: Partial<Cast> = {}): NumberFormat {
  const format = numberFormats.get(id);
  return numberFormatSchema.parse({ ...format, cast: { ...format.cast, ...cast } }, id);
}

function varyScheme(id: string, cast: Partial<Cast> = {}, rule?: ScaleRule): ResolvedScheme {
  const scheme = schemes.get(id);
  const varied = {
    ...scheme,
    cast: { ...scheme.cast, ...cast },
    scale: { ...scheme.scale, ...(rule && { rule }) },
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
  if (format.cast.nan === "refuse") {
    const at = values.findIndex(Number.isNaN);
    if (at >= 0) throw new LowbitError("NON_FINITE", `element ${at} is NaN, which has no code`);
  }
  const { rounding, overflow } = format.cast;
  const byKernels = format.bits <= 8 && rounding !== "stochastic" && overflow !== "wrap";
  const made = () => referenceCodes(format, values, random);
  const codes = byKernels
    ? smallCodes(kernels, format, values)
    : format.bits <= 8
    ? Uint8Array.from(made())
    : Uint16Array.from(made());
  const table = format.bits <= 8 ? decodeTable(format) : undefined;
  const decode = (code: number) => table ? table[code] : decodeElement(format, code);
  return [
    {
      name: `${name}.codes`,
      type: format.bits <= 8 ? "uint8" : "uint16",
      shape,
      bytes: bytesOf(codes),
    },
    {
      name: `${name}.values`,
      type: "float32",
      shape,
      bytes: bytesOf(Float32Array.from(codes, decode)),
    },
  ];
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
  const at = values.findIndex((value) => !Number.isFinite(value));
  if (at >= 0) throw new LowbitError("NON_FINITE", `element ${at} is ${values[at]}`);
  const columns = shape.at(-1) ?? 1;
  const rows = columns === 0 ? 0 : values.length / columns;
  const codec = codecs.get(scheme);
  const tiles = codec.tiling(rows, columns);
  const tensor = codec.quantize(values, rows, columns);
  const { scales, zeros, second } = tensor.parameters;
  const grid = [tiles.gridRows, tiles.gridColumns];
  const stored = second ? parameterParts(scheme, tiles) : [];
  return [
    { name: `${name}.codes`, type: "uint8", shape, bytes: tensor.codes },
    { name: `${name}.scales`, type: "float32", shape: grid, bytes: bytesOf(scales) },
    ...(zeros
      ? [{ name: `${name}.zeros`, type: "float32" as const, shape: grid, bytes: bytesOf(zeros) }]
      : []),
    ...stored.map((part) => ({
      name: `${name}.second.${part.name}`,
      type: "float32" as const,
      shape: part.shape,
      bytes: bytesOf(partValues(tensor.parameters, part)!),
    })),
    { name: `${name}.values`, type: "float32", shape, bytes: bytesOf(codec.dequantize(tensor)) },
  ];
}

function bytesOf(values: Float32Array | Uint16Array | Uint8Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

async function write(path: string, parts: Part[], overwrite = false): Promise<void> {
  const output = await fileOutput(path, { overwrite });
  try {
    const sink = await output.file(path);
    const entries = parts.map(({ name, type, shape }) => ({ name, type, shape }));
    const writer = await writeSafetensors(sink, entries);
    for (const { name, bytes } of parts) await writer.write(name, bytes);
    await writer.finish();
    await output.commit();
  } catch (error) {
    await output.abort();
    throw error;
  }
}
