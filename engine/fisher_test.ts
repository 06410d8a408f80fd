import { assertEquals } from "@std/assert";
import type { ModelGraph } from "../models/architecture.ts";
import { shortWindows } from "./fisher.ts";

/** What the length of a window is decided from, of a model with one linear a block. */
function modelOf(blocks: number, hidden: number, heads: number, vocab: number): ModelGraph {
  const linears = Array.from({ length: blocks }, (_, block) => ({
    block,
    rows: hidden,
    columns: hidden,
  }));
  return { linears, hyperparameters: { blocks, heads, vocab } } as unknown as ModelGraph;
}

Deno.test("windows of a small model stay whole", () => {
  const windows = [Int32Array.of(1, 2, 3), Int32Array.of(4, 5, 6)];
  assertEquals(shortWindows(modelOf(4, 256, 4, 2048), windows), windows);
  assertEquals(shortWindows(modelOf(4, 256, 4, 2048), []), []);
});

Deno.test("windows of a large model are cut until their values fit, and no token is lost", () => {
  const windows = [0, 1].map((k) => Int32Array.from({ length: 512 }, (_, i) => 512 * k + i));
  // 30 blocks of 9 heads, logits of 49152 tokens: about 4 GiB at 512 tokens.
  const pieces = shortWindows(modelOf(30, 5088, 9, 49152), windows);
  assertEquals(pieces.map(({ length }) => length), [256, 256, 256, 256]);
  assertEquals(pieces.flatMap((piece) => [...piece]), windows.flatMap((window) => [...window]));
});
