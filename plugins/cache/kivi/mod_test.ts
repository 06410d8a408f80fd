import { assert, assertEquals, assertLess, assertLessOrEqual, assertThrows } from "@std/assert";
import { openBench } from "../../../tests/bench.ts";
import { testContext } from "../../_math/testing.ts";
import { kivi } from "./mod.ts";
import { QuantizedRows } from "./rows.ts";

const bench = await openBench();
const WIDTH = 64;

function open(options: Record<string, unknown> = {}, headSize = 32) {
  const { context } = testContext(bench, kivi, options);
  return kivi.cache!({ context, block: 0, kvHeads: WIDTH / headSize, headSize });
}

const normal = (label: string, count: number) => {
  const rng = bench.rng(label);
  return Float32Array.from({ length: count }, () => rng.normal());
};

function error(a: Float32Array, b: Float32Array): number {
  return a.reduce((sum, value, i) => sum + (value - b[i]) ** 2, 0) / a.length;
}

/** Keys with a few channels that are much larger than the others, as models have them. */
function outlierKeys(tokens: number): Float32Array {
  return normal("keys", tokens * WIDTH).map((x, i) => i % WIDTH % 16 === 3 ? 10 + x : x);
}

Deno.test("kivi: a window as long as the text is exact, bit for bit", () => {
  const [keys, values] = [normal("k", 100 * WIDTH), normal("v", 100 * WIDTH)];
  const cache = open({ residual: 128 });
  cache.append(keys, values, 100);
  assertEquals(cache.read(), { keys, values, length: 100 });
  assertEquals(cache.bytes, 2 * 4 * 100 * WIDTH);
});

Deno.test("kivi: keys turn to codes by whole windows, values one token at a time", () => {
  const tokens = 300;
  const [keys, values] = [normal("k", tokens * WIDTH), normal("v", tokens * WIDTH)];
  const cache = open();
  cache.append(keys, values, tokens);
  const read = cache.read();
  const exact = (a: Float32Array, b: Float32Array) =>
    Array.from({ length: tokens }, (_, t) => {
      const row = (x: Float32Array) => x.subarray(t * WIDTH, (t + 1) * WIDTH);
      return row(a).every((value, i) => value === row(b)[i]);
    });
  // 300 = 2 windows of 128 keys, and 44; values older than 128 tokens are codes.
  assertEquals(exact(keys, read.keys).indexOf(true), 256);
  assertEquals(exact(values, read.values).indexOf(true), tokens - 128);
  // Codes of 2 bits with a float16 scale and minimum for 32 of them: 3 bits.
  const bits = 3 * WIDTH * (256 + tokens - 128) + 32 * WIDTH * (44 + 128);
  assertEquals(cache.bytes, bits / 8);
});

Deno.test("kivi: codes are those of the equations", () => {
  const rows = new QuantizedRows(2, { bits: 2, tokens: 4, channels: 1, headSize: 2 });
  rows.append(Float32Array.of(0, 5, 1, 5, 2, 5, 6, 5), 4);
  // Channel 0: s = 2, z = 0; 1 / 2 is halfway and goes to the even code. Channel 1 is constant.
  assertEquals([...rows.read()], [0, 5, 0, 5, 2, 5, 6, 5]);
  const bounds = new QuantizedRows(WIDTH, { bits: 4, tokens: 1, channels: 32, headSize: 32 });
  const x = normal("x", WIDTH);
  bounds.append(x, 1);
  const range = Math.max(...x) - Math.min(...x);
  bounds.read().forEach((value, i) => assertLessOrEqual(Math.abs(value - x[i]), range / 15 * 0.51));
});

Deno.test("kivi: as the kernels' cache where that can hold the same scales", () => {
  const { kernels } = bench;
  // Steps of 1/4 from 0 to 3/4 in every group: scale and minimum are the same in float16 and f32.
  const x = normal("same", 64 * WIDTH).map((_, i) => ((i * 7 + (i >> 6)) % 4) / 4);
  for (const by of ["channel", "token"] as const) {
    using cache = kernels.quantizedCache({
      capacity: 64,
      kvHeads: 2,
      headSize: 32,
      keys: { bits: 2, by, group: 32 },
      values: { bits: 2, by: "token", group: 32 },
    });
    using input = kernels.upload(x);
    kernels.cacheAppend({ cache, k: input, v: input, tokens: 64 });
    using k = kernels.alloc("f32", x.length);
    using v = kernels.alloc("f32", x.length);
    kernels.cacheRead({ cache, k, v });
    const own = open({ residual: 0, keys: by });
    own.append(x, x, 64);
    assertEquals([own.read().keys, own.read().values], [k.array.slice(), v.array.slice()]);
  }
});

Deno.test("kivi: keys with outlier channels have less error by channel than by token", () => {
  const tokens = 256;
  const keys = outlierKeys(tokens);
  const of = (by: string) => {
    const cache = open({ residual: 0, keys: by });
    cache.append(keys, keys, tokens);
    return error(keys, cache.read().keys);
  };
  assertLess(of("channel"), 0.5 * of("token"));
});

Deno.test("kivi: more bits, less error; 8 bits are near the identity", () => {
  const x = normal("bits", 128 * WIDTH);
  const errors = [2, 4, 8].map((bits) => {
    const cache = open({ bits, residual: 0 });
    cache.append(x, x, 128);
    return error(x, cache.read().keys);
  });
  assert(errors[0] > errors[1] && errors[1] > errors[2] && errors[2] < 1e-4, String(errors));
});

Deno.test("kivi: zeros, constants, subnormal numbers, outliers; NaN is refused", () => {
  for (const fill of [0, -3, 2 ** -140]) {
    const x = new Float32Array(64 * WIDTH).fill(fill);
    const cache = open({ residual: 0 });
    cache.append(x, x, 64);
    const expected = Math.fround(new Float16Array([fill])[0]);
    assert(cache.read().keys.every((value) => value === expected), String(fill));
  }
  const x = normal("outlier", 64 * WIDTH);
  x[5] = 1000;
  const cache = open({ residual: 0 });
  cache.append(x, x, 64);
  assertLessOrEqual(Math.abs(cache.read().keys[5] - 1000), 1);
  for (const wrong of [NaN, Infinity, 1e30]) {
    x[5] = wrong;
    assertThrows(() => open({ residual: 0 }).append(x, x, 64), Error, "float16");
  }
});

Deno.test("kivi: a group that is cut reads as before; windows are whole groups", () => {
  const x = normal("cut", 200 * WIDTH);
  const cache = open({ residual: 64 });
  cache.append(x, x, 200);
  const before = cache.read().keys.slice(0, 70 * WIDTH);
  cache.truncate(70);
  assertEquals(cache.read().keys, before);
  assertEquals(cache.read().length, 70);
  assertThrows(() => open({ residual: 100 }), Error, "no whole groups of 32");
});
