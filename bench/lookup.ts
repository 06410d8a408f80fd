/**
 * Speed of products by look-up, transforms, linear algebra, the quantised cache and conversions:
 * `deno run bench/lookup.ts [--json] [--quick]`. See `measure.ts` for what is measured.
 *
 * @module
 */

import { integerPlanes, loadKernels } from "../kernels-wasm/mod.ts";
import { CONVERSIONS } from "../spec/kernels_convert.ts";
import type { Kernels } from "../spec/kernels.ts";
import { bytes, type Case, measure, numbers } from "./cases.ts";

const SHAPES = [[576, 576], [1536, 576], [2048, 2048]];
const TOKENS = [1, 8];

/** Products of `tokens` rows with weights in every form. */
function products(k: Kernels): Case[] {
  return SHAPES.flatMap(([rows, columns]) => {
    const size = rows * columns;
    const planes = [1, 2, 3, 4].map((bits) => {
      const codes = bytes(size).map((b) => b & (1 << bits) - 1);
      const scales = numbers(rows * columns / 64);
      return k.planeWeight(integerPlanes({ rows, columns, bits, codes, group: 64, scales }));
    });
    const books = [1, 2].map((count) =>
      k.codebookWeight({
        ...{ rows, columns, dim: 8, books: count, group: columns, scales: numbers(rows) },
        codes: Uint16Array.from(bytes(count * size / 8)),
        tables: numbers(count * 256 * 8),
      })
    );
    const dense = k.denseWeight(numbers(size), rows, columns);
    const [w, high, low] = [
      k.upload(bytes(size / 8)),
      k.upload(bytes(size / 2)),
      k.upload(bytes(size / 4)),
    ];
    const scales = k.upload(numbers(rows));
    return TOKENS.flatMap((tokens) => {
      const x = k.upload(numbers(tokens * columns));
      const y = k.alloc("f32", tokens * rows);
      const [x8, y32] = [k.upload(bytes(tokens * columns)), k.alloc("i32", tokens * rows)];
      const signs = k.upload(bytes(tokens * columns / 8));
      const make = (name: string, run: () => void): Case => ({
        ...{ case: name, shape: `${tokens}x${rows}x${columns}`, threads: k.threads },
        ...{ unit: "GFLOP/s", amount: 2e-9 * tokens * size, run },
      });
      const shape = { tokens, rows, columns };
      return [
        make("dense f32", () => k.linear({ x, y, tokens, weight: dense })),
        ...planes.map((weight, i) =>
          make(`planes ${i + 1} x f32`, () => k.linearPlanes({ x, y, tokens, weight }))
        ),
        ...[0, 2].map((i) => {
          const factors = Int32Array.from({ length: i + 1 }, (_, bit) => 1 << bit);
          const args = { x: x8, y: y32, tokens, weight: planes[i], factors, offset: -(1 << i) };
          return make(`planes ${i + 1} x int8`, () => k.linearPlanesInt(args));
        }),
        make("binary x binary", () => k.linearBinary({ x: signs, w, y, ...shape })),
        make("fp6 4 + 2", () => k.linearFp6({ x, y, ...shape, format: "e3m2", high, low, scales })),
        ...books.map((weight, i) =>
          make(`codebook ${i + 1} x 8 bits`, () => k.linearCodebook({ x, y, tokens, weight }))
        ),
      ];
    });
  });
}

function conversions(k: Kernels): Case[] {
  const size = 1 << 20;
  return CONVERSIONS.map(({ name, from, to, take, give }): Case => {
    const [input, output] = [size / give * take, size];
    const x = from === "f32" ? k.upload(numbers(input)) : k.upload(bytes(input));
    const y = k.alloc(to, output);
    return {
      ...{ case: name, shape: `${size}`, threads: k.threads, unit: "MB/s", amount: 4e-6 * size },
      run: () => k.convert({ name, x, y }),
    };
  });
}

function transforms(k: Kernels): Case[] {
  return [576, 1536, 4096, 11008].map((columns): Case => {
    const x = k.upload(numbers(64 * columns));
    return {
      ...{ case: "hadamard", shape: `64x${columns}`, threads: k.threads },
      ...{
        unit: "MB/s",
        amount: 4e-6 * 64 * columns,
        run: () => k.hadamard({ x, rows: 64, columns }),
      },
    };
  });
}

/** Attention of one token over a past of 1000. */
function caches(k: Kernels): Case[] {
  const [kvHeads, headSize, heads, length] = [3, 64, 9, 1000];
  const width = kvHeads * headSize;
  const [keys, values] = [k.upload(numbers(length * width)), k.upload(numbers(length * width))];
  const [q, y] = [k.upload(numbers(heads * headSize)), k.alloc("f32", heads * headSize)];
  const make = (name: string, run: () => void): Case => ({
    ...{ case: name, shape: `${heads}/${kvHeads}x${headSize}, past ${length}`, threads: k.threads },
    ...{ unit: "GFLOP/s", amount: 4e-9 * heads * length * headSize, run },
  });
  const scale = 1 / Math.sqrt(headSize);
  const shape = { heads, kvHeads, headSize, scale, tokens: 1 };
  return [
    make(
      "attention f32",
      () => k.attention({ q, k: keys, v: values, y, past: length - 1, ...shape }),
    ),
    ...([8, 4, 2] as const).map((bits) => {
      const cache = k.quantizedCache({
        ...{ capacity: length, kvHeads, headSize },
        keys: { bits, by: "channel", group: 32 },
        values: { bits, by: "token", group: 32 },
      });
      k.cacheAppend({ cache, k: keys, v: values, tokens: length });
      return make(`attention int${bits}`, () => k.attentionCached({ cache, q, y, ...shape }));
    }),
  ];
}

function algebra(k: Kernels): Case[] {
  const n = 256;
  const g = numbers(n * n);
  const h = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) {
      h[i * n + j] = i === j ? n : 0;
      for (let p = 0; p < n; p++) h[i * n + j] += g[i * n + p] * g[j * n + p];
    }
  }
  const [a, values, vectors] = [k.alloc("f64", n * n), k.alloc("f64", n), k.alloc("f64", n * n)];
  const make = (name: string, run: () => void): Case => ({
    ...{ case: name, shape: `${n}x${n}`, threads: k.threads, unit: "calls/s", amount: 1 },
    run: () => {
      a.array.set(h);
      run();
    },
  });
  return [
    make("cholesky", () => k.cholesky({ a, n })),
    make("eigenvectors", () => k.symmetricEigen({ a, n, values, vectors })),
    make("svd", () => k.svd({ a, rows: n, columns: n, s: values, u: vectors, v: vectors })),
    make("qr", () => k.qr({ a, rows: n, columns: n, r: vectors })),
  ];
}

for (const threads of [1, 2]) {
  const k = await loadKernels({ threads });
  measure([...conversions(k), ...transforms(k), ...caches(k), ...products(k), ...algebra(k)]);
  k.close();
}
