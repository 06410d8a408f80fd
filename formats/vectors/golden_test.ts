/** Vector formats against other implementations; see tools/golden/vectors.py. */

import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { openGolden } from "../../tests/golden.ts";
import type { LookupFormat, PairFormat, TrellisFormat } from "../../spec/mod.ts";
import { vectorShape } from "../../spec/mod.ts";
import { vectorFormat } from "../lookup.ts";
import { BinaryCoder } from "./binary_coding.ts";
import { vectorCodec } from "./codec.ts";
import { decodePoint, nearestPoint, pointSet } from "./grid.ts";
import { kMeans } from "./kmeans.ts";
import { PairCoder } from "./pair.ts";
import { stateValues, TrellisCoder } from "./trellis.ts";
import { tailBiting, viterbi } from "./viterbi.ts";

const golden = await openGolden("vectors/vectors.safetensors");
const expected = JSON.parse(
  await Deno.readTextFile(new URL("../../tests/golden/vectors/expected.json", import.meta.url)),
);

function grid(id: string) {
  const format = vectorFormat(id);
  if (format.family !== "grid") throw new Error(id);
  return pointSet(format);
}

for (const id of ["ovp4", "ovp4_larger", "ovp4_flint", "ovp8"]) {
  Deno.test(`${id}: codes and values are those of the paper's rule in numpy`, async () => {
    const format = vectorFormat(id) as PairFormat;
    const coder = new PairCoder(format);
    const x = await golden.f32(`pair.${id}.x`);
    const shape = vectorShape(format, 1, x.length);
    const { codes } = coder.encode(x, shape, {});
    assertEquals([...codes], await golden.codes(`pair.${id}.codes`));
    assertEquals(
      coder.decode({ codes }, shape).map((v) => v + 0),
      (await golden.f32(`pair.${id}.values`)).map((v) => v + 0),
    );
  });
}

Deno.test("ovp4: pairs by hand", () => {
  const pair = (id: string, left: number, right: number) => {
    const format = vectorFormat(id) as PairFormat;
    const coder = new PairCoder(format), shape = vectorShape(format, 1, 2);
    return [...coder.decode(coder.encode(Float32Array.of(left, right), shape, {}), shape)];
  };
  assertEquals(pair("ovp4", 3.4, -7), [3, -7]); // both normal, 7 is no outlier
  assertEquals(pair("ovp4", 6, 7.1), [0, 12]); // the victim is lost
  assertEquals(pair("ovp4", -40, 6), [-32, 0]); // 40 is as near to 32 as to 48: to the even code
  assertEquals(pair("ovp4", 20.5, 90), [24, 0]); // both are outliers: the left one
  assertEquals(pair("ovp4_larger", 20.5, 90), [0, 96]); // the larger one
  assertEquals(pair("ovp4_larger", -90, 90), [-96, 0]); // equal: the left one
  assertEquals(pair("ovp4", 1e9, 0), [96, 0]); // saturates
});

Deno.test("e8p: the published properties", async () => {
  const set = grid("e8p");
  const norms = Array.from({ length: 256 }, (_, i) => {
    const pattern = set.patterns.subarray(8 * i, 8 * i + 8);
    assert(pattern.every((x) => x > 0 && x % 1 === 0.5), "half-integers");
    return pattern.reduce((sum, x) => sum + x * x, 0);
  });
  assertEquals(norms.filter((norm) => norm <= 10).length, 227);
  assertEquals(norms.filter((norm) => norm === 12).length, 29);
  const rows = Array.from({ length: 65536 }, (_, code) => {
    const out = new Float32Array(8);
    decodePoint(set, code, out, 0);
    const unshifted = out.map((x) => x - (code % 2 === 0 ? 0.25 : -0.25));
    assertEquals(Math.abs(unshifted.reduce((a, b) => a + b, 0) % 2), 0, "the sum is even");
    return Int8Array.from(out, (x) => 4 * x);
  });
  const compare = (a: Int8Array, b: Int8Array) => {
    const j = a.findIndex((x, i) => x !== b[i]);
    return j < 0 ? 0 : a[j] - b[j];
  };
  rows.sort(compare);
  assert(rows.every((row, i) => i === 0 || compare(rows[i - 1], row) < 0), "all are distinct");
  const bytes = new Int8Array(rows.length * 8);
  rows.forEach((row, i) => bytes.set(row, 8 * i));
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  const hex = [...hash].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  assertEquals([rows.length, hex], [expected.e8p.points, expected.e8p.sha256]);
});

Deno.test("e8p: the search finds what trying all points finds", async () => {
  const set = grid("e8p");
  const x = await golden.f32("e8p.x");
  const nearest = await golden.f32("e8p.nearest");
  const found = new Float32Array(x.length);
  for (let i = 0; i < x.length; i += 8) decodePoint(set, nearestPoint(set, x, i), found, i);
  assertEquals(found, nearest);
});

Deno.test("d4: the shortest vectors, in order", async () => {
  assertEquals(Float32Array.from(grid("d4_k256").patterns), await golden.f32("d4.points"));
});

