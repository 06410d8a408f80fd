import { assertEquals, assertThrows } from "@std/assert";
import { LowbitError } from "../spec/mod.ts";
import { scoredWindows } from "./protocol.ts";

const ids = Int32Array.from({ length: 23 }, (_, i) => i);

Deno.test("without overlap a remainder is left out", () => {
  const { windows, from } = scoredWindows(ids, { context: 8 });
  assertEquals(windows.map((w) => [w[0], w.length]), [[0, 8], [8, 8]]);
  assertEquals(from, [1, 1]);
});

Deno.test("with overlap every token but the first is scored once", () => {
  for (const stride of [1, 2, 3, 5, 7]) {
    const { windows, from } = scoredWindows(ids, { context: 8, stride });
    const scored = windows.flatMap((window, i) => [...window.slice(from[i])]);
    assertEquals(scored, [...ids.slice(1)], `stride ${stride}`);
  }
});

Deno.test("the second half is scored, and BOS takes the first place", () => {
  const { windows, from } = scoredWindows(ids, { context: 8, secondHalf: true, bos: 99 });
  assertEquals(windows.map((w) => [w[0], w[1]]), [[99, 1], [99, 9]]);
  // Of 8 tokens llama.cpp scores 8 - 4 - 1 = 3.
  assertEquals(windows.map((w, i) => w.length - from[i]), [3, 3]);
  assertEquals(ids[0], 0, "the text stays as it is");
});

Deno.test("a stride beyond the window is refused", () => {
  assertThrows(() => scoredWindows(ids, { context: 8, stride: 9 }), LowbitError);
});
