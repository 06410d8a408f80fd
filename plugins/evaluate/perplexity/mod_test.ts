import { assertAlmostEquals, assertEquals } from "@std/assert";
import { openBench } from "../../../tests/bench.ts";
import { testContext } from "../../_math/testing.ts";
import { perplexity } from "./mod.ts";

const bench = await openBench();
const { context } = testContext(bench, perplexity);

Deno.test("perplexity is the exponential of the mean negative log-likelihood", () => {
  const evaluator = perplexity.evaluate!({ context });
  const add = (probabilities: number[][], targets: number[]) => {
    const flat = Float32Array.from(probabilities.flat(), Math.log);
    using logProbabilities = bench.kernels.upload(flat);
    const [rows, vocabulary] = [probabilities.length, probabilities[0].length];
    evaluator.add({ rows, vocabulary, logProbabilities, targets: Int32Array.from(targets) });
  };
  add([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]], [0, 2]);
  add([[0.7, 0.2, 0.1]], [1]);
  const { tokens, nll, perplexity: value } = evaluator.result();
  assertEquals(tokens, 3);
  assertAlmostEquals(nll, -Math.log(0.5 * 0.8 * 0.2) / 3, 1e-7);
  assertEquals(value, Math.exp(nll));
});

Deno.test("uniform predictions have the size of the vocabulary as perplexity", () => {
  const evaluator = perplexity.evaluate!({ context });
  using logProbabilities = bench.kernels.upload(new Float32Array(4 * 64).fill(-Math.log(64)));
  const targets = Int32Array.of(0, 9, 33, 63);
  evaluator.add({ rows: 4, vocabulary: 64, logProbabilities, targets });
  assertAlmostEquals(evaluator.result().perplexity, 64, 1e-4);
});
