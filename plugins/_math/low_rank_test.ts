import { assert, assertAlmostEquals, assertLess } from "@std/assert";
import { openBench } from "../../tests/bench.ts";
import { nearestLowRank, symmetricEigen } from "./low_rank.ts";

const { rng } = await openBench();
const normal = (label: string, n: number) => {
  const random = rng(label);
  return Float64Array.from({ length: n }, () => random.normal());
};

/** `||a - left right||^2`. */
function distance(
  a: Float64Array,
  [rows, columns, rank]: number[],
  { left, right }: { left: Float64Array; right: Float64Array },
): number {
  let sum = 0;
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) {
      let value = a[i * columns + j];
      for (let r = 0; r < rank; r++) value -= left[i * rank + r] * right[r * columns + j];
      sum += value * value;
    }
  }
  return sum;
}

Deno.test("eigen: vectors are orthonormal and give the matrix back", () => {
  const n = 24, half = normal("half", n * n);
  const matrix = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) matrix[i * n + j] = half[i * n + j] + half[j * n + i];
  }
  const { values, vectors } = symmetricEigen(matrix, n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) {
      let [back, dot] = [0, 0];
      for (let k = 0; k < n; k++) {
        back += vectors[i * n + k] * values[k] * vectors[j * n + k];
        dot += vectors[k * n + i] * vectors[k * n + j];
      }
      assertAlmostEquals(back, matrix[i * n + j], 1e-11);
      assertAlmostEquals(dot, i === j ? 1 : 0, 1e-12);
    }
  }
});

Deno.test("low rank: what is left is the tail of the spectrum, as Eckart and Young say", () => {
  const [rows, columns] = [60, 40];
  const a = normal("a", rows * columns);
  // The spectrum from the Gram matrix, by itself.
  const gram = new Float64Array(columns * columns);
  for (let i = 0; i < columns; i++) {
    for (let j = 0; j < columns; j++) {
      for (let k = 0; k < rows; k++) {
        gram[i * columns + j] += a[k * columns + i] * a[k * columns + j];
      }
    }
  }
  const spectrum = [...symmetricEigen(gram, columns).values].sort((x, y) => y - x);
  for (const rank of [1, 5, 40]) {
    const factors = nearestLowRank(a, rows, columns, rank, { rng: rng("q"), iterations: 40 });
    const tail = spectrum.slice(rank).reduce((sum, value) => sum + value, 0);
    assertAlmostEquals(distance(a, [rows, columns, rank], factors), tail, 1e-4 * spectrum[0]);
    factors.values.forEach((value, i) => assertAlmostEquals(value ** 2, spectrum[i], 1e-3));
  }
});

Deno.test("low rank: a few iterations come near, and a matrix of low rank is found exactly", () => {
  const [rows, columns, rank] = [30, 50, 4];
  const [left, right] = [normal("left", rows * rank), normal("right", rank * columns)];
  const a = new Float64Array(rows * columns);
  for (let i = 0; i < rows; i++) {
    for (let r = 0; r < rank; r++) {
      for (let j = 0; j < columns; j++) {
        a[i * columns + j] += left[i * rank + r] * right[r * columns + j];
      }
    }
  }
  const size = a.reduce((sum, value) => sum + value * value, 0);
  const exact = nearestLowRank(a, rows, columns, rank, { rng: rng("q"), iterations: 1 });
  assertLess(distance(a, [rows, columns, rank], exact), 1e-20 * size);
  const full = normal("full", rows * columns);
  const near = (iterations: number) =>
    distance(
      full,
      [rows, columns, rank],
      nearestLowRank(full, rows, columns, rank, { rng: rng("q"), iterations }),
    );
  assertLess(near(6), 1.01 * near(100));
  const zero = nearestLowRank(new Float64Array(6), 2, 3, 2, { rng: rng("q"), iterations: 2 });
  assert([...zero.left, ...zero.right].every((value) => value === 0));
});
