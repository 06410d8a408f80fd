import { assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { LowbitError, type Rng } from "../spec/mod.ts";
import { greedy, sample } from "./sampling.ts";

/** Random numbers that are the same ones over and over. */
function rng(...numbers: number[]): Rng {
  let next = 0;
  const uniform = () => numbers[next++ % numbers.length];
  return { uniform, normal: uniform, uint32: uniform };
}

Deno.test("greedy takes the largest logit, of equal ones the lowest id", () => {
  assertEquals(greedy(Float32Array.of(-1, 2, 2, 0)), 1);
  assertEquals(greedy(Float32Array.of(-Infinity, -Infinity)), 0);
  assertEquals(greedy(Float32Array.of(0, -0, 0)), 0);
  for (const logits of [[NaN, 1], [1, NaN]]) {
    assertThrows(() => greedy(Float32Array.from(logits)), LowbitError, "is not a number");
  }
});

Deno.test("sampling follows the probabilities at a temperature", () => {
  const logits = Float32Array.from([0.1, 0.2, 0.7], Math.log);
  const at = (u: number, temperature = 1) => sample(logits, temperature, rng(u));
  assertEquals([0, 0.09, 0.11, 0.29, 0.31, 0.999].map((u) => at(u)), [0, 0, 1, 1, 2, 2]);
  // At temperature 0.5 the probabilities are squared: 1, 4 and 49 of 54.
  assertEquals([0.5 / 54, 1.5 / 54, 4.9 / 54, 5.1 / 54].map((u) => at(u, 0.5)), [0, 1, 1, 2]);
  assertEquals(sample(Float32Array.of(1e30, -1e30), 1e-3, rng(0.999)), 0);
  assertEquals(sample(Float32Array.of(-Infinity, 0), 1, rng(0)), 1);
});

Deno.test("frequencies of many samples", () => {
  const logits = Float32Array.from([0.25, 0.75], Math.log);
  const numbers = Array.from({ length: 1000 }, (_, i) => (i + 0.5) / 1000);
  const source = rng(...numbers);
  const ones = numbers.filter(() => sample(logits, 1, source) === 1).length;
  assertAlmostEquals(ones / 1000, 0.75, 0.002);
});
