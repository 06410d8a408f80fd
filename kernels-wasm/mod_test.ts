/** The boundary: what is refused, what is freed, what is built, and packed weights in every form. */

import { assert, assertEquals, assertThrows } from "@std/assert";
import { LowbitError } from "../spec/errors.ts";
import { tiling } from "../spec/granularity.ts";
import type { Kernels } from "../spec/kernels.ts";
import { packedArguments } from "./_cases.ts";
import { Random } from "./_random.ts";
import build from "./lib/build.json" with { type: "json" };
import { loadKernels } from "./mod.ts";
import { referenceKernels } from "./reference.ts";

const wasm = await loadKernels();
const reference = referenceKernels();

/** Calls that must be refused, with the argument that is named. */
function refusals(k: Kernels): [field: string, call: () => void][] {
  const f32 = (n: number) => k.alloc("f32", n);
  const f64 = (n: number) => k.alloc("f64", n);
  const u8 = (n: number) => k.alloc("u8", n);
  const t = tiling({ kind: "group", size: 4 }, 2, 8);
  const int = { kind: "int" as const, min: 0, max: 15, mask: 15 };
  const steps = {
    kind: "steps" as const,
    thresholds: Uint32Array.of(5, 3),
    codes: Uint8Array.of(0, 1, 2),
  };
  const encode = { x: f32(16), codes: u8(16), tiling: t, apply: "divide" as const, encoder: int };
  const decode = { codes: u8(16), y: f32(16), tiling: t, table: f32(16) };
  const pack = {
    codes: u8(16),
    bytes: u8(8),
    bits: 4,
    units: 2,
    unitLength: 8,
    stride: 4,
    start: 0,
    order: "neighbours" as const,
    offset: 0,
  };
  const packed = {
    tiling: t,
    bits: 4,
    bytes: new Uint8Array(8),
    table: new Float32Array(16),
    scales: new Float32Array(4),
  };
  const feedback = {
    w: f32(16),
    rows: 2,
    columns: 8,
    start: 0,
    count: 4,
    u: f32(64),
    groupOf: k.alloc("u32", 8),
    scales: f32(2),
    groups: 1,
    apply: "divide" as const,
    encoder: int,
    table: f32(16),
    codes: u8(16),
    errors: f32(8),
  };
  const attention = {
    q: f32(8),
    k: f32(8),
    v: f32(8),
    y: f32(8),
    tokens: 1,
    past: 0,
    heads: 2,
    kvHeads: 2,
    headSize: 4,
    scale: 1,
  };
  const weight = k.denseWeight(new Float32Array(6), 2, 3);
  const [rows, columns] = [2, 8];
  return [
    ["x", () => k.encode({ ...encode, x: f32(15) })],
    // deno-lint-ignore no-explicit-any
    ["x", () => k.encode({ ...encode, x: undefined as any })],
    // deno-lint-ignore no-explicit-any
    ["codes", () => k.encode({ ...encode, codes: f32(16) as any })],
    ["scales", () => k.encode({ ...encode, scales: f32(3) })],
    ["zeros", () => k.encode({ ...encode, zeros: f32(5) })],
    ["tiling.gridColumns", () => k.encode({ ...encode, tiling: { ...t, gridColumns: 3 } })],
    ["tiling.tileRows", () => k.encode({ ...encode, tiling: { ...t, tileRows: 0 } })],
    // deno-lint-ignore no-explicit-any
    ["apply", () => k.encode({ ...encode, apply: "multiply" as any })],
    ["encoder.thresholds", () => k.encode({ ...encode, encoder: steps })],
    [
      "encoder.codes",
      () => k.encode({ ...encode, encoder: { ...steps, codes: new Uint8Array(2) } }),
    ],
    ["encoder.mask", () => k.encode({ ...encode, encoder: { ...int, mask: 256 } })],
    ["zeros", () => k.encode({ ...encode, zeros: f32(4), encoder: steps })],
    ["table", () => k.decode({ ...decode, table: f32(15) })],
    ["y", () => k.decode({ ...decode, y: f32(17) })],
    ["bits", () => k.pack({ ...pack, bits: 9 })],
    ["bits", () => k.pack({ ...pack, bits: 2, order: "halves" })],
    ["unitLength", () => k.pack({ ...pack, order: "halves", unitLength: 7 })],
    ["stride", () => k.pack({ ...pack, stride: 3 })],
    ["bytes", () => k.unpack({ ...pack, bytes: u8(9) })],
    ["offset", () => k.unpack({ ...pack, offset: -1 })],
    ["min", () => k.range({ x: f32(16), tiling: t, min: f32(3) })],
    ["error", () => k.tileError({ x: f32(16), y: f32(16), tiling: t, exponent: 2, error: f64(3) })],
    ["exponent", () => k.power({ x: f32(2), y: f32(2), exponent: NaN })],
    ["bytes", () => k.narrow({ x: f32(3), bytes: u8(5), to: "float16" })],
    // deno-lint-ignore no-explicit-any
    ["from", () => k.widen({ y: f32(3), bytes: u8(6), from: "float32" as any })],
    ["data", () => k.denseWeight(new Float32Array(5), 2, 3)],
    ["rows", () => k.denseWeight(new Float32Array(5), -1, 3)],
    ["bytes", () => k.packedWeight({ ...packed, bytes: new Uint8Array(7) })],
    ["table", () => k.packedWeight({ ...packed, table: new Float32Array(8) })],
    ["scales", () => k.packedWeight({ ...packed, scales: new Float32Array(5) })],
    ["zeros", () => k.packedWeight({ ...packed, zeros: new Float32Array(5) })],
    ["x", () => k.linear({ x: f32(4), y: f32(2), tokens: 1, weight })],
    ["y", () => k.linear({ x: f32(3), y: f32(3), tokens: 1, weight })],
    ["tokens", () => k.linear({ x: f32(3), y: f32(3), tokens: 0.5, weight })],
    ["weight", () => {
      const other = (k === wasm ? reference : wasm).denseWeight(new Float32Array(6), 2, 3);
      k.linear({ x: f32(3), y: f32(2), tokens: 1, weight: other });
    }],
    ["weight", () => {
      const gone = k.denseWeight(new Float32Array(6), 2, 3);
      gone.free();
      k.linear({ x: f32(3), y: f32(2), tokens: 1, weight: gone });
    }],
    ["count", () => {
      const [w, errors, u] = [f32(16), f32(10), f32(64)];
      k.trailingUpdate({ w, rows, columns, start: 4, count: 5, errors, u });
    }],
    ["gram", () => k.gram({ x: f32(16), rows, columns, gram: f64(63) })],
    ["absSum", () => k.columnStats({ x: f32(16), rows, columns, absMax: f32(8), absSum: f64(7) })],
    ["u", () => k.inverseCholesky({ h: f64(4), n: 2, u: f32(3) })],
    ["groupOf", () => {
      k.encodeFeedback({ ...feedback, groupOf: k.upload(Uint32Array.of(1, 0, 0, 0, 0, 0, 0, 0)) });
    }],
    ["errors", () => k.encodeFeedback({ ...feedback, errors: f32(9) })],
    ["weight", () => {
      k.rmsNorm({ x: f32(16), y: f32(16), rows, columns, weight: f32(2), epsilon: 1e-5 });
    }],
    ["headSize", () => {
      k.rope({ x: f32(6), rows: 2, heads: 1, headSize: 3, position: 0, theta: 1e4 });
    }],
    ["theta", () => {
      k.rope({ x: f32(8), rows: 2, heads: 1, headSize: 4, position: 0, theta: 0 });
    }],
    ["kvHeads", () => k.attention({ ...attention, kvHeads: 3 })],
    ["k", () => k.attention({ ...attention, past: 1 })],
    ["y", () => k.siluGate({ gate: f32(2), up: f32(2), y: f32(3) })],
    ["y", () => k.add({ x: f32(2), y: f32(3) })],
    ["factors", () => k.scaleColumns({ x: f32(16), rows, columns, factors: f32(2) })],
    ["x", () => k.logSoftmax({ x: f32(15), rows, columns })],
    ["agree", () => {
      const [p, q, kl] = [f32(16), f32(16), f64(2)];
      k.divergence({ p, q, rows, columns, kl, agree: u8(3) });
    }],
    ["length", () => k.alloc("f32", -1)],
    // deno-lint-ignore no-explicit-any
    ["type", () => k.alloc("f16" as any, 1)],
    // deno-lint-ignore no-explicit-any
    ["data", () => k.upload([1, 2, 3] as any)],
  ];
}

