/** Kernel operations against numpy, scipy, torch and ml_dtypes (tools/golden/kernels.py). */

import { assert, assertEquals } from "@std/assert";
import { loadKernels, referenceKernels } from "../kernels-wasm/mod.ts";
import golden from "./golden/kernels.json" with { type: "json" };

type Case = Record<string, number[]>;
const cases = golden.cases as Record<string, Case>;
const all = [await loadKernels(), referenceKernels()];

/** Within a tolerance of the largest magnitude. */
function near(actual: ArrayLike<number>, expected: number[], tolerance: number, what: string) {
  assertEquals(actual.length, expected.length, what);
  const largest = expected.reduce((m, v) => Math.max(m, Math.abs(v)), 0);
  expected.forEach((v, i) => {
    const error = Math.abs(actual[i] - v);
    assert(error <= tolerance * largest, `${what}: element ${i} is ${actual[i]}, not ${v}`);
  });
}

const f32 = (values: number[]) => Float32Array.from(values);
const f64 = (values: number[]) => Float64Array.from(values);

for (const k of all) {
  const test = (name: string, run: (c: Case) => void) =>
    Deno.test(`${k.name}: ${name}`, () => run(cases[name]));

  test("cholesky", (c) => {
    const n = 20;
    using a = k.upload(f64(c.a));
    assert(k.cholesky({ a, n }));
    near(a.array, c.l, 1e-13, "L");
    using b = k.upload(f64(c.b));
    k.choleskySolve({ l: a, n, b, columns: 3 });
    near(b.array, c.x, 1e-12, "X");
    k.triangularInverse({ l: a, n });
    near(a.array, c.inverse, 1e-12, "inverse");
  });

  for (
    const [name, n] of [["eigen_clustered", 24], ["eigen_hilbert", 12], ["eigen_wilkinson", 21]]
  ) {
    test(name as string, (c) => {
      const size = n as number;
      using a = k.upload(f64(c.a));
      using values = k.alloc("f64", size);
      using vectors = k.alloc("f64", size * size);
      k.symmetricEigen({ a, n: size, values, vectors });
      near(values.array, c.values, 2e-14, "values");
      const [d, z] = [values.array, vectors.array];
      const back = c.a.map((_, at) => {
        let sum = 0;
        for (let p = 0; p < size; p++) {
          sum += z[p * size + Math.floor(at / size)] * d[p] * z[p * size + at % size];
        }
        return sum;
      });
      near(back, c.a, 1e-13, "Z^T D Z");
    });
  }

  for (const [rows, columns, rank] of [[14, 20, 14], [20, 14, 14], [16, 16, 5]]) {
    test(`svd_${rows}_${columns}_${rank}`, (c) => {
      using a = k.upload(f64(c.a));
      for (const kept of [Math.min(rows, columns), 4]) {
        using s = k.alloc("f64", kept);
        using u = k.alloc("f64", rows * kept);
        using v = k.alloc("f64", kept * columns);
        k.svd({ a, rows, columns, s, u, v });
        near([...s.array, 0], [...c.s.slice(0, kept), 0], 2e-14, "values");
        const product = c.a.map((_, at) => {
          const [r, col] = [Math.floor(at / columns), at % columns];
          let sum = 0;
          for (let p = 0; p < kept; p++) {
            sum += u.array[r * kept + p] * s.array[p] * v.array[p * columns + col];
          }
          return sum;
        });
        near(product, kept === 4 ? c.truncated : c.a, 1e-13, `rank ${kept}`);
      }
    });
  }

  test("qr", (c) => {
    using a = k.upload(f64(c.a));
    using r = k.alloc("f64", 121);
    k.qr({ a, rows: 18, columns: 11, r });
    near(a.array, c.q, 1e-13, "Q");
    near(r.array, c.r, 1e-13, "R");
  });

  test("hadamard", (c) => {
    using x = k.upload(f32(c.x));
    k.hadamard({ x, rows: 3, columns: 64 });
    near(x.array, c.y, 1e-6, "transform");
  });

  test("activate", (c) => {
    using x = k.upload(f32(c.x));
    using y = k.alloc("f32", c.x.length);
    for (const kind of ["relu", "silu", "gelu", "gelu_tanh"] as const) {
      k.activate({ x, y, kind });
      near(y.array.subarray(0, 97), c[kind].slice(0, 97), 1e-7, kind);
      near(y.array.subarray(97), c[kind].slice(97), 1e-7, kind);
    }
  });

  test("rows", (c) => {
    using x = k.upload(f32(c.x));
    using y = k.alloc("f32", c.x.length);
    using weight = k.upload(f32(c.weight));
    using bias = k.upload(f32(c.bias));
    k.layerNorm({ x, y, rows: 3, columns: 37, weight, bias, epsilon: 1e-5 });
    near(y.array, c.layer_norm, 5e-7, "layer norm");
    k.softmax({ x, rows: 3, columns: 37 });
    near(x.array, c.softmax, 5e-7, "softmax");
  });

  test("matmul", (c) => {
    using x = k.upload(f32(c.x));
    using w = k.upload(f32(c.w));
    using y = k.alloc("f32", 7 * 18);
    k.matmul({ x, w, y, tokens: 7, inner: 29, columns: 18, transpose: true });
    near(y.array, c.y, 1e-6, "x^T w");
  });

  test("statistics", (c) => {
    using x = k.upload(f32(c.x));
    using counts = k.alloc("f64", 13);
    k.histogram({ x, low: -3, high: 4, counts });
    assertEquals([...counts.array], c.counts);
    const found = c.fractions.map((fraction) => k.percentile({ x, fraction }));
    near(found, c.percentiles, 1e-15, "percentiles");
  });

  test("fp6", (c) => {
    for (const format of ["e3m2", "e2m3"] as const) {
      // a row a code, one activation
      using x = k.upload(Float32Array.of(1));
      using y = k.alloc("f32", 64);
      using high = k.upload(Uint8Array.from({ length: 64 }, (_, code) => code >> 2));
      using low = k.upload(Uint8Array.from({ length: 64 }, (_, code) => code & 3));
      using scales = k.upload(new Float32Array(64).fill(1));
      k.linearFp6({ x, y, tokens: 1, rows: 64, columns: 1, format, high, low, scales });
      assertEquals([...y.array].map(Math.abs), c[format].map(Math.abs));
      assertEquals([...y.array].map((v) => v || 0), c[format].map((v) => v || 0));
    }
  });

  test("planes", (c) => {
    using weight = k.planeWeight({
      ...{ rows: 19, columns: 40, planes: 3, group: 16, bits: Uint8Array.from(c.bits) },
      ...{ alphas: f32(c.alphas), offsets: f32(c.offsets) },
    });
    using x = k.upload(f32(c.x));
    using y = k.alloc("f32", 38);
    k.linearPlanes({ x, y, tokens: 2, weight });
    near(y.array, c.y, 1e-6, "product");
  });

  test("codebook", (c) => {
    using weight = k.codebookWeight({
      ...{ rows: 5, columns: 24, dim: 4, books: 2, group: 8, codes: Uint16Array.from(c.codes) },
      ...{ tables: f32(c.tables), scales: f32(c.scales) },
    });
    using x = k.upload(f32(c.x));
    using y = k.alloc("f32", 10);
    k.linearCodebook({ x, y, tokens: 2, weight });
    near(y.array, c.y, 1e-6, "product");
  });

  test("side", (c) => {
    const shape = { rows: 9, columns: 24 };
    using sparse = k.sparseWeight({
      ...shape,
      rowIndex: Uint32Array.from(c.row),
      columnIndex: Uint32Array.from(c.column),
      values: f32(c.values),
    });
    using lowRank = k.lowRankWeight({ ...shape, rank: 3, left: f32(c.left), right: f32(c.right) });
    using x = k.upload(f32(c.x));
    using y = k.alloc("f32", 18);
    k.addSparse({ x, y, tokens: 2, weight: sparse });
    near(y.array, c.sparse, 1e-6, "sparse");
    k.addLowRank({ x, y, tokens: 2, weight: lowRank });
    near(y.array, c.sparse.map((v, i) => v + c.low_rank[i]), 1e-6, "both");
  });

  test("cache", (c) => {
    const [tokens, width] = [21, 32];
    using cache = k.quantizedCache({
      ...{ capacity: tokens, kvHeads: 2, headSize: 16 },
      keys: { bits: 2, by: "channel", group: 8 },
      values: { bits: 2, by: "token", group: 8 },
    });
    using q = k.upload(f32(c.q));
    using y = k.alloc("f32", c.q.length);
    // all but the last position at once, then that one
    for (const [from, count] of [[0, tokens - 1], [tokens - 1, 1]]) {
      using keys = k.upload(f32(c.k.slice(from * width, (from + count) * width)));
      using values = k.upload(f32(c.v.slice(from * width, (from + count) * width)));
      k.cacheAppend({ cache, k: keys, v: values, tokens: count });
      const size = count * 64;
      using part = q.slice(from * 64, size);
      k.attentionCached({
        cache,
        q: part,
        y: y.slice(from * 64, size),
        tokens: count,
        heads: 4,
        scale: 0.25,
      });
    }
    using keys = k.alloc("f32", c.k.length);
    using values = k.alloc("f32", c.v.length);
    k.cacheRead({ cache, k: keys, v: values });
    near(keys.array, c.keys, 1e-6, "keys");
    near(values.array, c.values, 1e-6, "values");
    near(y.array, c.y, 1e-6, "attention");
  });
}
