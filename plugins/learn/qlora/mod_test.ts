import { assert, assertEquals, assertLess, assertThrows } from "@std/assert";
import { loadAutodiff } from "../../../autodiff/mod.ts";
import { openBench } from "../../../tests/bench.ts";
import type { LinearInfo, ModelLearner } from "../../../spec/mod.ts";
import { testContext } from "../../_math/testing.ts";
import { qlora } from "./mod.ts";

const bench = await openBench();
const autodiff = await loadAutodiff();
const [ROWS, COLUMNS] = [4, 6];
const LINEAR = { id: "blocks.0.x", role: "x", rows: ROWS, columns: COLUMNS } as LinearInfo;

/** The input of a window. */
const input = (w: number) =>
  Float32Array.from({ length: COLUMNS }, (_, j) => Math.cos(3 * w + j * j));

/** One linear whose outputs are wanted `far` from where its weight puts them. */
function model(far: number): ModelLearner {
  const weight = Float32Array.from({ length: ROWS * COLUMNS }, (_, i) => Math.sin(i));
  const windows = Array.from({ length: 8 }, (_, w) => Int32Array.of(w));
  return {
    ...{ hyperparameters: {}, linears: [LINEAR], windows, weight: () => weight },
    batch: (some) => ({
      x: {
        values: Float32Array.from(some.flatMap((w) => [...input(w)])),
        shape: [some.length, COLUMNS],
      },
    }),
    loss(scope, replaced) {
      const { x } = scope.inputs;
      const direct = x.matmul(scope.constant(weight, [ROWS, COLUMNS]).transpose());
      const made = replaced?.linear?.(LINEAR.id, x) ?? direct;
      const wanted = direct.add(x.sum([1], true).mul(far));
      const error = made.sub(wanted);
      return error.mul(error).mean();
    },
  };
}

function learn(options: Record<string, unknown>, far = 1) {
  const { context, warnings } = testContext(bench, qlora, options);
  const given = { ...context, autodiff };
  const { side } = qlora.learnModel!({ context: given, model: model(far), linears: [LINEAR] });
  return { part: side.get(LINEAR.id)!, warnings };
}

Deno.test("qlora: a change of rank 1 is found, on a window held out as well", () => {
  const { part: { left, right } } = learn({
    rank: 1,
    alpha: 1,
    rate: 0.02,
    steps: 600,
    max_norm: 0,
  });
  for (let w = 0; w < 8; w++) {
    const x = input(w);
    const [sum, narrow] = [x.reduce((a, b) => a + b), x.reduce((a, b, j) => a + b * right[j], 0)];
    for (const l of left) assertLess(Math.abs(l * narrow - sum), 0.05);
  }
});

Deno.test("qlora: the start is kept where nothing is better, and it is said", () => {
  const { part, warnings } = learn({ rank: 2, steps: 5 }, 0);
  assert(part.left.every((value) => value === 0));
  assertEquals(warnings.length, 1);
});

Deno.test("qlora: alpha / rank is in the left factor; a rank is no larger than the weight", () => {
  const { part } = learn({ rank: 64, steps: 0 });
  assertEquals([part.rank, part.right.length], [ROWS, ROWS * COLUMNS]);
  assertThrows(() => learn({ targets: ["y"] }), Error, "is the role of no linear");
});
