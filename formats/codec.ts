/**
 * Codecs: schemes at work on matrices, on the kernels that the caller hands in.
 *
 * @module
 */

import {
  allFinite,
  type Buffer,
  type Codec,
  type Codecs,
  type ElementEncoder,
  type GridParameters,
  isVector,
  type Kernels,
  LowbitError,
  type QuantizedTensor,
  type RangeRule,
  type Ranges,
  refusesTail,
  type ResolvedScheme,
  type Tiling,
  tiling,
  type VectorCodec,
} from "../spec/mod.ts";
import { resolveScheme, resolveVectorFormat, type UserFormats, vectorFormats } from "./lookup.ts";
import { fitParameters } from "./parameters.ts";
import { rangedParameters, weighedRange } from "./range.ts";
import { decodeTable, forEachElement, scaledValue } from "./reference.ts";
import { tensorScales } from "./second_level.ts";
import { addSide } from "./side.ts";
import { elementEncoder } from "./steps.ts";
import { vectorCodec } from "./vectors/codec.ts";

export { addSide } from "./side.ts";

/**
 * Makes the codecs that run on `kernels`, for the catalog and for what the user brings. A codec is
 * made once for each scheme.
 *
 * @example
 * ```ts
 * import { loadKernels } from "../kernels-wasm/mod.ts";
 * import { createCodecs } from "./codec.ts";
 *
 * const codecs = createCodecs(await loadKernels());
 * const codec = codecs.get(codecs.resolve("int4_g32_asym"));
 * const weight = Float32Array.from({ length: 64 }, (_, i) => Math.sin(i));
 * const quantized = codec.quantize(weight, 2, 32);
 * const back = codec.dequantize(quantized); // differs by at most half a step
 * ```
 */
export function createCodecs(kernels: Kernels, user?: UserFormats): Codecs {
  const made = new Map<string, Codec>();
  const vectors = new Map<string, VectorCodec>();
  const inFile = <T>(file: string | undefined, work: () => T): T => {
    try {
      return work();
    } catch (error) {
      throw error instanceof LowbitError && file ? error.in(file) : error;
    }
  };
  const codecs: Codecs = {
    resolve: (reference, file) => inFile(file, () => resolveScheme(reference, user)),
    get: (scheme) => once(made, scheme, () => new KernelCodec(kernels, scheme)),
    resolveVector: (reference, file) =>
      inFile(file, () => {
        if (typeof reference !== "string") return undefined;
        const own = user?.vectors.get(reference);
        if (!own && !vectorFormats.has(reference)) return undefined;
        return resolveVectorFormat(own ?? vectorFormats.get(reference), user);
      }),
    vector: (format) => once(vectors, format, () => vectorCodec(format)),
    decode: (tensor) =>
      isVector(tensor)
        ? codecs.vector(tensor.format).decode(tensor)
        : codecs.get(tensor.scheme).dequantize(tensor),
  };
  return codecs;
}

/** What was made for a document before, or is made now. */
function once<T>(made: Map<string, T>, document: unknown, make: () => T): T {
  const key = JSON.stringify(document);
  let value = made.get(key);
  if (!value) made.set(key, value = make());
  return value;
}

class KernelCodec implements Codec {
  readonly encoder: ElementEncoder;
  readonly table: Float32Array;
  readonly #kernels: Kernels;

  constructor(kernels: Kernels, readonly scheme: ResolvedScheme) {
    this.#kernels = kernels;
    this.encoder = elementEncoder(scheme.element);
    this.table = decodeTable(scheme.element);
  }

  tiling(rows: number, columns: number): Tiling {
    const result = tiling(this.scheme.granularity, rows, columns);
    if (refusesTail(this.scheme, result)) {
      throw new LowbitError(
        "CONFLICT",
        `${columns} columns are not a multiple of ${result.tileColumns}`,
        { field: this.scheme.id, advice: "choose a group size that divides, or tail: short" },
      );
    }
    return result;
  }

  ranges(x: Buffer<"f32">, tiling: Tiling): Ranges {
    const count = tiling.gridRows * tiling.gridColumns;
    using min = this.#kernels.alloc("f32", count);
    using max = this.#kernels.alloc("f32", count);
    const signed = this.scheme.scale.rule === "signed_extreme";
    using extreme = signed ? this.#kernels.alloc("f32", count) : undefined;
    this.#kernels.range({ x, tiling, min, max, extreme });
    return {
      min: min.array.slice(),
      max: max.array.slice(),
      ...(extreme && { extreme: extreme.array.slice() }),
      tiling,
      ...(this.scheme.scale.rule === "absmean" && { mean: meanMagnitudes(x.array, tiling) }),
    };
  }

  fit(ranges: Ranges, clip: number | Float32Array = 1): GridParameters {
    return fitParameters(this.scheme, ranges, clip);
  }

  parameters(
    x: Buffer<"f32">,
    tiling: Tiling,
    range = this.scheme.range,
    importance?: Float32Array,
  ): GridParameters {
    // Scales that are powers of two would hide a NaN; a tile that holds one has no other extremes.
    const ranges = this.ranges(x, tiling);
    if (!allFinite(ranges.min) || !allFinite(ranges.max)) {
      throw new LowbitError("NON_FINITE", "cannot quantise a NaN or an infinity", {
        field: this.scheme.id,
      });
    }
    const rule = range ?? (importance && weighedRange(this.scheme));
    return rule
      ? rangedParameters(this.#kernels, this, x, tiling, rule, importance)
      : this.fit(ranges);
  }

  /** Of a scale of scales, the one of the tensor is given, and those of tiles are as values come. */
  #inputParameters(x: Buffer<"f32">, tiling: Tiling, given?: GridParameters): GridParameters {
    if (!given) return this.#parameters(x, tiling, this.scheme.range);
    const { second } = this.scheme.scale;
    if (second?.kind !== "tensor") return given;
    return tensorScales(this.scheme, second, this.ranges(x, tiling), given.scales[0]);
  }