for (const k of [wasm, reference]) {
  Deno.test(`${k.name}: wrong arguments are refused by name`, () => {
    refusals(k).forEach(([field, call], i) => {
      const error = assertThrows(call, LowbitError);
      assertEquals([error.code, error.field], ["SHAPE", field], `case ${i}: ${error.message}`);
    });
  });

  Deno.test(`${k.name}: a freed buffer is refused, and so are its slices`, () => {
    const x = k.upload(Float32Array.of(1, 2, 3, 4));
    const part = x.slice(1, 2);
    assertEquals([...part.array], [2, 3]);
    part.free(); // a slice does not own its memory
    assertEquals([...x.array], [1, 2, 3, 4]);
    x.free();
    x.free();
    const y = k.alloc("f32", 4);
    for (
      const use of [() => x.array, () => part.array, () => x.slice(0, 1), () => k.add({ x, y })]
    ) {
      assertEquals(assertThrows(use, LowbitError).code, "SHAPE");
    }
  });

  Deno.test(`${k.name}: slices stay inside their buffer`, () => {
    using x = k.alloc("f64", 4);
    for (const [start, length] of [[0, 5], [5, 0], [-1, 2], [1, 3.5]]) {
      assertEquals(assertThrows(() => x.slice(start, length), LowbitError).code, "SHAPE");
    }
    assertEquals(x.slice(1, 3).slice(2, 1).length, 1);
  });

  Deno.test(`${k.name}: a matrix that is not positive definite`, () => {
    for (const bad of [[1, 2, 2, 1], [NaN, 0, 0, 1], [1, NaN, NaN, 1], [1, 0, 0, 0]]) {
      using h = k.upload(Float64Array.from(bad));
      using u = k.alloc("f32", 4);
      assertEquals(k.inverseCholesky({ h, n: 2, u }), false);
    }
  });
}

