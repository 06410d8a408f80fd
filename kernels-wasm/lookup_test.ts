/** What the operations beyond the first ones refuse, and what must hold of their results. */

import { assert, assertEquals, assertThrows } from "@std/assert";
import { LowbitError } from "../spec/errors.ts";
import type { BufferType } from "../spec/kernel_buffers.ts";
import type { Kernels } from "../spec/kernels.ts";
import { CASES, Random } from "./_cases.ts";
import { hadamardMatrix, hadamardOrders, hadamardSplit } from "./hadamard.ts";
import { integerPlanes } from "./integer_planes.ts";
import { loadKernels } from "./mod.ts";
import { referenceKernels } from "./reference.ts";

const wasm = await loadKernels();
const reference = referenceKernels();

/** Calls that must be refused, with the argument that is named. */
function refusals(k: Kernels): [field: string, call: () => void][] {
  const make = (type: BufferType) => (n: number) => k.alloc(type, n);
  const [f32, f64, u8] = [
    make("f32") as (n: number) => ReturnType<typeof k.alloc<"f32">>,
    make("f64") as (n: number) => ReturnType<typeof k.alloc<"f64">>,
    make("u8") as (n: number) => ReturnType<typeof k.alloc<"u8">>,
  ];
  const identity = (n: number) => {
    const a = f64(n * n);
    for (let i = 0; i < n; i++) a.array[i * n + i] = 1;
    return a;
  };
  const lopsided = identity(2);
  lopsided.array[1] = 0.5;
  const broken = identity(2);
  broken.array[0] = NaN;
  const eigen = { n: 2, values: f64(2), vectors: f64(4) };
  const svd = { a: f64(6), rows: 2, columns: 3, s: f64(2), u: f64(4), v: f64(6) };
  const planes = { rows: 2, columns: 8, planes: 1, bits: new Uint8Array(2) };
  const plain = k.planeWeight(planes);
  const books = {
    ...{ rows: 2, columns: 8, dim: 4 as const, books: 1, group: 8, codes: new Uint8Array(4) },
    ...{ tables: new Float32Array(16), scales: new Float32Array(2) },
  };
  const [one, zero] = [Uint32Array.of(1), Uint32Array.of(0)];
  const sparse = { rows: 2, columns: 2, rowIndex: one, columnIndex: zero, values: f32(1).array };
  const side = { bits: 4 as const, by: "token" as const, group: 8 };
  const shape = { capacity: 2, kvHeads: 1, headSize: 8, keys: side, values: side };
  const cache = k.quantizedCache(shape);
  const freed = k.quantizedCache(shape);
  freed.free();
  const three = { k: f32(24), v: f32(24), tokens: 3 };
  const int = { x: u8(8), y: k.alloc("i32", 2), tokens: 1, weight: plain, offset: 0 };
  return [
    ["columns", () => k.hadamard({ x: f32(7), rows: 1, columns: 7 })],
    ["signs", () => k.hadamard({ x: f32(8), rows: 1, columns: 8, signs: f32(8) })],
    ["a", () => k.cholesky({ a: f64(3), n: 2 })],
    ["a", () => k.cholesky({ a: broken, n: 2 })],
    ["l", () => k.choleskySolve({ l: f64(4), n: 2, b: f64(2), columns: 1 })],
    ["l", () => k.triangularInverse({ l: f64(4), n: 2 })],
    ["a", () => k.symmetricEigen({ ...eigen, a: lopsided })],
    ["a", () => k.symmetricEigen({ ...eigen, a: broken })],
    ["vectors", () => k.symmetricEigen({ ...eigen, a: identity(2), vectors: f64(3) })],
    ["s", () => k.svd({ ...svd, s: f64(3) })],
    ["u", () => k.svd({ ...svd, u: f64(5) })],
    ["rows", () => k.qr({ a: f64(6), rows: 2, columns: 3, r: f64(9) })],
    ["w", () => k.matmul({ x: f32(4), w: f32(5), y: f32(4), tokens: 2, inner: 2, columns: 2 })],
    // deno-lint-ignore no-explicit-any
    ["kind", () => k.activate({ x: f32(1), y: f32(1), kind: "elu" as any })],
    ["y", () => k.absMax({ x: f32(6), rows: 2, columns: 3, by: "row", y: f32(3) })],
    ["counts", () => k.histogram({ x: f32(1), low: 0, high: 1, counts: f64(0) })],
    ["high", () => k.histogram({ x: f32(1), low: 1, high: 1, counts: f64(1) })],
    ["x", () => k.percentile({ x: f32(0), fraction: 0 })],
    ["fraction", () => k.percentile({ x: f32(1), fraction: 1.1 })],
    ["name", () => k.convert({ name: "u8_to_moon", x: u8(1), y: u8(1) })],
    ["factor", () => k.convert({ name: "u4_to_u8", x: u8(1), y: u8(2), factor: 2 })],
    ["x", () => k.convert({ name: "sint4_to_s8_times16", x: u8(15), y: u8(30) })],
    ["bits", () => k.planeWeight({ ...planes, bits: new Uint8Array(3) })],
    ["group", () => k.planeWeight({ ...planes, columns: 16, bits: new Uint8Array(4), group: 9 })],
    ["alphas", () => k.planeWeight({ ...planes, offsets: new Float32Array(2) })],
    ["weight", () => k.linearPlanes({ x: f32(8), y: f32(2), tokens: 1, weight: plain })],
    ["factors", () => k.linearPlanesInt({ ...int, factors: Int32Array.of(1, 2) })],
    ["factors", () => k.linearPlanesInt({ ...int, factors: Int32Array.of(1 << 22) })],
    ["weight", () => k.linearCodebook({ x: f32(8), y: f32(2), tokens: 1, weight: plain })],
    ["codes", () => k.codebookWeight({ ...books, codes: Uint8Array.of(0, 1, 2, 4) })],
    ["columns", () => k.codebookWeight({ ...books, columns: 6 })],
    ["scales", () => k.codebookWeight({ ...books, scales: new Float32Array(3) })],
    ["w", () => k.linearBinary({ x: u8(1), w: u8(3), y: f32(2), tokens: 1, rows: 2, columns: 8 })],
    ["columnIndex", () => k.sparseWeight({ ...sparse, columnIndex: Uint32Array.of(2) })],
    ["rowIndex", () => k.sparseWeight({ ...sparse, rowIndex: Uint32Array.of(2) })],
    [
      "left",
      () =>
        k.lowRankWeight({
          ...{ rows: 2, columns: 2, rank: 1 },
          ...{ left: new Float32Array(3), right: new Float32Array(2) },
        }),
    ],
    ["keys.group", () => k.quantizedCache({ ...shape, keys: { ...side, group: 3 } })],
    // deno-lint-ignore no-explicit-any
    ["values.bits", () => k.quantizedCache({ ...shape, values: { ...side, bits: 3 as any } })],
    ["tokens", () => k.cacheAppend({ cache, ...three })],
    ["cache", () => k.cacheAppend({ cache: freed, ...three, tokens: 0 })],
    [
      "tokens",
      () => k.attentionCached({ cache, q: f32(8), y: f32(8), tokens: 1, heads: 1, scale: 1 }),
    ],
    ["cache", () => {
      const other = (k === wasm ? reference : wasm).quantizedCache(shape);
      k.cacheRead({ cache: other, k: f32(0), v: f32(0) });
    }],
  ];
}

