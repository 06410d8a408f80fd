/**
 * Choosing the next token from logits.
 *
 * @module
 */

import { LowbitError, type Rng } from "../spec/mod.ts";

/**
 * The token of the largest logit; of equal ones the lowest id. `NUMERICS` where there is a NaN.
 *
 * @example
 * ```ts
 * import { greedy } from "./sampling.ts";
 * greedy(Float32Array.of(1, 3, 3)); // 1
 * ```
 */
export function greedy(logits: Float32Array): number {
  let best = 0;
  for (let id = 0; id < logits.length; id++) {
    if (logits[id] > logits[best]) best = id;
    else if (Number.isNaN(logits[id])) throw notANumber(id);
  }
  return best;
}

/**
 * A token by its probability under `softmax(logits / temperature)`, in f64, in the order of the ids.
 * `NUMERICS` where there is a NaN.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { seededRng } from "../engine/rng.ts";
 * import { sample } from "./sampling.ts";
 * const rng = seededRng("a");
 * assertEquals(sample(Float32Array.of(0, 9, 0), 0.1, rng), 1); // all but certain
 * assertEquals(sample(Float32Array.of(-Infinity, 0), 100, rng), 1); // the first has no chance
 * ```
 */
export function sample(logits: Float32Array, temperature: number, rng: Rng): number {
  const largest = logits[greedy(logits)];
  const weights = Float64Array.from(logits, (x) => Math.exp((x - largest) / temperature));
  let left = rng.uniform() * weights.reduce((sum, weight) => sum + weight, 0);
  for (let id = 0; id < weights.length; id++) {
    left -= weights[id];
    if (left < 0) return id;
  }
  return weights.findLastIndex((weight) => weight > 0);
}

function notANumber(id: number): LowbitError {
  return new LowbitError("NUMERICS", `the logit of token ${id} is not a number`);
}
