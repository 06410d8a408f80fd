/**
 * A small block for the tests of plugins that learn: random weights, run by the differentiable graph.
 *
 * @module
 */

import type {
  Autodiff,
  BlockLearner,
  DiffReplacements,
  DiffScope,
  DiffTensor,
  Edge,
  LinearInfo,
  QuantizedTensor,
  ResolvedScheme,
} from "../../spec/mod.ts";
import { plainStatistics, type TestBench, testInputs } from "./testing.ts";

const HIDDEN = 24, INNER = 40, TOKENS = 8, WINDOWS = 4;

/** A norm and a gated layer: `down((up x) * sigmoid(gate x)) + x` with `x` scaled by the norm. */
const SHAPES: Record<string, [number, number]> = {
  gate: [INNER, HIDDEN],
  up: [INNER, HIDDEN],
  down: [HIDDEN, INNER],
};

const EDGES: Edge[] = [
  { id: "input", from: "norm", to: ["gate", "up"] },
  { id: "down.input", from: "up", to: ["down"] },
];

/** The block, its weights rounded to nearest by a scheme. */
export function testBlock(
  bench: TestBench,
  autodiff: Autodiff,
  scheme: ResolvedScheme,
  activation?: ResolvedScheme,
): BlockLearner {
  const rng = bench.rng("block");
  const linears = Object.entries(SHAPES).map(([role, [rows, columns]]): LinearInfo => ({
    id: `blocks.0.${role}`,
    role,
    block: 0,
    rows,
    columns,
    input: role === "down" ? "down.input" : "input",
  }));
  const weights = new Map<string, Float32Array>([
    ["norm", Float32Array.from({ length: HIDDEN }, () => 1 + 0.1 * rng.normal())],
    ...linears.map(({ role, rows, columns }): [string, Float32Array] => [
      role,
      Float32Array.from({ length: rows * columns }, () => rng.normal() * columns ** -0.5),
    ]),
  ]);
  const inputs = Array.from(
    { length: WINDOWS },
    (_, i) => testInputs(bench.rng(`window ${i}`), TOKENS, HIDDEN),
  );
  const codec = bench.codecs.get(scheme);
  const quantized = new Map<string, QuantizedTensor>(
    linears.map(({ role, rows, columns }) => [
      role,
      codec.quantize(weights.get(role)!, rows, columns),
    ]),
  );
  const differentiate = (scope: DiffScope, x: DiffTensor, replaced: DiffReplacements = {}) => {
    const norm = replaced.parameter?.("norm") ?? scope.constant(weights.get("norm")!, [HIDDEN]);
    const linear = (role: string, value: DiffTensor) =>
      replaced.linear?.(role, value) ??
        value.matmul(scope.constant(weights.get(role)!, SHAPES[role]).transpose());
    const scaled = x.mul(norm);
    const inner = linear("up", scaled).mul(linear("gate", scaled).sigmoid());
    return x.add(linear("down", inner));
  };
  const wide = testInputs(bench.rng("wide"), TOKENS, INNER);
  return {
    index: 0,
    linears,
    edges: EDGES,
    hyperparameters: { hidden: HIDDEN, heads: 1, kv_heads: 1, head_size: HIDDEN },
    weight: (name) => weights.get(name)!,
    statistics: (role) =>
      role === "down" ? plainStatistics(wide, INNER) : plainStatistics(inputs[0], HIDDEN),
    schemes: () => ({ weight: scheme, ...(activation && { activation }) }),
    quantized,
    inputs,
    forward(window, replaced) {
      using program = autodiff.compile((scope) =>
        differentiate(scope, scope.inputs.x, {
          linear(role, x) {
            const weight = replaced.get(role);
            return weight && x.matmul(scope.constant(weight, SHAPES[role]).transpose());
          },
        })
      );
      return program.run({ x: { values: inputs[window], shape: [1, TOKENS, HIDDEN] } }).value;
    },
    differentiate,
  };
}
