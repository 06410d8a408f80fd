/** Properties of vector formats. */

import { assert, assertEquals, assertLessOrEqual, assertThrows } from "@std/assert";
import fc from "fast-check";
import { seededRng } from "../../engine/rng.ts";
import {
  type LookupFormat,
  LowbitError,
  type VectorFormat,
  vectorFormatSchema,
  vectorShape,
  type VectorTensor,
} from "../../spec/mod.ts";
import { resolveVectorFormat, vectorFormat, vectorFormats } from "../lookup.ts";
import { checkVectorFormat } from "./check.ts";
import { vectorCodec } from "./codec.ts";
import { decodePoint, GridCoder, nearestPoint, pointSet } from "./grid.ts";
import { kMeans } from "./kmeans.ts";
import { nearestEntries, squaredDistance } from "./nearest.ts";
import { additiveCodes } from "./tables.ts";
import { viterbi } from "./viterbi.ts";

function normal(label: string, count: number): Float32Array {
  const rng = seededRng(label);
  return Float32Array.from({ length: count }, () => rng.normal());
}

function error(a: Float32Array, b: Float32Array): number {
  return a.reduce((sum, value, i) => sum + (value - b[i]) ** 2, 0);
}

function parse(document: Record<string, unknown>): VectorFormat {
  return resolveVectorFormat(vectorFormatSchema.parse({ id: "x", summary: "x", ...document }));
}

const UNIT = { granularity: { kind: "tensor" }, statistic: "rms" };

/** Formats of the catalog that encode a small matrix quickly. */
const QUICK = vectorFormats.ids().filter((id) => {
  const format = vectorFormat(id);
  return !(format.family === "trellis" && format.state > 12) &&
    !(format.family === "lookup" && format.bits > 12);
});

Deno.test("every format of the catalog passes its own checks", () => {
  for (const id of vectorFormats.ids()) {
    for (const { name, ok, detail } of checkVectorFormat(vectorFormat(id))) {
      assert(ok, `${id}: ${name}: ${detail}`);
    }
  }
});

Deno.test("every quick format: shapes, finite values, no more error than zeros, inputs untouched", () => {
  const x = normal("all", 32 * 256);
  for (const id of QUICK) {
    const codec = vectorCodec(vectorFormat(id));
    const before = x.slice();
    const tensor = codec.encode(x, 32, 256);
    const back = codec.decode(tensor); // checks the shapes
    assertEquals(x, before);
    assert(back.every(Number.isFinite), id);
    assertLessOrEqual(error(x, back), 0.2 * error(x, new Float32Array(x.length)), id);
    assertEquals(codec.encode(x, 32, 256), tensor, `${id} repeats`);
    const zeros = codec.decode(codec.encode(new Float32Array(32 * 256), 32, 256));
    assert(zeros.every(Number.isFinite), `${id} of zeros`);
  }
});

Deno.test("fixed tables: decode(encode(decode(c))) = decode(c) under the scale of the tensor", () => {
  const rng = seededRng("codes");
  for (const id of ["ovp4", "ovp4_larger", "ovp4_flint", "ovp8", "e8p", "d4_k256"]) {
    const format = vectorFormat(id) as VectorFormat & { family: "pair" | "grid" };
    // Of absmax with the largest value of all, the scale is 1 again.
    const scale = { ...format.scale, statistic: "absmax" as const, factors: [1] };
    const codec = vectorCodec({ ...format, scale });
    const shape = codec.shape(1, 512);
    const codes = Uint32Array.from(
      { length: shape.codeColumns },
      () => Math.floor(rng.uniform() * 2 ** shape.codeBits),
    );
    const tensor: VectorTensor = {
      kind: "vector",
      shape: [1, 512],
      format: codec.format,
      codes,
      scales: Float32Array.of(1),
    };
    const values = codec.decode(tensor);
    const largest = values.reduce((max, v) => Math.max(max, Math.abs(v)), 0);
    const again = vectorCodec({ ...format, scale: { ...scale, factors: [1 / largest] } });
    assertEquals(again.decode(again.encode(values, 1, 512)), values, id);
  }
});

