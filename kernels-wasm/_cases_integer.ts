/**
 * Random cases of the products in integers.
 *
 * @module
 */

import type { Case, Output } from "./_random.ts";

const E2M1 = [0, 0.5, 1, 1.5, 2, 3, 4, 6];
const NF4 = [-1, -0.7, -0.53, -0.39, -0.28, -0.18, -0.09, 0];
const IQ4 = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/** A weight on a grid of integers. */
export function integerArguments({ random, rows, columns }: Omit<Case, "k">, bits: number) {
  const t = random.tiling(rows, columns);
  const tiles = t.gridRows * t.gridColumns;
  const size = 1 << bits;
  const table = random.of([
    () => Float32Array.from({ length: size }, (_, i) => i),
    () => Float32Array.from({ length: size }, (_, i) => i - size / 2),
    () => Float32Array.from({ length: size }, (_, i) => i < size / 2 ? i : i - size),
    () => Float32Array.from({ length: size }, (_, i) => (i & 8 ? -1 : 1) * E2M1[i & 7]),
  ])();
  const minimums = table.every((v) => v >= 0) && random.int(0, 1)
    ? random.floats(tiles)
    : undefined;
  const own = !minimums && random.int(0, 1) === 1;
  const zeros = own ? Float32Array.from(random.codes(tiles, size), (i) => table[i]) : undefined;
  const bytes = random.codes(rows * Math.ceil(columns * bits / 8), 256);
  return { tiling: t, bits, bytes, table, scales: random.scales(tiles), zeros, minimums };
}

/** A weight of 1 to 4 bits whose integers are looked up: tables like NF4, of E2M1, of IQ4_NL, any. */
export function lookupArguments(c: Omit<Case, "k">, bits: number) {
  const { random } = c;
  const length = 1 << bits;
  const table = random.of([
    () => Float32Array.from({ length }, (_, i) => i < 8 ? NF4[i] : -NF4[15 - i]),
    () => Float32Array.from({ length }, (_, i) => (i & 8 ? -1 : 1) * E2M1[i & 7]),
    () => Float32Array.from({ length }, (_, i) => IQ4[i]),
    () => random.floats(length),
  ])();
  const { minimums: _, zeros: __, ...rest } = integerArguments(c, bits);
  return { ...rest, table, lookup: true };
}

/** A product of f32 activations, scaled once a group. */
export function groupedProduct(c: Case): Output[] {
  const { k, random, rows, columns } = c;
  using weight = k.integerWeight(integerArguments(c, random.int(1, 8)));
  const tokens = random.of([1, 1, 2, 3, 4, 5, 7, 9]);
  const data = random.floats(tokens * columns, random.of([1, 1, 1e-4, 1e30, 1e-32]));
  if (random.int(0, 9) === 0) data.fill(random.of([0, NaN, Infinity, 1e-40]), 0, columns >> 1);
  using x = k.upload(data);
  using y = k.upload(random.floats(tokens * rows));
  k.groupedLinear({ x, y, tokens, weight });
  return [y.array.slice()];
}

/** A product in integers. */
export function integerProduct(c: Case): Output[] {
  const { k, random, rows, columns } = c;
  const args = random.int(0, 2)
    ? integerArguments(c, random.int(1, 8))
    : lookupArguments(c, random.int(1, 4));
  using weight = k.integerWeight(args);
  const tokens = random.of([1, 1, 2, 3, 4, 5, 7, 9]);
  const data = random.floats(tokens * columns, random.of([1, 1, 1e-4, 1e30]));
  if (random.int(0, 9) === 0) data.fill(random.of([0, NaN, Infinity, 1e-40]), 0, columns >> 1);
  using x = k.upload(data);
  using y = k.upload(random.floats(tokens * rows));
  const granularity = random.of(["token", "group", "tensor"] as const);
  const activations = { granularity, bits: random.of([8, 8, 4, 5]) };
  k.integerLinear({
    x,
    y,
    tokens,
    weight,
    activations: random.int(0, 3) ? activations : undefined,
  });
  return [y.array.slice()];
}
