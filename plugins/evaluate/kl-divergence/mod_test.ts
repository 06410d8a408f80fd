import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { openBench } from "../../../tests/bench.ts";
import { testContext } from "../../_math/testing.ts";
import { perplexity } from "../perplexity/mod.ts";
import { klDivergence } from "./mod.ts";

const bench = await openBench();
const { context } = testContext(bench, klDivergence);

/** The figures of a model q beside a reference p, both `[rows][vocabulary]` probabilities. */
function figures(q: number[][], p?: number[][]): Record<string, number> {
  const evaluator = klDivergence.evaluate!({ context });
  const upload = (x: number[][]) => bench.kernels.upload(Float32Array.from(x.flat(), Math.log));
  using logProbabilities = upload(q);
  using reference = p && upload(p);
  const [rows, vocabulary] = [q.length, q[0].length];
  const targets = new Int32Array(rows);
  evaluator.add({ rows, vocabulary, logProbabilities, reference, targets });
  return evaluator.result();
}

const P = [[0.5, 0.25, 0.25], [0.1, 0.2, 0.7]];
const Q = [[0.25, 0.5, 0.25], [0.2, 0.2, 0.6]];

Deno.test("KL divergence from the reference, and how often both would say the same", () => {
  const { kl, top1_agreement } = figures(Q, P);
  const rows = P.map((p, i) => p.reduce((sum, x, j) => sum + x * Math.log(x / Q[i][j]), 0));
  assertAlmostEquals(kl, (rows[0] + rows[1]) / 2, 1e-6);
  assertEquals(top1_agreement, 0.5);
});

Deno.test("it is zero only for the same predictions, and is not symmetric", () => {
  const { kl, kl_max, top1_agreement, top5_agreement } = figures(P, P);
  assertEquals([kl, kl_max, top1_agreement, top5_agreement], [0, 0, 1, 1]);
  assert(figures(Q, P).kl !== figures(P, Q).kl);
});

Deno.test("without a reference there are no figures", () => {
  assertEquals(figures(Q), {});
});

Deno.test("quantiles, errors and the five most likely tokens are those of numpy and scipy", async () => {
  const golden = JSON.parse(
    await Deno.readTextFile(new URL("../../../tests/golden/evaluate.json", import.meta.url)),
  );
  const { rows, vocabulary } = golden;
  using reference = bench.kernels.upload(Float32Array.from(golden.reference));
  using logProbabilities = bench.kernels.upload(Float32Array.from(golden.model));
  const targets = Int32Array.from(golden.targets);
  for (const plugin of [klDivergence, perplexity]) {
    const evaluator = plugin.evaluate!({ context: testContext(bench, plugin).context });
    evaluator.add({ rows, vocabulary, logProbabilities, reference, targets });
    for (const [name, value] of Object.entries(evaluator.result())) {
      assertAlmostEquals(value, golden.figures[name], 2e-6 * Math.max(1, value), name);
    }
  }
});