Deno.test("grids: no other code is nearer, with all kinds of signs", () => {
  const magnitudes = [[0, 1, 2], [1, 1, 1], [3, 0.5, 0.25], [2, 2, 1.5]];
  for (const [signs, bits] of [["none", 2], ["parity", 4], ["free", 5]] as const) {
    const format = parse({
      family: "grid",
      dimension: 3,
      bits,
      points: { kind: "vectors", values: magnitudes, signs },
      scale: UNIT,
    });
    if (format.family !== "grid") throw new Error();
    const set = pointSet(format);
    fc.assert(fc.property(
      fc.array(fc.float({ min: -4, max: 4, noNaN: true }), { minLength: 3, maxLength: 3 }),
      (numbers) => {
        const x = Float32Array.from(numbers);
        const points = new Float32Array(3 * 2 ** bits);
        for (let code = 0; code < 2 ** bits; code++) decodePoint(set, code, points, 3 * code);
        const { distances } = nearestEntries(x, points, 3);
        const code = nearestPoint(set, x, 0);
        assertEquals(squaredDistance(x, 0, points, 3 * code, 3), distances[0]);
      },
    ));
  }
});

Deno.test("grids: a product of a number format is the cast of each element", () => {
  const format = parse({
    family: "grid",
    dimension: 2,
    bits: 8,
    points: { kind: "product", element: "nf4" },
    scale: UNIT,
  });
  if (format.family !== "grid") throw new Error();
  const x = normal("product", 64);
  const shape = vectorShape(format, 1, 64);
  const coder = new GridCoder(format);
  const values = coder.decode(coder.encode(x, shape, {}), shape);
  const table = parse({
    family: "grid",
    dimension: 1,
    bits: 4,
    points: { kind: "product", element: "nf4" },
    scale: UNIT,
  });
  if (table.family !== "grid") throw new Error();
  const single = new GridCoder(table), one = vectorShape(table, 1, 64);
  assertEquals(values, single.decode(single.encode(x, one, {}), one));
});

Deno.test("nearest entries: a guess changes nothing, the first of equal entries wins", () => {
  const table = Float32Array.of(1, 0, 1, 0, 0, 1, 1, 0);
  const points = normal("guess", 40);
  const plain = nearestEntries(points, table, 2);
  for (const start of [0, 1, 2, 3]) {
    const guess = new Uint32Array(20).fill(start);
    assertEquals(nearestEntries(points, table, 2, undefined, guess), plain);
  }
  assert(plain.indices.every((index) => index === 0 || index === 2));
});

Deno.test("nearest entries: the tree of large tables finds what trying all finds", () => {
  for (const [dimension, entries] of [[1, 300], [3, 1000], [8, 2048]]) {
    const table = normal(`table ${dimension}`, entries * dimension);
    // Equal entries, so that the first must win.
    table.copyWithin(50 * dimension, 0, 20 * dimension);
    const points = normal(`points ${dimension}`, 70 * dimension);
    points.set(table.subarray(0, 10 * dimension));
    const weights = normal(`weights ${dimension}`, points.length).map((w) => w * w);
    for (const weight of [undefined, weights]) {
      const { indices, distances } = nearestEntries(points, table, dimension, weight);
      indices.forEach((index, i) => {
        const all = Array.from(
          { length: entries },
          (_, entry) =>
            squaredDistance(points, i * dimension, table, entry * dimension, dimension, weight),
        );
        const least = Math.min(...all);
        assertEquals([index, distances[i]], [all.indexOf(least), least]);
      });
    }
  }
});

Deno.test("k-means: errors never rise, weights matter, few points are held exactly", () => {
  const points = normal("kmeans", 600);
  const weights = normal("weights", 600).map((w) => w * w);
  for (const weight of [undefined, weights]) {
    const { errors } = kMeans({
      points,
      dimension: 2,
      entries: 16,
      weights: weight,
      iterations: 60,
    });
    errors.forEach((e, i) => assert(i === 0 || e <= errors[i - 1] * (1 + 1e-12), `round ${i}`));
  }
  const heavy = Float32Array.of(0, 1, 9), weight = Float32Array.of(1, 3, 1);
  const { table } = kMeans({ points: heavy, dimension: 1, entries: 2, weights: weight });
  assertEquals([...table].sort((a, b) => a - b), [0.75, 9]);
  const few = kMeans({ points: Float32Array.of(5, -2), dimension: 1, entries: 4 });
  assertEquals(nearestEntries(Float32Array.of(5, -2), few.table, 1).distances, new Float64Array(2));
});

