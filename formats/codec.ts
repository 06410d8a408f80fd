/**
 * Codecs: schemes at work on matrices, on the kernels that the caller hands in.
 *
 * @module
 */

import {
  type Buffer,
  type Codec,
  type Codecs,
  type ElementEncoder,
  type GridParameters,
  isVector,
  type Kernels,
  LowbitError,
  type QuantizedTensor,
  type Ranges,
  refusesTail,
  type ResolvedScheme,
  type Tiling,
  tiling,
  type VectorCodec,
} from "../spec/mod.ts";
import { resolveScheme, resolveVectorFormat, type UserFormats, vectorFormats } from "./lookup.ts";
import { fitParameters } from "./parameters.ts";
import { decodeTable, forEachElement } from "./reference.ts";
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
    using extreme = this.#kernels.alloc("f32", count);
    this.#kernels.range({ x, tiling, min, max, extreme });
    return { min: min.array.slice(), max: max.array.slice(), extreme: extreme.array.slice() };
  }

  fit(ranges: Ranges, clip: number | Float32Array = 1): GridParameters {
    return fitParameters(this.scheme, ranges, clip);
  }

  encode(x: Buffer<"f32">, tiling: Tiling, parameters: GridParameters): Buffer<"u8"> {
    const kernels = this.#kernels;
    const codes = kernels.alloc("u8", tiling.rows * tiling.columns);
    const minimum = this.scheme.zero_point?.kind === "minimum";
    const minima = parameters.unroundedZeros ?? parameters.zeros;
    const shifted = minimum ? this.#addMinimum(x, tiling, minima!, -1) : undefined;
    using scales = this.#scales(parameters.unrounded ?? parameters.scales);
    using zeros = this.#zeros(parameters);
    const { encoder } = this;
    const { apply } = this.scheme.scale;
    kernels.encode({ x: shifted ?? x, codes, tiling, scales, zeros, apply, encoder });
    shifted?.free();
    return codes;
  }

  decode(codes: Buffer<"u8">, tiling: Tiling, parameters: GridParameters): Buffer<"f32"> {
    const y = this.#kernels.alloc("f32", tiling.rows * tiling.columns);
    this.#decodeInto(y, codes, tiling, parameters);
    if (this.scheme.zero_point?.kind !== "minimum") return y;
    const sum = this.#addMinimum(y, tiling, parameters.zeros!, 1);
    y.free();
    return sum;
  }

  quantize(x: Float32Array, rows: number, columns: number): QuantizedTensor {
    checkLength(x.length, rows, columns);
    const tiles = this.tiling(rows, columns);
    using buffer = this.#kernels.upload(x);
    const parameters = this.fit(this.ranges(buffer, tiles));
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

  fake(x: Buffer<"f32">, rows: number, columns: number): void {
    const tiles = this.tiling(rows, columns);
    const parameters = this.fit(this.ranges(x, tiles));
    using codes = this.encode(x, tiles, parameters);
    if (this.scheme.zero_point?.kind !== "minimum") {
      return this.#decodeInto(x, codes, tiles, parameters);
    }
    using y = this.decode(codes, tiles, parameters);
    x.array.set(y.array);
  }

  #decodeInto(y: Buffer<"f32">, codes: Buffer<"u8">, tiling: Tiling, parameters: GridParameters) {
    using table = this.#kernels.upload(this.table);
    using scales = this.#scales(parameters.scales);
    using zeros = this.#zeros(parameters);
    this.#kernels.decode({ codes, y, tiling, table, scales, zeros });
  }

  #scales(scales: Float32Array): (Buffer<"f32"> & Disposable) | undefined {
    return this.scheme.scale.rule === "none" ? undefined : this.#kernels.upload(scales);
  }

  #zeros(parameters: GridParameters): Buffer<"f32"> | undefined {
    return this.scheme.zero_point?.kind === "int"
      ? this.#kernels.upload(parameters.zeros!)
      : undefined;
  }

  /** `x + sign * minimum`, in a new buffer. */
  #addMinimum(x: Buffer<"f32">, tiling: Tiling, minima: Float32Array, sign: 1 | -1) {
    const out = x.array.slice();
    forEachElement(tiling, (i, tile) => out[i] = out[i] + sign * minima[tile]);
    return this.#kernels.upload(out);
  }
}

function checkLength(length: number, rows: number, columns: number): void {
  if (length === rows * columns) return;
  throw new LowbitError("SHAPE", `has ${length} elements, but ${rows} x ${columns} are expected`);
}