for (const k of [wasm, reference]) {
  Deno.test(`${k.name}: bad arguments are refused by name`, () => {
    refusals(k).forEach(([field, call], i) => {
      const error = assertThrows(call, LowbitError);
      assertEquals(error.field, field, `call ${i}: ${error.message}`);
    });
  });
}

Deno.test("every order gives a Hadamard matrix", () => {
  const orders = [1, ...hadamardOrders()];
  for (const m of [12, 20, 28, 36, 44, 52, 60, 92, 172]) assert(orders.includes(m), `${m}`);
  for (const m of orders) {
    const h = hadamardMatrix(m);
    assert(h.every((v) => v === 1 || v === -1));
    for (let i = 0; i < m; i++) {
      for (let j = 0; j <= i; j++) {
        let dot = 0;
        for (let p = 0; p < m; p++) dot += h[i * m + p] * h[j * m + p];
        assertEquals(dot, i === j ? m : 0, `order ${m}, rows ${i} and ${j}`);
      }
    }
  }
});

Deno.test("sizes of real models can be transformed", () => {
  for (const size of [576, 1536, 2048, 2560, 3072, 4096, 5120, 8960, 11008, 13824, 14336, 18944]) {
    assert(hadamardSplit(size), `${size}`);
  }
  assertEquals(hadamardSplit(576), { m: 36, block: 16 });
  assertEquals(hadamardSplit(1536), { m: 12, block: 128 });
  assertEquals(hadamardSplit(29 * 64), { m: 116, block: 16 });
  for (const size of [0, 3, 6, 39 * 64, 1.5]) assertEquals(hadamardSplit(size), undefined);
});

Deno.test("a transform keeps lengths, and its transpose takes it back", () => {
  const random = new Random(5);
  for (const columns of [576, 1536, 172, 104, 64]) {
    const start = random.floats(3 * columns);
    using x = wasm.upload(start);
    using signs = wasm.upload(Float32Array.from({ length: columns }, () => random.of([1, -1])));
    const square = (v: Float32Array) => v.reduce((sum, e) => sum + e * e, 0);
    wasm.hadamard({ x, rows: 3, columns, signs });
    assert(Math.abs(square(x.array) / square(start) - 1) < 1e-5);
    wasm.hadamard({ x, rows: 3, columns, signs, transpose: true });
    assert(x.array.every((v, i) => Math.abs(v - start[i]) < 1e-5));
  }
});