Deno.test("learned tables: weights lower the weighted error", () => {
  const x = normal("weighted", 8 * 64);
  const weights = Float32Array.from({ length: 64 }, (_, column) => column < 8 ? 100 : 1);
  const codec = vectorCodec(
    parse({ family: "lookup", dimension: 2, bits: 4, share: { kind: "tensor" } }),
  );
  const weighted = (y: Float32Array) =>
    x.reduce((sum, value, i) => sum + weights[i % 64] * (value - y[i]) ** 2, 0);
  const plain = codec.decode(codec.encode(x, 8, 64));
  const careful = codec.decode(codec.encode(x, 8, 64, { weights }));
  assert(weighted(careful) < weighted(plain));
});

Deno.test("additive codes: one codebook is vector quantisation; more beam is no worse", () => {
  const points = normal("additive", 200 * 4);
  const tables = normal("tables", 3 * 16 * 4);
  const one = { points, tables: tables.slice(0, 64), dimension: 4, codebooks: 1 };
  assertEquals(additiveCodes(one), nearestEntries(points, one.tables, 4).indices);
  const total = (codes: Uint32Array) => {
    let sum = 0;
    for (let i = 0; i < 200; i++) {
      for (let j = 0; j < 4; j++) {
        const parts = [0, 1, 2].map((m) => tables[m * 64 + codes[3 * i + m] * 4 + j]);
        sum += (points[4 * i + j] - parts[0] - parts[1] - parts[2]) ** 2;
      }
    }
    return sum;
  };
  const three = { points, tables, dimension: 4, codebooks: 3 };
  const [greedy, beam, all] = [1, 8, 256].map((beam) => total(additiveCodes({ ...three, beam })));
  assert(beam < greedy);
  assertLessOrEqual(all, beam); // 256 keeps every partial sum of two codebooks
});

Deno.test("additive formats with one codebook give what vector quantisation gives", () => {
  const base = { family: "lookup", dimension: 4, bits: 5, share: { kind: "tensor" } };
  const x = normal("same", 16 * 64);
  const [a, b] = [parse(base), parse({ ...base, codebooks: 1 })].map((format) =>
    vectorCodec(format).encode(x, 16, 64)
  );
  assertEquals([a.codes, a.tables], [b.codes, b.tables]);
  const two = vectorCodec(parse({ ...base, codebooks: 2 }));
  const one = vectorCodec(parse(base));
  assert(error(x, two.decode(two.encode(x, 16, 64))) < error(x, one.decode(one.encode(x, 16, 64))));
});

Deno.test("look-up tables of dimension 1 read like the scalar codebook that they hold", () => {
  const format = vectorFormat("lut4_channel") as LookupFormat;
  const nf4 = parse({
    family: "grid",
    dimension: 1,
    bits: 4,
    points: { kind: "product", element: "nf4" },
    scale: UNIT,
  });
  if (nf4.family !== "grid") throw new Error();
  const values = Float32Array.from(pointSet(nf4).patterns);
  const x = normal("lut", 64).map((v) => v / 3);
  const codes = nearestEntries(x, values, 1).indices;
  const tables = Float32Array.from([...values, ...values]);
  const shape: [number, number] = [2, 32];
  const back = vectorCodec({ ...format, entries: "float32" })
    .decode({ kind: "vector", shape, format, codes, tables });
  const coder = new GridCoder(nf4), one = vectorShape(nf4, 2, 32);
  assertEquals(back, coder.decode(coder.encode(x, one, {}), one));
});

Deno.test("viterbi is never worse than going step by step", () => {
  const values = normal("trellis", 64);
  for (let n = 0; n < 20; n++) {
    const sequence = normal(`sequence ${n}`, 40);
    const { error, codes, states } = viterbi({ sequence, values, state: 6, step: 2, start: 0 });
    let [state, greedy, own] = [0, 0, 0];
    sequence.forEach((x, t) => {
      const tried = [0, 1, 2, 3].map((code) => ((state << 2) | code) & 63);
      state = tried.reduce((a, b) => (x - values[b]) ** 2 < (x - values[a]) ** 2 ? b : a);
      greedy += (x - values[state]) ** 2;
      own += (x - values[states[t]]) ** 2;
      assertEquals(states[t], (((t > 0 ? states[t - 1] : 0) << 2) | codes[t]) & 63);
    });
    assertLessOrEqual(error, greedy);
    assertLessOrEqual(Math.abs(error - own), 1e-9);
  }
});

