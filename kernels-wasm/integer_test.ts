/** Products in integers: one result on all builds, what is refused, what it means. */

import { assert, assertEquals, assertThrows } from "@std/assert";
import { LowbitError } from "../spec/errors.ts";
import { tiling } from "../spec/granularity.ts";
import type { Kernels, PackedWeightArguments } from "../spec/kernels.ts";
import { integerArguments, lookupArguments } from "./_cases_integer.ts";
import { Random } from "./_random.ts";
import { loadBaselineKernels, loadScalarKernels } from "./_scalar.ts";
import { loadKernels } from "./mod.ts";
import { referenceKernels } from "./reference.ts";

/** NF4 as bitsandbytes has it. */
const nf4 = [
  ...[-1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635],
  ...[-0.18477343022823334, -0.09105003625154495, 0, 0.07958029955625534, 0.16093020141124725],
  ...[0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941],
  ...[0.7229568362236023, 1],
];
const reference = referenceKernels();
const builds: [string, Kernels][] = [
  ["relaxed SIMD, where the host has it", await loadKernels()],
  ["SIMD128", await loadBaselineKernels()],
  ["scalar", await loadScalarKernels()],
];

/** The outputs of a random product of the given sizes, as bits. */
function product(k: Kernels, seed: number, [tokens, rows, columns]: number[]): Uint32Array {
  const random = new Random(seed);
  using weight = k.integerWeight(integerArguments({ random, rows, columns }, 1 + seed % 8));
  using x = k.upload(random.floats(tokens * columns));
  using y = k.alloc("f32", tokens * rows);
  const granularity = random.of(["token", "group", "tensor"] as const);
  k.integerLinear({ x, y, tokens, weight, activations: { granularity, bits: random.int(2, 8) } });
  return new Uint32Array(y.array.slice().buffer);
}

/** The outputs of a random product with codes that are looked up, as bits. */
function lookedUp(k: Kernels, seed: number, [tokens, rows, columns]: number[]): Uint32Array {
  const random = new Random(seed);
  using weight = k.integerWeight(lookupArguments({ random, rows, columns }, 1 + seed % 4));
  using x = k.upload(random.floats(tokens * columns));
  using y = k.alloc("f32", tokens * rows);
  const granularity = random.of(["token", "group", "tensor"] as const);
  k.integerLinear({ x, y, tokens, weight, activations: { granularity, bits: random.int(2, 8) } });
  return new Uint32Array(y.array.slice().buffer);
}

/** The outputs of a random product with f32 activations, as bits. */
function grouped(k: Kernels, seed: number, [tokens, rows, columns]: number[]): Uint32Array {
  const random = new Random(seed);
  using weight = k.integerWeight(integerArguments({ random, rows, columns }, 1 + seed % 8));
  using x = k.upload(random.floats(tokens * columns));
  using y = k.alloc("f32", tokens * rows);
  k.groupedLinear({ x, y, tokens, weight });
  return new Uint32Array(y.array.slice().buffer);
}