Deno.test("the cache gives the bits of attention over what it decodes to", () => {
  const k = wasm;
  const random = new Random(9);
  for (const by of ["token", "channel"] as const) {
    for (const bits of [2, 4, 8] as const) {
      for (const tokens of [1, 3, 40]) {
        const shape = { kvHeads: 2, headSize: 32, heads: 6, scale: 0.2 };
        const [width, length] = [64, 70];
        const side = { bits, by, group: 16 };
        using cache = k.quantizedCache({ ...shape, capacity: 70, keys: side, values: side });
        using keys = k.upload(random.floats(length * width));
        using values = k.upload(random.floats(length * width));
        k.cacheAppend({ cache, k: keys, v: values, tokens: length });
        k.cacheRead({ cache, k: keys, v: values });
        using q = k.upload(random.floats(tokens * 192));
        using y = k.alloc("f32", tokens * 192);
        using expected = k.alloc("f32", tokens * 192);
        k.attentionCached({ ...shape, cache, q, y, tokens });
        k.attention({
          ...shape,
          q,
          k: keys,
          v: values,
          y: expected,
          tokens,
          past: length - tokens,
        });
        assertEquals(y.array, expected.array, `${by}, ${bits} bits, ${tokens} tokens`);
      }
    }
  }
});

Deno.test("a cache is smaller than f32, and a NaN stays in its group", () => {
  const k = wasm;
  const side = { bits: 4, by: "token", group: 32 } as const;
  const shape = { capacity: 100, kvHeads: 2, headSize: 64 };
  using cache = k.quantizedCache({ ...shape, keys: side, values: side });
  assert(cache.bytes < 100 * 128 * 8 / 4);
  using keys = k.upload(new Random(1).floats(128));
  using values = k.upload(new Random(2).floats(128));
  values.array[40] = NaN;
  keys.array[3] = Infinity;
  k.cacheAppend({ cache, k: keys, v: values, tokens: 1 });
  k.cacheRead({ cache, k: keys, v: values });
  assertEquals([...values.array.keys()].filter((i) => Number.isNaN(values.array[i])), [
    ...Array.from({ length: 32 }, (_, i) => 32 + i),
  ]);
  assert(keys.array.subarray(0, 32).every(Number.isNaN));
  assert(keys.array.subarray(32).every(Number.isFinite));
});

Deno.test("planes of whole numbers multiply like a packed weight", () => {
  const k = wasm;
  const random = new Random(3);
  const shape = { rows: 37, columns: 100, group: 32 };
  for (const bits of [1, 2, 3, 4]) {
    const codes = random.codes(3700, 1 << bits);
    const scales = random.scales(37 * 4);
    const zeros = Float32Array.from(random.codes(37 * 4, 1 << bits));
    using weight = k.planeWeight(integerPlanes({ ...shape, bits, codes, scales, zeros }));
    const values = Float32Array.from(codes, (code, at) => {
      const tile = Math.floor(at / 100) * 4 + Math.floor(at % 100 / 32);
      return (code - zeros[tile]) * scales[tile];
    });
    using dense = k.denseWeight(values, 37, 100);
    using x = k.upload(random.floats(200));
    using y = k.alloc("f32", 74);
    using expected = k.alloc("f32", 74);
    k.linearPlanes({ x, y, tokens: 2, weight });
    k.linear({ x, y: expected, tokens: 2, weight: dense });
    const largest = Math.max(...expected.array.map(Math.abs));
    assert(y.array.every((v, i) => Math.abs(v - expected.array[i]) < 2e-6 * largest));
  }
});

Deno.test("all 4-bit codes convert to what they mean", () => {
  const k = wasm;
  const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
  using x = k.upload(bytes);
  using y = k.alloc("u8", 512);
  const signed = (nibble: number) => nibble < 8 ? nibble : nibble - 16;
  const expected = (scale: number) =>
    [...bytes].flatMap((b) => [b & 15, b >> 4]).map((n) => (signed(n) * scale) & 255);
  k.convert({ name: "s4_to_s8", x, y });
  assertEquals([...y.array], expected(1));
  k.convert({ name: "s4_to_s8_times16", x, y });
  assertEquals([...y.array], expected(16));
});

Deno.test("large factors are right on all threads, and the same bits", async () => {
  const shared = await loadKernels({ threads: 3 });
  const outputs = [wasm, shared].map((k) => {
    const n = 150;
    const a = CASES.gram({ k, random: new Random(4), rows: 200, columns: n })[0] as Float64Array;
    using input = k.upload(a.slice());
    using values = k.alloc("f64", n);
    using vectors = k.alloc("f64", n * n);
    k.symmetricEigen({ a: input, n, values, vectors });
    const largest = values.array[n - 1];
    const [d, z] = [values.array, vectors.array];
    for (let p = 0; p < n; p += 29) {
      for (let i = 0; i < n; i++) {
        let sum = 0;
        for (let j = 0; j < n; j++) sum += a[i * n + j] * z[p * n + j];
        assert(
          Math.abs(sum - d[p] * z[p * n + i]) < 1e-13 * largest * n,
          `vector ${p}, entry ${i}`,
        );
      }
    }
    return [d.slice(), z.slice()];
  });
  assertEquals(outputs[0], outputs[1]);
  shared.close();
});
