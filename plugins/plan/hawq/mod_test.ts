import { assert, assertEquals, assertLess } from "@std/assert";
import { loadAutodiff } from "../../../autodiff/mod.ts";
import type { LinearInfo, ModelPlanner } from "../../../spec/mod.ts";
import { openBench } from "../../../tests/bench.ts";
import { hessianTraces } from "../../_math/hutchinson.ts";
import { testContext } from "../../_math/testing.ts";
import { hawq } from "./mod.ts";

const bench = await openBench();
const autodiff = await loadAutodiff();

Deno.test("hawq: Hutchinson's traces are those of a known Hessian", () => {
  // f = sum c_i a_i^2 / 2 + a_0 b_0 + sum b_i^4 / 4: Hessian diag(c), and 3 b^2 on the diagonal.
  const curvature = Float32Array.of(1, 3, 0.5, 2);
  const weights = { a: Float32Array.of(0.3, -1, 2, 0.1), b: Float32Array.of(1, -0.5, 0.25) };
  const traces = hessianTraces({
    weights,
    probes: 64,
    step: 1e-2,
    rng: bench.rng("trace"),
    gradients: ({ a, b }) => ({
      a: a.map((value, i) => curvature[i] * value + (i === 0 ? b[0] : 0)),
      b: b.map((value, i) => value ** 3 + (i === 0 ? a[0] : 0)),
    }),
  });
  assertLess(Math.abs(traces.a - 6.5), 0.4);
  assertLess(Math.abs(traces.b - 3 * (1 + 0.25 + 0.0625)), 0.4);
});

/** `f = mean((W x)^2)` of two linears, whose Hessians are known. */
function planner(): ModelPlanner {
  const linears = ["flat", "steep"].map((role): LinearInfo => ({
    id: role,
    role,
    block: 0,
    rows: 4,
    columns: 32,
    input: "x",
  }));
  const rng = bench.rng("weights");
  const weights = new Map(linears.map(({ id }) => [
    id,
    Float32Array.from({ length: 128 }, () => rng.normal()),
  ]));
  const candidates = [2, 4, 8].map((bits) =>
    bench.codecs.resolve({ base: "int4_g32_asym", element: `uint${bits}` })
  );
  return {
    hyperparameters: {},
    linears,
    planned: linears,
    candidates,
    windows: [Int32Array.of(0, 1)],
    weight: (id) => weights.get(id)!,
    batch: () => ({ x: { values: new Float32Array(32).fill(1), shape: [1, 1, 32] } }),
    loss(scope, replaced) {
      const [flat, steep] = linears.map(({ id }) => replaced!.linear!(id, scope.inputs.x)!);
      return flat.mul(flat).sum().add(steep.mul(steep).sum().mul(100));
    },
    rounded(id, scheme) {
      const codec = bench.codecs.get(scheme);
      return codec.dequantize(codec.quantize(weights.get(id)!, 4, 32));
    },
    divergence: () => 0,
    blockError: () => 0,
  };
}

Deno.test("hawq: more bits lose less, curvature weighs, the same on repeat", () => {
  const run = () => {
    const { context } = testContext(bench, hawq, { probes: 32 });
    return hawq.planLosses!({ context: { ...context, autodiff }, model: planner() });
  };
  const losses = run();
  for (const row of losses.values()) assert(row[0] > row[1] && row[1] > row[2]);
  // The exact trace is 2 * 4 * 32 for `flat` and a hundred times that for `steep`.
  const model = planner();
  for (const [id, factor] of [["flat", 1], ["steep", 100]] as const) {
    const rounded = model.rounded(id, model.candidates[0]);
    const error = model.weight(id).reduce((sum, w, i) => sum + (rounded[i] - w) ** 2, 0);
    const exact = 2 * factor * error;
    assertLess(Math.abs(losses.get(id)![0] / exact - 1), 0.5);
  }
  assertEquals(run(), losses);
});
