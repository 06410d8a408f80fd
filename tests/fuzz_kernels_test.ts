/** A sample of `deno task fuzz:kernels`. */

import { assert, assertEquals } from "@std/assert";
import { KERNEL_OPS } from "../spec/kernel_ops.ts";
import { fuzz } from "../tools/fuzz_kernels.ts";

Deno.test("a sample of the fuzzer finds no difference", async () => {
  const lines = await fuzz(3000, 7);
  assertEquals(lines.map(({ name }) => name), KERNEL_OPS.map(({ name }) => name));
  assert(lines.every(({ twin, reference }) => twin + reference >= 50));
});

Deno.test("the committed figures are of every operation and of a million cases", async () => {
  const page = new URL("../docs/generated/fuzz-kernels.md", import.meta.url);
  const text = await Deno.readTextFile(page);
  const rows = [...text.matchAll(/^\| `(\w+)` \| ([-\d,]+) \| ([\d,]+) \|$/gm)];
  assertEquals(rows.map(([, name]) => name), KERNEL_OPS.map(({ name }) => name));
  const count = (cell: string) => cell === "-" ? 0 : Number(cell.replaceAll(",", ""));
  const total = rows.reduce((sum, [, , twin, reference]) => {
    return sum + Math.max(count(twin), count(reference));
  }, 0);
  assert(total >= 1_000_000, `${total}`);
});