Deno.test("buffers of other kernels are refused", async () => {
  const other = await loadKernels();
  const [x, y] = [other.alloc("f32", 3), wasm.alloc("f32", 3)];
  const [foreign, own] = [reference.alloc("f32", 3), wasm.alloc("f32", 3)];
  assertThrows(() => wasm.add({ x, y }), LowbitError, "belongs to other kernels");
  assertThrows(() => wasm.add({ x: foreign, y: own }), LowbitError, "belongs to other kernels");
});

Deno.test("no room is an error of its own, and nothing is lost", async () => {
  const k = await loadKernels();
  const held = k.memory().bytes;
  for (const length of [2 ** 30, 2 ** 34]) {
    assertEquals(assertThrows(() => k.alloc("f64", length), LowbitError).code, "MEMORY");
  }
  assertEquals(k.memory().bytes, held);
  using x = k.upload(Float32Array.of(1));
  assertEquals(x.array[0], 1);
});

Deno.test("a packed weight gives the bits of its decoded values in a dense weight", () => {
  for (let seed = 0; seed < 160; seed++) {
    const random = new Random(seed);
    const bits = 1 + seed % 8;
    const [rows, columns] = seed < 140
      ? [random.int(1, 40), random.int(1, 40)]
      : [random.int(40, 90), random.int(250, 600)];
    const args = packedArguments({ random, rows, columns }, bits);
    if (seed % 5 === 0 && !args.minimums) args.zeros = args.scales.map((s) => s * 7.3);
    using packed = wasm.packedWeight(args);
    using dense = wasm.denseWeight(decoded(args, rows, columns), rows, columns);
    assert(packed.bytes < dense.bytes || bits > 2 || columns < 300);
    for (const tokens of [1, 2, 6]) {
      using x = wasm.upload(random.floats(tokens * columns));
      using a = wasm.alloc("f32", tokens * rows);
      using b = wasm.alloc("f32", tokens * rows);
      wasm.linear({ x, y: a, tokens, weight: packed });
      wasm.linear({ x, y: b, tokens, weight: dense });
      assertEquals(
        new Uint32Array(a.array.slice().buffer),
        new Uint32Array(b.array.slice().buffer),
      );
    }
  }
});

/** The values of a packed weight, by `unpack` and `decode`. */
function decoded(a: ReturnType<typeof packedArguments>, rows: number, columns: number) {
  const stride = Math.ceil(columns * a.bits / 8);
  using codes = wasm.alloc("u8", rows * columns);
  using bytes = wasm.upload(a.bytes);
  using table = wasm.upload(a.table);
  using scales = wasm.upload(a.scales);
  using zeros = a.zeros ? wasm.upload(a.zeros) : undefined;
  using y = wasm.alloc("f32", rows * columns);
  const order = "neighbours" as const;
  const layout = { units: rows, unitLength: columns, stride, start: 0, order, offset: 0 };
  wasm.unpack({ codes, bytes, bits: a.bits, ...layout });
  wasm.decode({ codes, y, tiling: a.tiling, table, scales, zeros });
  const { tileRows, tileColumns, gridColumns } = a.tiling;
  return y.array.map((value, i) => {
    const [row, column] = [Math.floor(i / columns), i % columns];
    const tile = Math.floor(row / tileRows) * gridColumns + Math.floor(column / tileColumns);
    return a.minimums ? value + a.minimums[tile] : value;
  });
}

