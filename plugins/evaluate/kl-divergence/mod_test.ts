import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { openBench } from "../../../tests/bench.ts";
import { testContext } from "../../_math/testing.ts";
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
  assertEquals(figures(P, P), { kl: 0, top1_agreement: 1 });
  assert(figures(Q, P).kl !== figures(P, Q).kl);
});

Deno.test("without a reference there are no figures", () => {
  assertEquals(figures(Q), {});
});
