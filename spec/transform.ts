/**
 * Transforms: changes of the parameters and of the graph that leave what a model computes as it was.
 * Plugins return them as data from closed lists; the engine applies and proves them.
 *
 * @module
 */

import { z } from "zod";
import { LowbitError } from "./errors.ts";
import { hadamard, hadamardParts } from "./hadamard.ts";
import { type Schema, schema } from "./schema.ts";

/**
 * An orthogonal map `x -> x Q` of every run of `size` channels:
 *
 * - `hadamard`: `x -> (x * signs) H`; signs are 1 or -1, one for each channel of a run, or absent
 * - `matrix`: Q itself, `[size, size]`, row-major
 * - `kronecker`: channels are taken in an order (`y_i = x[order_i]`) and multiplied by `outer (x)
 *   inner`, `[p, p]` and `[q, q]` with `p q = size`: two small matrices in place of a large one
 * - `permutation`: channels are taken in an order, `y_i = x[order_i]`, and nothing more
 */
export type Rotation =
  | { kind: "hadamard"; size: number; signs?: Int8Array }
  | { kind: "matrix"; size: number; values: Float64Array }
  | { kind: "permutation"; size: number; order: Uint32Array }
  | {
    kind: "kronecker";
    size: number;
    outer: Float64Array;
    inner: Float64Array;
    order: Uint32Array;
  };

/**
 * A change of the whole model, before anything is read:
 *
 * - `untie`: parameters that are tied to another get a weight of their own
 * - `fuse_norms`: the gains of norms go into the linears behind them and become 1
 * - `rotate`: the residual stream is rotated: embedding, linears that write it, linears that read it.
 *   The gains of the norms in between must be fused, ties undone. With `edge`, every head is, along
 *   an edge of attention heads
 * - `hadamard`: values of the graph of a block are rotated when the model runs, runs of `size`
 *   channels each; linears that read them get the inverse. Query and key of an attention only together
 * - `bias`: a vector, 0 at first, is added to a value of the graph of a block
 */
export type ModelOp =
  | { op: "untie" }
  | { op: "fuse_norms" }
  | { op: "rotate"; rotation: Rotation; edge?: string }
  | { op: "hadamard"; values: string[]; size: number }
  | { op: "bias"; values: string[] };

/**
 * A change of the parameters of a block:
 *
 * - `scale`: along an edge, output channel j of the producer is divided by `factors[j]`, and input
 *   channel j of every consumer multiplied by it
 * - `shift`: along an edge, `offsets[j]` is subtracted from channel j; what the consumers make of
 *   the offsets is added to their outputs. These values need a {@linkcode ModelOp} `bias`
 * - `rotate`: along an edge between linears that the heads of attention alone lie between, every
 *   head is rotated
 * - `permute`: along an edge, channel `order[j]` becomes channel j of the producer and of every
 *   consumer. Where heads are attended over, channels stay in their head, in the same order in all
 */
export type TransformOp =
  | { op: "scale"; edge: string; factors: Float32Array }
  | { op: "shift"; edge: string; offsets: Float32Array }
  | { op: "rotate"; edge: string; rotation: Rotation }
  | { op: "permute"; edge: string; order: Uint32Array };

/** What a model does beyond its architecture, in every block, after the value is made. */
export type OnlineTransform =
  | { op: "hadamard"; value: string; size: number }
  | { op: "bias"; value: string };

/**
 * Rotates every run of channels in place, or back with `inverse`.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { rotate } from "./transform.ts";
 * const turn = { kind: "matrix" as const, size: 2, values: Float64Array.of(0, 1, -1, 0) };
 * assertEquals([...rotate(Float64Array.of(1, 2, 3, 4), turn)], [-2, 1, -4, 3]);
 * assertEquals([...rotate(Float64Array.of(-2, 1), turn, { inverse: true })], [1, 2]);
 * ```
 */
export function rotate(
  x: Float64Array,
  rotation: Rotation,
  options: { inverse?: boolean } = {},
): Float64Array {
  const { size } = rotation;
  if (rotation.kind === "hadamard") {
    const { signs } = rotation;
    const flip = () => {
      if (signs) { for (let i = 0; i < x.length; i++) x[i] *= signs[i % size]; }
    };
    if (!options.inverse) flip();
    hadamard(x, size, options);
    if (options.inverse) flip();
    return x;
  }
  if (rotation.kind === "kronecker") return rotateKronecker(x, rotation, options.inverse ?? false);
  if (rotation.kind === "permutation") {
    const { order } = rotation;
    const run = new Float64Array(size);
    for (let start = 0; start < x.length; start += size) {
      for (let i = 0; i < size; i++) {
        if (options.inverse) run[order[i]] = x[start + i];
        else run[i] = x[start + order[i]];
      }
      x.set(run, start);
    }
    return x;
  }
  const { values } = rotation;
  const row = new Float64Array(size);
  for (let start = 0; start < x.length; start += size) {
    row.fill(0);
    for (let i = 0; i < size; i++) {
      for (let j = 0; j < size; j++) {
        if (options.inverse) row[i] += x[start + j] * values[i * size + j];
        else row[j] += x[start + i] * values[i * size + j];
      }
    }
    x.set(row, start);
  }
  return x;
}