Deno.test("a block after another is the same as one block of both", () => {
  const [rows, columns] = [20, 48];
  const random = new Random(7);
  const w = random.floats(rows * columns);
  const u = random.floats(columns * columns, 0.1);
  for (let i = 0; i < columns; i++) u[i * columns + i] = 1;
  const run = (sizes: number[]) => {
    using weights = wasm.upload(w);
    using factor = wasm.upload(u);
    using groupOf = wasm.alloc("u32", columns);
    using scales = wasm.upload(new Float32Array(rows).fill(0.1));
    using table = wasm.upload(Float32Array.from({ length: 16 }, (_, i) => i < 8 ? i : i - 16));
    using codes = wasm.alloc("u8", rows * columns);
    let start = 0;
    for (const count of sizes) {
      using errors = wasm.alloc("f32", rows * count);
      const block = { w: weights, rows, columns, start, count, u: factor, errors };
      wasm.encodeFeedback({
        ...block,
        groupOf,
        scales,
        groups: 1,
        apply: "divide",
        encoder: { kind: "int", min: -8, max: 7, mask: 15 },
        table,
        codes,
      });
      wasm.trailingUpdate(block);
      start += count;
    }
    return codes.array.slice();
  };
  assertEquals(run([48]), run([16, 16, 16]));
  assertEquals(run([48]), run([7, 40, 1]));
});

Deno.test("U^T U is the inverse, also where blocks do not divide n", () => {
  for (const n of [1, 2, 63, 64, 65, 130, 200]) {
    const random = new Random(n);
    using x = wasm.upload(random.floats(3 * n * n));
    using h = wasm.alloc("f64", n * n);
    wasm.gram({ x, rows: 3 * n, columns: n, gram: h });
    const original = h.array.slice();
    using u = wasm.alloc("f32", n * n);
    assert(wasm.inverseCholesky({ h, n, u }));
    const factor = u.array.slice();
    for (let check = 0; check < 5; check++) {
      const [i, j] = [random.int(0, n - 1), random.int(0, n - 1)];
      let sum = 0; // (U^T U H)[i, j]
      for (let p = 0; p <= i; p++) {
        let product = 0;
        for (let c = p; c < n; c++) product += factor[p * n + c] * original[c * n + j];
        sum += factor[p * n + i] * product;
      }
      assert(Math.abs(sum - (i === j ? 1 : 0)) < 1e-4, `n ${n}: [${i}, ${j}] is ${sum}`);
    }
  }
});

const readable = (await Deno.permissions.query({ name: "read" })).state === "granted";

Deno.test({
  name: "lib/ was built from the sources (needs --allow-read)",
  ignore: !readable,
  async fn() {
    const { sourceHash } = await import("../tools/build_kernels.ts");
    assertEquals(build.sources, await sourceHash(), "run `deno task build:kernels`");
  },
});

Deno.test("lib/ holds the modules that its record names", async () => {
  for (const name of ["simd128", "relaxed"] as const) {
    const { default: base64 } = name === "relaxed"
      ? await import("./lib/relaxed_wasm.js")
      : await import("./lib/simd128_wasm.js");
    const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
    const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
    assertEquals({ bytes: bytes.length, sha256: hash }, build.modules[name]);
  }
});

Deno.test("without shared memory the calling thread works alone", async () => {
  const shared = globalThis.SharedArrayBuffer;
  try {
    Reflect.deleteProperty(globalThis, "SharedArrayBuffer");
    const k = await loadKernels({ threads: 4 });
    assertEquals(k.threads, 1);
    k.close();
  } finally {
    globalThis.SharedArrayBuffer = shared;
  }
});

Deno.test("nothing to do is done", () => {
  for (const k of [wasm, reference]) {
    const none = k.alloc("f32", 0);
    using weight = k.denseWeight(new Float32Array(6), 2, 3);
    k.linear({ x: none, y: none, tokens: 0, weight });
    k.add({ x: none, y: none });
    const heads = { heads: 2, kvHeads: 1, headSize: 4, scale: 1 };
    k.attention({ q: none, k: none, v: none, y: none, tokens: 0, past: 0, ...heads });
    assert(k.inverseCholesky({ h: k.alloc("f64", 0), n: 0, u: none }));
  }
});