for (const id of ["vq_d4_k256", "aqlm_2x8", "lut4_channel", "vq_d2_k16"]) {
  Deno.test(`${id}: decodes as torch indexing does`, async () => {
    const format = vectorFormat(id) as LookupFormat;
    const values = await golden.f32(`torch.${id}.values`);
    const shape = golden.shape(`torch.${id}.values`) as [number, number];
    const scales = format.scale && await golden.f32(`torch.${id}.scales`);
    const decoded = vectorCodec(format).decode({
      kind: "vector",
      shape,
      format,
      codes: Uint32Array.from(await golden.codes(`torch.${id}.codes`)),
      tables: await golden.f32(`torch.${id}.tables`),
      ...(scales && { scales }),
    });
    assertEquals(decoded.map((v) => v + 0), values.map((v) => v + 0));
  });
}

const TRELLIS: Omit<TrellisFormat, "code" | "bits" | "state"> = {
  id: "golden",
  summary: "",
  source: "",
  family: "trellis",
  vector: 1,
  tile: { rows: 1, columns: 256 },
  start: "tail_biting",
  scale: {
    granularity: { kind: "tensor" },
    format: "float32",
    statistic: "rms",
    factors: [1],
  },
};

async function hybTable(): Promise<number[][]> {
  const flat = await golden.f32("trellis.hyb.table");
  return Array.from({ length: 64 }, (_, i) => [flat[2 * i], flat[2 * i + 1]]);
}

Deno.test("trellis: states mean what the arithmetic of the paper says", async () => {
  const states = await golden.codes("trellis.states");
  const check = async (format: TrellisFormat, name: string) => {
    const { vector } = format;
    const values = stateValues(format);
    const some = states.flatMap((s) => [...values.subarray(s * vector, (s + 1) * vector)]);
    assertEquals(some, [...await golden.f32(name)], name);
    return values;
  };
  const mad = await check(
    { ...TRELLIS, state: 16, bits: 2, code: { kind: "1mad" } },
    "trellis.1mad",
  );
  await check({ ...TRELLIS, state: 16, bits: 2, code: { kind: "3inst" } }, "trellis.3inst");
  const code = { kind: "hyb", bits: 6, sign: 0, values: await hybTable() } as const;
  await check({ ...TRELLIS, state: 16, bits: 2, vector: 2, code }, "trellis.hyb");
  const mean = mad.reduce((a, b) => a + b, 0) / mad.length;
  const square = mad.reduce((a, b) => a + (b - mean) ** 2, 0) / mad.length;
  assertAlmostEquals(mean, expected.trellis.mean, 1e-6);
  assertAlmostEquals(Math.sqrt(square), expected.trellis.std, 1e-6);
});

Deno.test("trellis: sequences decode as bits out of one long integer", async () => {
  const hyb = { kind: "hyb", bits: 6, sign: 1, values: await hybTable() } as const;
  const cases: Record<string, TrellisFormat> = {
    biting: { ...TRELLIS, state: 16, bits: 2, code: { kind: "1mad" } },
    zero: { ...TRELLIS, state: 16, bits: 3, start: "zero", code: { kind: "3inst" } },
    pairs: { ...TRELLIS, state: 12, bits: 2, vector: 2, code: hyb },
  };
  for (const [name, format] of Object.entries(cases)) {
    const codes = Uint32Array.from(await golden.codes(`trellis.${name}.codes`));
    const values = new TrellisCoder(format).decode({ codes }, vectorShape(format, 1, 256));
    assertEquals(values, await golden.f32(`trellis.${name}.values`), name);
  }
});

Deno.test("viterbi: the least error of all paths, with a zero start and tail-biting", async () => {
  const values = await golden.f32("viterbi.values");
  const x = await golden.f32("viterbi.x");
  const [zero, biting] = [await golden.f32("viterbi.zero"), await golden.f32("viterbi.biting")];
  let quick = 0;
  for (let i = 0; i < zero.length; i++) {
    const trellis = { sequence: x.slice(12 * i, 12 * i + 12), values, state: 4, step: 1 };
    assertAlmostEquals(viterbi({ ...trellis, start: 0 }).error, zero[i], 1e-5);
    assertAlmostEquals(tailBiting(trellis, true).error, biting[i], 1e-5);
    const approximate = tailBiting(trellis).error;
    assert(approximate >= biting[i] - 1e-5);
    quick += Number(approximate < biting[i] + 1e-5);
  }
  assert(quick >= 10, `the quick way found the best path ${quick} times of 20`);
});

for (const iterations of [1, 5, 40]) {
  Deno.test(`k-means: ${iterations} rounds as scipy does them`, async () => {
    const [points, initial] = [
      await golden.f32(`kmeans.${iterations}.x`),
      await golden.f32(`kmeans.${iterations}.initial`),
    ];
    const { table } = kMeans({ points, dimension: 3, entries: 16, initial, iterations });
    assertEquals(Float32Array.from(table), await golden.f32(`kmeans.${iterations}.entries`));
  });
}

Deno.test("binary coding: greedy alphas and planes as in numpy", async () => {
  const format = vectorFormat("bcq3_g128");
  if (format.family !== "binary_coding") throw new Error();
  const coder = new BinaryCoder({ ...format, alternations: 0 });
  const x = await golden.f32("bcq.x");
  const { codes, tables } = coder.encode(x, vectorShape(format, 8, 128), {});
  assertEquals(tables, await golden.f32("bcq.alphas"));
  assertEquals([...codes], await golden.codes("bcq.codes"));
});
