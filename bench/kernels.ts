/**
 * Speed of the kernels: `deno run bench/kernels.ts [--json] [--quick]`.
 *
 * Products in GFLOP/s (`2 M N K` a product), encoding and packing in MB of f32 a second. With one
 * thread, time is the CPU time of the process; with two it is wall-clock time. Each figure is the
 * median of repeats that are interleaved over all cases, so that a busy moment of the machine does
 * not fall on one case.
 *
 * @module
 */

import { loadKernels } from "../kernels-wasm/mod.ts";
import { tiling } from "../spec/granularity.ts";
import type { Kernels, LinearWeight } from "../spec/kernels.ts";
import { bytes, type Case, measure, numbers } from "./cases.ts";

const SHAPES = [[576, 576], [1536, 576], [2048, 2048]];
const TOKENS = [1, 8, 128];
/** A packed weight in groups of 64: integers, or a table that is none. */
function packed(k: Kernels, rows: number, columns: number, bits: number, integers: boolean) {
  const t = tiling({ kind: "group", size: 64 }, rows, columns);
  const table = Float32Array.from(
    { length: 1 << bits },
    (_, i) => integers ? i : Math.sinh(i / 40 - 3),
  );
  return k.packedWeight({
    tiling: t,
    bits,
    bytes: bytes(rows * Math.ceil(columns * bits / 8)),
    table,
    scales: numbers(t.gridRows * t.gridColumns),
    zeros: integers
      ? new Float32Array(t.gridRows * t.gridColumns).fill(1 << (bits - 1))
      : undefined,
  });
}

function linearCases(k: Kernels): Case[] {
  return SHAPES.flatMap(([rows, columns]) => {
    const weights: [string, LinearWeight][] = [
      ["f32", k.denseWeight(numbers(rows * columns), rows, columns)],
      ...[2, 3, 4, 8].map((bits): [string, LinearWeight] => [
        `int${bits}`,
        packed(k, rows, columns, bits, true),
      ]),
      ["table4", packed(k, rows, columns, 4, false)],
      ["table8", packed(k, rows, columns, 8, false)],
    ];
    return TOKENS.flatMap((tokens) => {
      const x = k.upload(numbers(tokens * columns));
      const y = k.alloc("f32", tokens * rows);
      return weights.map(([name, weight]): Case => ({
        case: `linear ${name}`,
        shape: `${tokens}x${rows}x${columns}`,
        threads: k.threads,
        unit: "GFLOP/s",
        amount: 2e-9 * tokens * rows * columns,
        run: () => k.linear({ x, y, tokens, weight }),
      }));
    });
  });
}

/** Nearest value of a sign, exponent and mantissa format, as a step function. */
function steps(exponentBits: number, mantissaBits: number) {
  const bias = (1 << (exponentBits - 1)) - 1;
  const magnitude = (code: number) => {
    const [exponent, mantissa] = [code >> mantissaBits, code % (1 << mantissaBits)];
    const fraction = mantissa / (1 << mantissaBits) + (exponent ? 1 : 0);
    return fraction * 2 ** (Math.max(exponent, 1) - bias);
  };
  const count = 1 << (exponentBits + mantissaBits);
  const values = Array.from({ length: count }, (_, code) => magnitude(code));
  const ascending = [...values.slice(1).reverse().map((v) => -v), ...values];
  const middles = Float32Array.from(ascending.slice(1), (v, i) => (v + ascending[i]) / 2);
  const keys = Array.from(
    new Uint32Array(middles.buffer),
    (b) => (b >>> 31 ? ~b : b ^ 0x80000000) >>> 0,
  );
  const codes = Uint8Array.from(
    ascending,
    (_, i) => i < count - 1 ? 2 * count - 1 - i : i - count + 1,
  );
  return { kind: "steps" as const, thresholds: Uint32Array.from(keys), codes };
}

function byteCases(k: Kernels): Case[] {
  const [rows, columns] = [1024, 1024];
  const t = tiling({ kind: "group", size: 32 }, rows, columns);
  const tiles = t.gridRows * t.gridColumns;
  const [x, y, codes] = [
    k.upload(numbers(rows * columns)),
    k.alloc("f32", rows * columns),
    k.upload(bytes(rows * columns)),
  ];
  const scales = k.upload(numbers(tiles).map((v) => Math.abs(v) + 0.1));
  const extreme = k.alloc("f32", tiles);
  const table = k.upload(numbers(16));
  const int4 = { kind: "int" as const, min: -8, max: 7, mask: 15 };
  const half = k.alloc("u8", 2 * rows * columns);
  const make = (name: string, run: () => void): Case => ({
    case: name,
    shape: `${rows}x${columns}`,
    threads: k.threads,
    unit: "MB/s",
    amount: 4e-6 * rows * columns,
    run,
  });
  const pack = (bits: number) => {
    const stride = Math.ceil(columns * bits / 8);
    const packedBytes = k.alloc("u8", rows * stride);
    const args = {
      codes,
      bytes: packedBytes,
      bits,
      units: rows,
      unitLength: columns,
      stride,
      start: 0,
      order: "neighbours" as const,
      offset: 0,
    };
    return [
      make(`pack ${bits} bits`, () => k.pack(args)),
      make(`unpack ${bits} bits`, () => k.unpack(args)),
    ];
  };
  const encode = (name: string, encoder: Parameters<Kernels["encode"]>[0]["encoder"]) =>
    make(
      `encode ${name}`,
      () => k.encode({ x, codes, tiling: t, scales, apply: "divide", encoder }),
    );
  return [
    make("range extreme g32", () => k.range({ x, tiling: t, extreme })),
    encode("int4 g32", int4),
    encode("e2m1 steps g32", steps(2, 1)),
    encode("e4m3 steps g32", steps(4, 3)),
    make("decode table4 g32", () => k.decode({ codes, y, tiling: t, table, scales })),
    ...[2, 3, 4, 8].flatMap(pack),
    make("narrow bfloat16", () => k.narrow({ x, bytes: half, to: "bfloat16" })),
  ];
}

for (const threads of [1, 2]) {
  const k = await loadKernels({ threads });
  measure(byteCases(k));
  measure(linearCases(k));
  k.close();
}