for (const [name, k] of builds) {
  Deno.test(`${name}: the bits of the reference, sizes 1 to 130`, () => {
    const random = new Random(5);
    for (let size = 1; size <= 130; size++) {
      const other = () => random.int(1, 12);
      const shapes = [[size, other(), other()], [other(), size, other()], [1, other(), size]];
      for (const [i, shape] of shapes.entries()) {
        const seed = 3 * size + i;
        assertEquals(product(k, seed, shape), product(reference, seed, shape), `${shape}`);
        assertEquals(grouped(k, seed, shape), grouped(reference, seed, shape), `${shape}`);
        assertEquals(lookedUp(k, seed, shape), lookedUp(reference, seed, shape), `${shape}`);
      }
    }
  });

  Deno.test(`${name}: the bits of the reference, large`, () => {
    for (const [seed, shape] of [[3, [5, 70, 700]], [11, [9, 33, 1500]], [4, [1, 40, 3000]]]) {
      const [s, sizes] = [seed as number, shape as number[]];
      assertEquals(product(k, s, sizes), product(reference, s, sizes), `${shape}`);
      assertEquals(grouped(k, s, sizes), grouped(reference, s, sizes), `${shape}`);
      assertEquals(lookedUp(k, s, sizes), lookedUp(reference, s, sizes), `${shape}`);
    }
  });

  Deno.test(`${name}: nothing overflows at the limits`, () => {
    for (const bits of [1, 2, 3, 4, 5, 6, 7, 8]) {
      for (const columns of [65536, 1000]) {
        const t = tiling({ kind: "channel" }, 2, columns);
        const largest = (1 << bits) - 1;
        const table = Float32Array.from({ length: largest + 1 }, (_, i) => i);
        const bytes = new Uint8Array(2 * Math.ceil(columns * bits / 8)).fill(255);
        using weight = k.integerWeight({
          tiling: t,
          bits,
          bytes,
          table,
          scales: Float32Array.of(1, 1),
        });
        using x = k.upload(new Float32Array(columns).fill(-127));
        using y = k.alloc("f32", 2);
        k.integerLinear({ x, y, tokens: 1, weight });
        assertEquals([...y.array], [0, 0].map(() => Math.fround(-127 * largest * columns)));
      }
    }
  });

  Deno.test(`${name}: values that are not finite, and nothing at all`, () => {
    const t = tiling({ kind: "group", size: 2 }, 1, 4);
    const table = Float32Array.of(0, 1, 2, 3), scales = Float32Array.of(1, 2);
    using weight = k.integerWeight({
      tiling: t,
      bits: 2,
      bytes: Uint8Array.of(0b01010101),
      table,
      scales,
    });
    const run = (values: number[], granularity: "token" | "group" | "tensor") => {
      using x = k.upload(Float32Array.from(values));
      using y = k.alloc("f32", values.length / 4);
      k.integerLinear({ x, y, tokens: y.length, weight, activations: { granularity } });
      return [...y.array];
    };
    assertEquals(run([127, 0, 127, 0], "token"), [381]);
    assertEquals(run([NaN, 0, 1, 0, 127, 0, 127, 0], "token"), [NaN, 381]);
    assertEquals(run([Infinity, 0, 1, 0], "group"), [NaN]);
    assertEquals(run([1, 0, -Infinity, 0, 1, 0, 1, 0], "tensor"), [NaN, NaN]);
    assertEquals(run([0, 0, 0, 0, 1e-40, 0, 0, 0], "token"), [0, 0]);
    assertEquals(run([], "tensor"), []);
  });
}

Deno.test("a table that is looked up is exact on a grid, and otherwise errs as is stated", () => {
  const columns = 16;
  const shape = { tiling: tiling({ kind: "channel" }, 1, columns), bits: 4 };
  const bytes = Uint8Array.from({ length: 8 }, (_, i) => 2 * i | (2 * i + 1) << 4);
  const scales = Float32Array.of(1);
  /** What the codes of a table read as: products with unit vectors. */
  const readBack = (k: Kernels, values: number[]) => {
    const table = Float32Array.from(values);
    using weight = k.integerWeight({ ...shape, bytes, scales, table, lookup: true });
    using x = k.alloc("f32", columns * columns);
    for (let i = 0; i < columns; i++) x.array[i * columns + i] = 127;
    using y = k.alloc("f32", columns);
    k.integerLinear({ x, y, tokens: columns, weight });
    assertThrows(
      () => k.groupedLinear({ x, y, tokens: columns, weight }),
      LowbitError,
      "looked up",
    );
    return y.array.map((v) => v / 127);
  };
  const e2m1 = [0, 0.5, 1, 1.5, 2, 3, 4, 6].flatMap((v) => [v, -v]);
  const iq4 = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];
  for (const k of [...builds.map(([, k]) => k), reference]) {
    assertEquals([...readBack(k, e2m1)], e2m1.map((v) => v + 0));
    assertEquals([...readBack(k, iq4)], iq4);
    const errors = readBack(k, nf4).map((v, i) => v - nf4[i]);
    const largest = Math.max(...errors.map(Math.abs));
    const mean = Math.sqrt(errors.reduce((sum, e) => sum + e * e, 0) / 16);
    assert(largest < 0.00786 && largest > 0.0078, `${largest}`);
    assert(mean < 0.0041 && mean > 0.004, `${mean}`);
  }
});

