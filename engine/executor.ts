/**
 * Linears as a quantised model computes them: weights stay packed, side tensors are added, inputs
 * are quantised on the fly where the model says so.
 *
 * @module
 */

import {
  type Buffer,
  type Checkpoint,
  type Codec,
  type Codecs,
  type CodedTensor,
  type GridParameters,
  isVector,
  type Kernels,
  type LinearWeight,
  LowbitError,
  type PackedWeightArguments,
  type QuantizedTensor,
  type ResolvedScheme,
  rotate,
  type RotationPart,
  type SideTensor,
  streamBytes,
} from "../spec/mod.ts";
import {
  denseLinears,
  type LinearExecutor,
  type LinearFactory,
  weightExecutor,
} from "../models/linear.ts";
import { dispatched } from "./dispatch.ts";

/** How inputs of linears are treated beyond what the checkpoint says. */
export interface LinearOptions {
  /**
   * `f32` (the default): inputs are multiplied as they are, so that results are those of the decoded
   * weights. `int8`: inputs of integer weights are quantised to 8 bits a token and multiplied in
   * integers, which is several times as fast and adds an error of its own; tables of
   * up to 16 values such as NF4 are rounded (`lookup` of `integerWeight`). `f32-grouped`: inputs as
   * they are, integer weights scaled once a group, so that last bits differ from those of `f32`.
   */
  activations?: "f32" | "f32-grouped" | "int8";
}

/** The factory of linears for a checkpoint whose tensors may be coded. */
export function checkpointLinears(
  kernels: Kernels,
  codecs: Codecs,
  checkpoint: Checkpoint,
  options: LinearOptions = {},
): LinearFactory {
  const dense = denseLinears(kernels);
  return async (linear, tensor) => {
    const coded = tensor.storage.kind === "coded" ? await tensor.quantized() : undefined;
    const executor = coded
      ? quantizedExecutor(kernels, codecs, coded, options)
      : await dense(linear, tensor);
    const activation = checkpoint.activations?.get(tensor.name);
    return withActivation(kernels, codecs, executor, activation, coded?.input);
  };
}

/** The executor of a quantised weight. */
export function quantizedExecutor(
  kernels: Kernels,
  codecs: Codecs,
  tensor: CodedTensor,
  options: LinearOptions = {},
): LinearExecutor {
  if (isVector(tensor)) {
    // No kernel multiplies by vector formats: the values are decoded, side tensors included.
    return weightExecutor(kernels, kernels.denseWeight(codecs.decode(tensor), ...tensor.shape));
  }
  const executor = prepareExecutor(kernels, codecs.get(tensor.scheme), tensor, options);
  return (tensor.side ?? []).reduce<LinearExecutor>(
    (inner, side) => withSide(kernels, inner, side, tensor.shape),
    executor,
  );
}

/** Packed, in the form that the kind of product needs. */
function prepareExecutor(
  kernels: Kernels,
  codec: Codec,
  tensor: QuantizedTensor,
  options: LinearOptions,
): LinearExecutor {
  const packed = packTensor(kernels, codec, tensor);
  const { activations = "f32" } = options;
  if (activations !== "f32") {
    const integer = integerExecutor(kernels, packed, activations);
    if (integer) return activations === "int8" ? dispatched(kernels, packed, integer) : integer;
  }
  return weightExecutor(kernels, kernels.packedWeight(packed));
}

/**
 * Products of integer weights; none if the values of the weight do not lie on a grid. For int8
 * activations, tables of 16 values or fewer that do not are rounded to one.
 */
export function integerExecutor(
  kernels: Kernels,
  packed: PackedWeightArguments,
  activations: "f32-grouped" | "int8",
): LinearExecutor | undefined {
  let weight: LinearWeight;
  try {
    weight = kernels.integerWeight({ ...packed, lookup: activations === "int8" });
  } catch (error) {
    if (error instanceof LowbitError && error.code === "SHAPE") return undefined;
    throw error;
  }
  const free = () => weight.free();
  return {
    bytes: weight.bytes,
    apply(x, tokens) {
      const y = kernels.alloc("f32", tokens * weight.rows);
      if (activations === "int8") kernels.integerLinear({ x, y, tokens, weight });
      else kernels.groupedLinear({ x, y, tokens, weight });
      return y;
    },
    free,
    [Symbol.dispose]: free,
  };
}