Deno.test("trellises: tail-biting and zero start both gain on scalar formats of 2 bits", () => {
  const x = normal("qtip", 32 * 64);
  for (const start of ["zero", "tail_biting"]) {
    const format = parse({
      family: "trellis",
      state: 8,
      bits: 2,
      tile: { rows: 4, columns: 64 },
      start,
      code: { kind: "1mad" },
      scale: UNIT,
    });
    const codec = vectorCodec(format);
    const back = codec.decode(codec.encode(x, 32, 64));
    // 0.1175 is the error of the best scalar table (Lloyd 1957, Max 1960).
    assert(error(x, back) / error(x, new Float32Array(x.length)) < 0.1, start);
  }
});

Deno.test("binary coding: alternating is never worse than greedy", () => {
  const x = normal("bcq", 4 * 256);
  const codec = (alternations: number) =>
    vectorCodec(
      parse({
        family: "binary_coding",
        planes: 3,
        share: { kind: "group", size: 100 },
        alternations,
      }),
    );
  const [greedy, better] = [0, 10].map((n) =>
    error(x, codec(n).decode(codec(n).encode(x, 4, 256)))
  );
  assert(better < greedy);
});

Deno.test("scales: more factors are never worse, tile by tile", () => {
  const x = normal("factors", 8 * 64).map((v, i) => v * (1 + Math.floor(i / 64)));
  const of = (factors: number[]) => {
    const base = vectorFormat("e8p") as VectorFormat & { family: "grid" };
    const codec = vectorCodec({ ...base, scale: { ...base.scale, factors } });
    return codec.decode(codec.encode(x, 8, 64));
  };
  const [one, two, both] = [of([0.6]), of([1.4]), of([0.6, 1.4])];
  for (let row = 0; row < 8; row++) {
    const cut = (y: Float32Array) => y.subarray(64 * row, 64 * row + 64);
    const own = error(cut(x), cut(both));
    assertEquals(own, Math.min(error(cut(x), cut(one)), error(cut(x), cut(two))));
  }
});

Deno.test("given tables and scales are used: slices of a matrix get the codes of the whole", () => {
  const x = normal("given", 16 * 64);
  const cut = (from: number, columns: number) =>
    Float32Array.from(
      { length: 16 * columns },
      (_, i) => x[Math.floor(i / columns) * 64 + from + i % columns],
    );
  for (const id of ["aqlm_2x8", "lut3_channel", "bcq3_g128", "e8p", "ovp4"]) {
    const codec = vectorCodec(vectorFormat(id));
    const { codes, tables, scales } = codec.encode(x, 16, 64);
    const slice = codec.encode(cut(16, 8), 16, 8, { tables, scales });
    const across = codes.length / 16, own = slice.codes.length / 16;
    for (let row = 0; row < 16; row++) {
      const from = row * across + across / 4;
      const expected = codes.slice(from, from + own);
      assertEquals(slice.codes.slice(row * own, (row + 1) * own), expected, id);
    }
    assertEquals([slice.tables, slice.scales], [tables, scales]);
  }
  const codec = vectorCodec(vectorFormat("e8p"));
  assertThrows(
    () => codec.encode(cut(0, 8), 16, 8, { scales: Float32Array.of(1) }),
    LowbitError,
    "has 1 scales, expected 16",
  );
  assertThrows(() => codec.encode(x, 16, 8), LowbitError, "has 1024 elements, but 16 x 8");
});

Deno.test("matrices that vectors do not divide, and damaged tensors, are refused", () => {
  const codec = vectorCodec(vectorFormat("e8p"));
  assertThrows(() => codec.encode(new Float32Array(12), 1, 12), LowbitError, "12 columns are not");
  const tensor = codec.encode(normal("damaged", 64), 4, 16);
  const wrong = (change: Partial<VectorTensor>, problem: string) =>
    assertThrows(() => codec.decode({ ...tensor, ...change }), LowbitError, problem);
  wrong({ codes: tensor.codes.slice(1) }, "has 7 codes, expected 8");
  wrong({ codes: tensor.codes.map(() => 65536) }, "has a code beyond 16 bits");
  wrong({ scales: undefined }, "has 0 scales, expected 4");
  wrong({ scales: tensor.scales!.map(() => NaN) }, "not finite");
  wrong({ tables: Float32Array.of(1) }, "has 1 table entries, expected 0");
});