Deno.test("what is no grid of integers is refused by name", () => {
  const t = tiling({ kind: "group", size: 4 }, 2, 8);
  const good: PackedWeightArguments = {
    tiling: t,
    bits: 2,
    bytes: new Uint8Array(4),
    table: Float32Array.of(-1, 0, 1, 2),
    scales: new Float32Array(4),
  };
  for (const k of [builds[0][1], reference]) {
    const wide = tiling({ kind: "channel" }, 0, 65537);
    const refused: [string, Partial<PackedWeightArguments>][] = [
      ["table", { table: Float32Array.of(0, 1, 2.5, 3) }],
      ["table", { table: Float32Array.of(0, 1, 2, 300) }],
      ["table", { table: Float32Array.of(0, 1, 2, NaN) }],
      ["zeros", { zeros: Float32Array.of(0, 0.5, 0, 0) }],
      ["zeros", { zeros: Float32Array.of(0, 0, 0, -2) }],
      ["bytes", { bytes: new Uint8Array(3) }],
      ["tiling", { tiling: wide, bytes: new Uint8Array(0), scales: new Float32Array(0) }],
    ];
    for (const [field, part] of refused) {
      const error = assertThrows(() => k.integerWeight({ ...good, ...part }), LowbitError);
      assertEquals([error.code, error.field], ["SHAPE", field], error.message);
    }
    using weight = k.integerWeight(good);
    using x = k.alloc("f32", 8);
    using y = k.alloc("f32", 2);
    const call = { x, y, tokens: 1, weight };
    const dense = k.denseWeight(new Float32Array(16), 2, 8);
    const calls: [string, () => void][] = [
      ["weight", () => k.integerLinear({ ...call, weight: dense })],
      ["x", () => k.integerLinear({ ...call, tokens: 2 })],
      ["weight", () => k.groupedLinear({ ...call, weight: dense })],
      ["y", () => k.groupedLinear({ ...call, y: k.alloc("f32", 3) })],
      ["bits", () => k.integerLinear({ ...call, activations: { bits: 9 } })],
      [
        "granularity",
        () => k.integerLinear({ ...call, activations: { granularity: "row" as "token" } }),
      ],
    ];
    for (const [field, wrong] of calls) {
      assertEquals(assertThrows(wrong, LowbitError).field, field);
    }
  }
});

Deno.test("eight bits are close to the exact product, f32 activations as close as f32 is", () => {
  const [k, random] = [builds[0][1], new Random(2)];
  const [rows, columns] = [40, 512];
  const t = tiling({ kind: "group", size: 32 }, rows, columns);
  const args = {
    tiling: t,
    bits: 4,
    bytes: random.codes(rows * columns / 2, 256),
    table: Float32Array.from({ length: 16 }, (_, i) => i - 8),
    scales: random.scales(t.gridRows * t.gridColumns),
  };
  using x = k.upload(random.floats(columns));
  using exact = k.alloc("f32", rows);
  using y = k.alloc("f32", rows);
  using packed = k.packedWeight(args);
  using integer = k.integerWeight(args);
  k.linear({ x, y: exact, tokens: 1, weight: packed });
  k.integerLinear({ x, y, tokens: 1, weight: integer });
  using grouped = k.alloc("f32", rows);
  k.groupedLinear({ x, y: grouped, tokens: 1, weight: integer });
  const square = (values: Float32Array) => values.reduce((sum, v) => sum + v * v, 0);
  const errorOf = (values: Float32Array) =>
    square(values.map((v, i) => v - exact.array[i])) / square(exact.array);
  const [error, last] = [errorOf(y.array), errorOf(grouped.array)];
  assert(error > 0 && error < 1e-4, `relative error ${error}`);
  assert(last < 1e-12, `relative error ${last} of f32 activations`);
});
