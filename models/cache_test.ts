import { assertEquals, assertThrows } from "@std/assert";
import { type CachePolicy, LowbitError } from "../spec/mod.ts";
import { kernelsOf } from "./_fixtures.ts";
import { fullMemory, KeyValueCache, policyMemory } from "./cache.ts";

Deno.test("a full memory keeps what it is given while it grows", () => {
  const kernels = kernelsOf();
  const memory = fullMemory(kernels, 2);
  for (let token = 0; token < 100; token++) {
    using keys = kernels.upload(Float32Array.of(token, -token));
    using values = kernels.upload(Float32Array.of(2 * token, 0));
    const past = memory.extend(keys, values, 1);
    assertEquals([past.length, past.keys.length, memory.position], [
      token + 1,
      2 * token + 2,
      token + 1,
    ]);
    for (let i = 0; i <= token; i++) {
      assertEquals([past.keys.array[2 * i], past.values.array[2 * i]], [i, 2 * i]);
    }
    past.release();
  }
  memory.truncate(3);
  assertEquals(memory.position, 3);
  memory.free();
  assertEquals(kernels.memory().bytes, 0);
});

/** Keeps the last `most` tokens. */
function window(most: number): CachePolicy {
  let keys: number[] = [], values: number[] = [];
  return {
    append(k, v) {
      keys = [...keys, ...k].slice(-most);
      values = [...values, ...v].slice(-most);
    },
    read: () => ({
      keys: Float32Array.from(keys),
      values: Float32Array.from(values),
      length: keys.length,
    }),
    truncate(length) {
      keys = keys.slice(0, length);
      values = values.slice(0, length);
    },
    get bytes() {
      return 8 * keys.length;
    },
  };
}

Deno.test("a policy may forget tokens; positions go on", () => {
  const kernels = kernelsOf();
  using cache = new KeyValueCache([policyMemory(kernels, window(3), 1)]);
  using x = kernels.upload(Float32Array.of(1, 2));
  for (const [length, position] of [[2, 2], [3, 4], [3, 6]]) {
    const past = cache.blocks[0].extend(x, x, 2);
    assertEquals([past.length, cache.position], [length, position]);
    past.release();
  }
  assertEquals(cache.bytes, 24);
  assertEquals(kernels.memory().bytes, 8);
});

Deno.test("a policy that loses the new tokens breaks its contract", () => {
  const kernels = kernelsOf();
  using x = kernels.upload(Float32Array.of(1, 2));
  const memory = policyMemory(kernels, window(1), 1);
  const error = assertThrows(() => memory.extend(x, x, 2), LowbitError, "read() gives 1 rows");
  assertEquals(error.code, "PLUGIN");
});