function rotateKronecker(
  x: Float64Array,
  { size, outer, inner, order }: Rotation & { kind: "kronecker" },
  inverse: boolean,
): Float64Array {
  const [p, q] = [outer, inner].map(({ length }) => Math.round(Math.sqrt(length)));
  const given = new Float64Array(size), half = new Float64Array(size);
  for (let start = 0; start < x.length; start += size) {
    for (let i = 0; i < size; i++) given[i] = x[start + (inverse ? i : order[i])];
    half.fill(0);
    for (let a = 0; a < p; a++) {
      for (let b = 0; b < q; b++) {
        const value = given[a * q + b];
        for (let j = 0; j < q; j++) {
          half[a * q + j] += value * (inverse ? inner[j * q + b] : inner[b * q + j]);
        }
      }
    }
    given.fill(0);
    for (let a = 0; a < p; a++) {
      for (let i = 0; i < p; i++) {
        const factor = inverse ? outer[i * p + a] : outer[a * p + i];
        for (let j = 0; j < q; j++) given[i * q + j] += factor * half[a * q + j];
      }
    }
    for (let i = 0; i < size; i++) x[start + (inverse ? order[i] : i)] = given[i];
  }
  return x;
}

/** How far `Q^T Q` may be from the identity. */
const ORTHOGONAL = 1e-9;

/**
 * Throws `PLUGIN` where a rotation does not fit a number of channels, or is none: `Q^T Q` may differ
 * from the identity by `tolerance`.
 *
 * @example
 * ```ts
 * import { assertThrows } from "@std/assert";
 * import { LowbitError } from "./errors.ts";
 * import { checkRotation } from "./transform.ts";
 * checkRotation({ kind: "hadamard", size: 8 }, 16);
 * const check = () => checkRotation({ kind: "hadamard", size: 5 }, 10);
 * assertThrows(check, LowbitError, "there is no Hadamard matrix of 5");
 * ```
 */
export function checkRotation(
  rotation: Rotation,
  channels: number,
  tolerance: number = ORTHOGONAL,
): void {
  const fail = (problem: string) => new LowbitError("PLUGIN", problem, { field: "rotation" });
  const { size } = rotation;
  if (!(size > 0) || channels % size !== 0) {
    throw fail(`of ${size} channels does not divide ${channels}`);
  }
  if (rotation.kind === "hadamard") {
    if (!hadamardParts(size)) throw fail(`there is no Hadamard matrix of ${size}`);
    const { signs } = rotation;
    if (signs && (signs.length !== size || signs.some((sign) => Math.abs(sign) !== 1))) {
      throw fail(`needs ${size} signs, each 1 or -1`);
    }
    return;
  }
  if (rotation.kind === "kronecker") {
    const { outer, inner, order } = rotation;
    const [p, q] = [outer, inner].map(({ length }) => Math.round(Math.sqrt(length)));
    if (p * q !== size || p * p !== outer.length || q * q !== inner.length) {
      throw fail(`needs two square matrices whose orders multiply to ${size}`);
    }
    if (!permutes(order, size)) throw fail(`needs an order of ${size} channels`);
    if (!orthogonal(outer, p, tolerance) || !orthogonal(inner, q, tolerance)) {
      throw fail("is not orthogonal");
    }
    return;
  }
  if (rotation.kind === "permutation") {
    if (!permutes(rotation.order, size)) throw fail(`needs an order of ${size} channels`);
    return;
  }
  const { values } = rotation;
  if (values.length !== size * size) throw fail(`needs ${size} x ${size} values`);
  if (!orthogonal(values, size, tolerance)) throw fail("is not orthogonal");
}

function permutes(order: Uint32Array, size: number): boolean {
  return order.length === size && new Set(order).size === size && order.every((i) => i < size);
}

function orthogonal(values: Float64Array, size: number, tolerance: number): boolean {
  for (let i = 0; i < size; i++) {
    for (let j = 0; j <= i; j++) {
      let dot = 0;
      for (let k = 0; k < size; k++) dot += values[i * size + k] * values[j * size + k];
      if (!(Math.abs(dot - (i === j ? 1 : 0)) <= tolerance)) return false;
    }
  }
  return true;
}

/**
 * Checks the online transforms that a checkpoint lists.
 *
 * @example
 * ```ts
 * import { assertThrows } from "@std/assert";
 * import { LowbitError } from "./errors.ts";
 * import { onlineTransformsSchema } from "./transform.ts";
 * const read = () => onlineTransformsSchema.parse([{ op: "hadamard", value: "x", size: 0 }], "m");
 * assertThrows(read, LowbitError, "m: 0.size");
 * ```
 */
export const onlineTransformsSchema: Schema<OnlineTransform[]> = schema(
  "transforms",
  z.array(z.discriminatedUnion("op", [
    z.strictObject({
      op: z.literal("hadamard"),
      value: z.string().min(1).max(200),
      size: z.int().min(1).max(2 ** 24),
    }),
    z.strictObject({ op: z.literal("bias"), value: z.string().min(1).max(200) }),
  ])).max(256),
);
