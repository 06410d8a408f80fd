/** A sample of `deno task fuzz:kernels`. */

import { assert, assertEquals } from "@std/assert";
import { KERNEL_OPS } from "../spec/kernel_ops.ts";
import { fuzz } from "../tools/fuzz_kernels.ts";

Deno.test("a sample of the fuzzer finds no difference", async () => {
  const lines = await fuzz(3000, 7);
  assertEquals(lines.map(({ name }) => name), KERNEL_OPS.map(({ name }) => name));
  assert(lines.every(({ twin, reference }) => twin + reference >= 50));
});