/** The codes of a tensor in dense rows, and what they mean. */
function packTensor(
  kernels: Kernels,
  codec: Codec,
  tensor: QuantizedTensor,
): PackedWeightArguments {
  const { scheme, codes, parameters, shape: [rows, columns] } = tensor;
  const { bits } = scheme.element;
  const stride = streamBytes(columns, bits);
  using unpacked = kernels.upload(codes);
  using bytes = kernels.alloc("u8", rows * stride);
  kernels.pack({
    codes: unpacked,
    bytes,
    bits,
    units: rows,
    unitLength: columns,
    stride,
    start: 0,
    order: "neighbours",
    offset: 0,
  });
  const { scales, zeros: shifts } = parameters;
  const { zeros, minimums } = scheme.zero_point?.kind === "minimum"
    ? { zeros: undefined, minimums: shifts }
    : { zeros: shifts, minimums: undefined };
  const { table } = codec;
  const tiling = codec.tiling(rows, columns);
  return { tiling, bits, bytes: bytes.array.slice(), table, scales, zeros, minimums };
}

/** An executor whose inputs are quantised first, if there is a scheme for them; by static scales
 * where these are given. */
export function withActivation(
  kernels: Kernels,
  codecs: Codecs,
  inner: LinearExecutor,
  activation?: ResolvedScheme,
  parameters?: GridParameters,
): LinearExecutor {
  if (!activation) return inner;
  const codec = codecs.get(activation);
  const free = () => inner.free();
  return {
    bytes: inner.bytes,
    apply(x, tokens) {
      using quantized = kernels.alloc("f32", x.length);
      quantized.array.set(x.array);
      codec.fake(quantized, tokens, x.length / tokens, parameters);
      return inner.apply(quantized, tokens);
    },
    free,
    [Symbol.dispose]: free,
  };
}

/** An executor that adds what a side tensor makes of the inputs. */
function withSide(
  kernels: Kernels,
  inner: LinearExecutor,
  side: SideTensor,
  [rows, columns]: [number, number],
): LinearExecutor {
  if (side.kind === "rotation") return withRotation(kernels, inner, side);
  const { add, bytes, free: freeSide } = side.kind === "sparse"
    ? sparseTerm(kernels, side, rows, columns)
    : lowRankTerm(kernels, side, rows, columns);
  const free = () => {
    inner.free();
    freeSide();
  };
  return {
    bytes: inner.bytes + bytes,
    apply(x, tokens) {
      const y = inner.apply(x, tokens);
      add(x, y, tokens);
      return y;
    },
    free,
    [Symbol.dispose]: free,
  };
}

/** An executor whose inputs are rotated first, and its outputs back. */
function withRotation(
  kernels: Kernels,
  inner: LinearExecutor,
  { rows, columns, factors }: RotationPart,
): LinearExecutor {
  const free = () => inner.free();
  return {
    bytes: inner.bytes,
    apply(x, tokens) {
      const given = Float64Array.from(x.array);
      const width = given.length / tokens;
      if (factors) { for (let i = 0; i < given.length; i++) given[i] *= factors[i % width]; }
      using turned = kernels.upload(
        Float32Array.from(columns ? rotate(given, columns) : given),
      );
      const y = inner.apply(turned, tokens);
      if (rows) y.array.set(rotate(Float64Array.from(y.array), rows, { inverse: true }));
      return y;
    },
    free,
    [Symbol.dispose]: free,
  };
}

interface Term {
  bytes: number;
  add(x: Buffer<"f32">, y: Buffer<"f32">, tokens: number): void;
  free(): void;
}

/** The product with a sparse part, in the order of `addSparse`. */
function sparseTerm(
  kernels: Kernels,
  side: SideTensor & { kind: "sparse" },
  rows: number,
  columns: number,
): Term {
  const sums = new Map<number, number>(); // a file may name a place twice
  side.values.forEach((value, i) => {
    const place = side.rows[i] * columns + side.columns[i];
    sums.set(place, (sums.get(place) ?? 0) + value);
  });
  const places = [...sums.keys()].sort((a, b) => a - b);
  const weight = kernels.sparseWeight({
    rows,
    columns,
    rowIndex: Uint32Array.from(places, (place) => Math.floor(place / columns)),
    columnIndex: Uint32Array.from(places, (place) => place % columns),
    values: Float32Array.from(places, (place) => sums.get(place)!),
  });
  return {
    bytes: weight.bytes,
    add: (x, y, tokens) => kernels.addSparse({ x, y, tokens, weight }),
    free: () => weight.free(),
  };
}

/** The product with a low-rank part, in the order of `addLowRank`. */
function lowRankTerm(
  kernels: Kernels,
  side: SideTensor & { kind: "low_rank" },
  rows: number,
  columns: number,
): Term {
  const { rank, left, right } = side;
  const weight = kernels.lowRankWeight({ rows, columns, rank, left, right });
  return {
    bytes: weight.bytes,
    add: (x, y, tokens) => kernels.addLowRank({ x, y, tokens, weight }),
    free: () => weight.free(),
  };
}
