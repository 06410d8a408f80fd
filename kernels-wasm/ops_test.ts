/** Every operation of the list, against the reference, its scalar definition, and other threads. */

import { assert, assertEquals } from "@std/assert";
import { KERNEL_OPS, type KernelOp } from "../spec/kernel_ops.ts";
import type { Kernels } from "../spec/kernels.ts";
import { CASES } from "./_cases.ts";
import { type Output, Random } from "./_random.ts";
import { loadScalarKernels } from "./_scalar.ts";
import { loadKernels } from "./mod.ts";
import { referenceKernels } from "./reference.ts";

const reference = referenceKernels();
const wasm = await loadKernels();
const scalar = await loadScalarKernels();

/** Sizes 0 to 40, and a few larger ones. */
function size(random: Random, i: number): { rows: number; columns: number } {
  if (i === 0) return { rows: 0, columns: 7 };
  if (i === 1) return { rows: 5, columns: 0 };
  if (i === 2) return { rows: 130, columns: 150 };
  if (i === 3) return { rows: 33, columns: 600 };
  if (i === 4) return { rows: 260, columns: 65 };
  return { rows: random.int(1, 40), columns: random.int(1, 40) };
}

function outputs(k: Kernels, name: KernelOp["name"], seed: number, i: number): Output[] {
  const random = new Random(seed);
  return CASES[name]({ k, random, ...size(random, i) });
}

function sameBits(a: Output, b: Output, message: string): void {
  assertEquals(a.length, b.length, message);
  for (let i = 0; i < a.length; i++) {
    if (!Object.is(a[i], b[i])) throw new Error(`${message}: element ${i} is ${a[i]}, not ${b[i]}`);
  }
}

function close(a: Output, b: Output, tolerance: number, message: string): void {
  let largest = 0;
  for (const v of b) largest = Math.max(largest, Math.abs(v));
  for (let i = 0; i < a.length; i++) {
    const error = Math.abs(a[i] - b[i]);
    if (!(error <= tolerance * largest) && !Object.is(a[i], b[i])) {
      throw new Error(`${message}: element ${i} is ${a[i]}, not ${b[i]} (largest ${largest})`);
    }
  }
}

for (const op of KERNEL_OPS) {
  Deno.test(`${op.name}: equals the reference (${op.exactness})`, () => {
    for (let i = 0; i < 60; i++) {
      const a = outputs(wasm, op.name, i, i);
      const b = outputs(reference, op.name, i, i);
      assertEquals(a.length, b.length);
      a.forEach((output, o) => {
        const message = `case ${i}, output ${o}`;
        if (op.exactness === "tolerance") close(output, b[o], op.tolerance!, message);
        else sameBits(output, b[o], message);
      });
    }
  });

  Deno.test(`${op.name}: SIMD equals the scalar definition in every bit`, () => {
    for (let i = 0; i < 60; i++) {
      const a = outputs(wasm, op.name, i + 100, i);
      const b = outputs(scalar, op.name, i + 100, i);
      a.forEach((output, o) => sameBits(output, b[o], `case ${i}, output ${o}`));
    }
  });
}

Deno.test("the list and the cases name the same operations", () => {
  assertEquals(KERNEL_OPS.map((op) => op.name).sort(), Object.keys(CASES).sort());
});

Deno.test("the result does not depend on the number of threads", async () => {
  // large enough that operations are shared
  const large = (k: Kernels, name: KernelOp["name"], seed: number) =>
    CASES[name]({ k, random: new Random(seed), rows: 350 + 7 * seed, columns: 420 + 11 * seed });
  const alone = KERNEL_OPS.map(({ name }, i) => large(wasm, name, i % 3));
  for (const threads of [2, 3, 5]) {
    const shared = await loadKernels({ threads });
    assertEquals(shared.threads, threads);
    KERNEL_OPS.forEach(({ name }, i) => {
      const together = large(shared, name, i % 3);
      together.forEach((output, o) => sameBits(output, alone[i][o], `${name}, ${threads} threads`));
    });
    shared.close();
    assertEquals(shared.threads, 1, "after close the calling thread goes on alone");
    CASES.add({ k: shared, random: new Random(1), rows: 300, columns: 300 });
  }
});

Deno.test("operations in quick succession never mix up their arguments", async () => {
  const k = await loadKernels({ threads: 3 });
  const lengths = [1 << 17, 150_001, 200_000];
  const buffers = lengths.map((length) => ({
    x: k.alloc("f32", length),
    y: k.alloc("f32", length),
  }));
  for (const { x } of buffers) x.array.fill(1);
  for (let round = 1; round <= 400; round++) {
    for (const { x, y } of buffers) k.add({ x, y });
    if (round % 100 === 0) k.alloc("f64", 1 << 20).free(); // memory grows meanwhile
  }
  for (const { y } of buffers) assert(y.array.every((v) => v === 400));
  k.close();
});

Deno.test("all memory comes back", () => {
  for (const k of [wasm, reference]) {
    const before = k.memory().bytes;
    for (const op of KERNEL_OPS) {
      CASES[op.name]({ k, random: new Random(1), rows: 20, columns: 30 });
    }
    const after = k.memory();
    assert(after.bytes <= before + 3e5, `${after.bytes} bytes are held, ${before} before`);
    assert(after.peak >= after.bytes);
  }
});
