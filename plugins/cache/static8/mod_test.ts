import { assert, assertEquals, assertThrows } from "@std/assert";
import { openBench } from "../../../tests/bench.ts";
import { LowbitError } from "../../../spec/mod.ts";
import { testContext } from "../../_math/testing.ts";
import { static8 } from "./mod.ts";

const bench = await openBench();
const [KV_HEADS, HEAD] = [2, 4];

function open(element: "float8_e4m3fn" | "int8", keys: number[], values: number[]) {
  const { context } = testContext(bench, static8, {});
  const scales = { element, keys: Float32Array.from(keys), values: Float32Array.from(values) };
  return static8.cache!({ context, block: 0, kvHeads: KV_HEADS, headSize: HEAD, scales });
}

Deno.test("static8: every head has its scale, and what is beyond the range is cut", () => {
  const cache = open("int8", [1, 0.5], [2]);
  const rows = Float32Array.of(1.4, -1.6, 200, -200, 1.4, -1.6, 200, -200);
  cache.append(rows, rows, 1);
  const { keys, values, length } = cache.read();
  assertEquals([...keys], [1, -2, 127, -128, 1.5, -1.5, 63.5, -64]);
  assertEquals([...values], [2, -2, 200, -200, 2, -2, 200, -200]);
  assertEquals([length, cache.bytes], [1, 16 + 4 * 3]);
});

Deno.test("static8: FP8 saturates, and what was cut off comes again as new tokens", () => {
  const cache = open("float8_e4m3fn", [0.5], [1]);
  const first = Float32Array.of(1, 1.06, 1.07, 300, -300, 0, 0.001, 17);
  cache.append(first, first, 1);
  cache.append(first.map((x) => -x), first, 1);
  cache.truncate(1);
  const { keys, values, length } = cache.read();
  // Three bits of mantissa: 1 and 1.125 have nothing between them, 16 and 18 neither.
  assertEquals([...keys.slice(0, 5)], [1, 1, 1.125, 224, -224]);
  assertEquals([...values.slice(0, 5)], [1, 1, 1.125, 288, -288]);
  assert(keys[6] > 0 && values[6] >= 0 && keys[7] === 16);
  assertEquals(length, 1);
});

Deno.test("static8: as many scales as heads, or one", () => {
  assertThrows(() => open("int8", [1, 1, 1], [1]), LowbitError, "has 3 scales for 2 heads");
});
