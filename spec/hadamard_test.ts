import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { LowbitError } from "./errors.ts";
import { hadamardOrders } from "./hadamard_matrices.ts";
import { hadamard, hadamardParts, largestHadamard } from "./hadamard.ts";

/** The matrix of a size, in rows. */
function matrix(size: number): Float64Array {
  const rows = new Float64Array(size * size);
  for (let i = 0; i < size; i++) rows[i * size + i] = 1;
  return hadamard(rows, size);
}

Deno.test("hadamard: every base order, and some multiples, are orthogonal signs", () => {
  for (const size of [1, 2, 12, 20, 28, 36, 44, 60, 68, 76, 84, 108, 124, 140, 148, 24, 160, 144]) {
    const h = matrix(size);
    for (const value of h) assertAlmostEquals(Math.abs(value) * Math.sqrt(size), 1, 1e-12);
    for (let i = 0; i < size; i++) {
      for (let j = 0; j <= i; j++) {
        let dot = 0;
        for (let k = 0; k < size; k++) dot += h[i * size + k] * h[j * size + k];
        assertAlmostEquals(dot, i === j ? 1 : 0, 1e-12);
      }
    }
  }
});

Deno.test("hadamard: powers of two have the signs (-1)^(number of common ones of i and j)", () => {
  const size = 32, h = matrix(size);
  for (let i = 0; i < size; i++) {
    for (let j = 0; j < size; j++) {
      const ones = (i & j).toString(2).replaceAll("0", "").length;
      assertAlmostEquals(h[i * size + j] * Math.sqrt(size), ones % 2 === 0 ? 1 : -1, 1e-12);
    }
  }
});

Deno.test("hadamard: a size is the base matrix times the one of a power of two", () => {
  const [base, two, whole] = [matrix(12), matrix(4), matrix(48)];
  for (let i = 0; i < 48; i++) {
    for (let j = 0; j < 48; j++) {
      const product = base[Math.floor(i / 4) * 12 + Math.floor(j / 4)] * two[(i % 4) * 4 + j % 4];
      assertAlmostEquals(whole[i * 48 + j], product, 1e-12);
    }
  }
});

Deno.test("hadamard: the inverse gives the values back, run by run, in f32 as well", () => {
  const x = Float64Array.from({ length: 3 * 36 }, (_, i) => Math.sin(i * i));
  const turned = hadamard(x.slice(), 36);
  assertEquals(turned.slice(36, 72), hadamard(x.slice(36, 72), 36));
  hadamard(turned, 36, { inverse: true }).forEach((v, i) => assertAlmostEquals(v, x[i], 1e-12));
  const narrow = hadamard(Float32Array.from(x), 36);
  hadamard(x, 36).forEach((value, i) => assertAlmostEquals(narrow[i], value, 1e-6));
});

Deno.test("hadamard: sizes without a matrix are refused, and the largest part is found", () => {
  for (const size of [3, 9, 172]) {
    assertEquals(hadamardParts(size), undefined);
    assertThrows(() => hadamard(new Float64Array(size), size), LowbitError, "no Hadamard matrix");
  }
  assertThrows(() => hadamard(new Float64Array(6), 4), LowbitError, "of 4 for 6 values");
  for (let n = 1; n < 300; n++) {
    const size = largestHadamard(n);
    assert(n % size === 0 && hadamardParts(size));
  }
  assertEquals([576, 1536, 640, 11008, 14336].map(largestHadamard), [576, 1536, 640, 256, 14336]);
});

Deno.test("hadamard: every size 4 n up to 256 has a matrix, but for three", () => {
  const orders = new Set([1, 2, ...hadamardOrders()]);
  const made = (n: number): boolean => orders.has(n) || (n % 2 === 0 && made(n / 2));
  const missing = Array.from({ length: 64 }, (_, i) => 4 * i + 4).filter((n) => !made(n));
  assertEquals(missing, [156, 188, 236]);
});