  #parameters(x: Buffer<"f32">, tiling: Tiling, range?: RangeRule): GridParameters {
    return range
      ? rangedParameters(this.#kernels, this, x, tiling, range)
      : this.fit(this.ranges(x, tiling));
  }

  encode(x: Buffer<"f32">, tiling: Tiling, parameters: GridParameters): Buffer<"u8"> {
    const kernels = this.#kernels;
    const codes = kernels.alloc("u8", tiling.rows * tiling.columns);
    const { encoder, scheme: { scale: { apply }, zero_point } } = this;
    if (apply === "multiply" || (zero_point && zero_point.kind !== "int")) {
      using values = this.#scaled(x, tiling, parameters);
      kernels.encode({ x: values, codes, tiling, apply: "divide", encoder });
      return codes;
    }
    using scales = this.#scales(parameters.unrounded ?? parameters.scales);
    using zeros = this.#zeros(parameters);
    kernels.encode({ x, codes, tiling, scales, zeros, apply, encoder });
    return codes;
  }

  decode(codes: Buffer<"u8">, tiling: Tiling, parameters: GridParameters): Buffer<"f32"> {
    const y = this.#kernels.alloc("f32", tiling.rows * tiling.columns);
    this.#decodeInto(y, codes, tiling, parameters);
    return y;
  }

  quantize(
    x: Float32Array,
    rows: number,
    columns: number,
    importance?: Float32Array,
  ): QuantizedTensor {
    checkLength(x.length, rows, columns);
    const tiles = this.tiling(rows, columns);
    using buffer = this.#kernels.upload(x);
    const parameters = this.parameters(buffer, tiles, undefined, importance);
    using codes = this.encode(buffer, tiles, parameters);
    return {
      shape: [rows, columns],
      scheme: this.scheme,
      codes: codes.array.slice(),
      parameters,
    };
  }

  dequantize(tensor: QuantizedTensor): Float32Array {
    const [rows, columns] = tensor.shape;
    checkLength(tensor.codes.length, rows, columns);
    using codes = this.#kernels.upload(tensor.codes);
    using y = this.decode(codes, this.tiling(rows, columns), tensor.parameters);
    const values = y.array.slice();
    for (const side of tensor.side ?? []) addSide(values, columns, side);
    return values;
  }

  fake(x: Buffer<"f32">, rows: number, columns: number, given?: GridParameters): void {
    const { keep_above } = this.scheme;
    const kept = keep_above === undefined ? undefined : takeColumns(x.array, columns, keep_above);
    const tiles = this.tiling(rows, columns);
    const parameters = this.#inputParameters(x, tiles, given);
    using codes = this.encode(x, tiles, parameters);
    this.#decodeInto(x, codes, tiles, parameters);
    if (!kept) return;
    const values = x.array;
    for (const [i, value] of kept) values[i] = value;
  }

  #decodeInto(y: Buffer<"f32">, codes: Buffer<"u8">, tiling: Tiling, parameters: GridParameters) {
    using table = this.#kernels.upload(this.table);
    using scales = this.#scales(parameters.scales);
    using zeros = this.#zeros(parameters);
    this.#kernels.decode({ codes, y, tiling, table, scales, zeros });
    if (this.scheme.zero_point?.kind !== "minimum") return;
    const values = y.array;
    forEachElement(tiling, (i, tile) => values[i] += parameters.zeros![tile]);
  }

  #scales(scales: Float32Array): (Buffer<"f32"> & Disposable) | undefined {
    return this.scheme.scale.rule === "none" ? undefined : this.#kernels.upload(scales);
  }

  #zeros(parameters: GridParameters): Buffer<"f32"> | undefined {
    const { kind } = this.scheme.zero_point ?? {};
    return kind === "int" || kind === "float" ? this.#kernels.upload(parameters.zeros!) : undefined;
  }

  /** The values that the element format casts, for schemes that are no plain division. */
  #scaled(x: Buffer<"f32">, tiling: Tiling, parameters: GridParameters): Buffer<"f32"> {
    const scaled = scaledValue(this.scheme, parameters);
    const values = x.array.slice();
    forEachElement(tiling, (i, tile) => values[i] = scaled(values[i], tile));
    return this.#kernels.upload(values);
  }
}

/** The entries of columns that hold a magnitude above a limit; they become zero. */
function takeColumns(x: Float32Array, columns: number, limit: number): Map<number, number> {
  const outliers = new Set<number>();
  for (let i = 0; i < x.length; i++) if (Math.abs(x[i]) > limit) outliers.add(i % columns);
  const taken = new Map<number, number>();
  for (const column of outliers) {
    for (let i = column; i < x.length; i += columns) {
      taken.set(i, x[i]);
      x[i] = 0;
    }
  }
  return taken;
}

/** The mean magnitude of every tile; sums in f64, in row-major order. */
function meanMagnitudes(x: Float32Array, tiling: Tiling): Float32Array {
  const sums = new Float64Array(tiling.gridRows * tiling.gridColumns);
  const counts = new Uint32Array(sums.length);
  forEachElement(tiling, (i, tile) => {
    sums[tile] += Math.abs(x[i]);
    counts[tile]++;
  });
  return Float32Array.from(sums, (sum, tile) => sum / counts[tile]);
}

function checkLength(length: number, rows: number, columns: number): void {
  if (length === rows * columns) return;
  throw new LowbitError("SHAPE", `has ${length} elements, but ${rows} x ${columns} are expected`);
}
