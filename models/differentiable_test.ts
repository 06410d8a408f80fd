/** The differentiable forward against the kernels', and its gradients against differences. */

import { assert, assertEquals, assertLess } from "@std/assert";
import { loadAutodiff } from "../autodiff/mod.ts";
import { seededRng } from "../engine/rng.ts";
import { loadKernels } from "../kernels-wasm/mod.ts";
import type { DiffInput, Hyperparameters, Node } from "../spec/mod.ts";
import { checkpointOf, CONFIG } from "./_fixtures.ts";
import { openModel } from "./architecture.ts";
import { runDifferentiable } from "./differentiable.ts";
import { evaluateSize } from "./hyperparameters.ts";
import { runBlock } from "./interpreter.ts";

const autodiff = await loadAutodiff();
const kernels = await loadKernels();
const { architecture: llama } = openModel(checkpointOf(CONFIG));

const common = { vocab: 64, blocks: 1, context: 64, epsilon: 1e-5, theta: 10000, tied: 0 };
const EMBEDDED = {
  ...common,
  hidden: 256,
  intermediate: 640,
  heads: 4,
  kv_heads: 2,
  head_size: 64,
};
const SMOLLM2 = {
  ...common,
  hidden: 576,
  intermediate: 1536,
  heads: 9,
  kv_heads: 3,
  head_size: 64,
};
const TINY = { ...common, hidden: 16, intermediate: 24, heads: 2, kv_heads: 1, head_size: 8 };

/** Random parameters of a block, and a residual stream. */
function example(hyperparameters: Hyperparameters, windows: number, tokens: number) {
  const rng = seededRng(`block ${hyperparameters.hidden}`);
  const parameters: Record<string, { values: Float32Array; shape: number[] }> = {};
  for (const { name, shape } of llama.block_parameters) {
    const sizes = shape.map((size) => evaluateSize(size, hyperparameters));
    const count = sizes.reduce((a, b) => a * b);
    const norm = sizes.length === 1;
    const spread = norm ? 0.1 : sizes[1] ** -0.5;
    parameters[name] = {
      values: Float32Array.from({ length: count }, () => (norm ? 1 : 0) + spread * rng.normal()),
      shape: sizes,
    };
  }
  const { hidden } = hyperparameters;
  const x = {
    values: Float32Array.from({ length: windows * tokens * hidden }, () => rng.normal()),
    shape: [windows, tokens, hidden],
  };
  return { parameters, x };
}

const forward = (nodes: readonly Node[], hyperparameters: Hyperparameters) =>
  autodiff.compile((scope) =>
    runDifferentiable({
      nodes,
      hyperparameters,
      kernels,
      scope,
      x: scope.inputs.x,
      parameter: (name) => scope.inputs[name],
      linear: (role, x) => x.matmul(scope.inputs[role].transpose()),
    })
  );

for (const [name, hyperparameters] of Object.entries({ EMBEDDED, SMOLLM2, TINY })) {
  for (const hadamard of [false, true]) {
    Deno.test(`a block of the size ${name} ${hadamard ? "with rotations " : ""}is that of the kernels`, () => {
      const nodes: Node[] = llama.graph.block.flatMap((node): Node[] =>
        hadamard && "out" in node && ["query.rotated", "key.rotated"].includes(node.out)
          ? [node, { op: "hadamard", in: node.out, out: node.out, size: "head_size" }]
          : [node]
      );
      const [windows, tokens] = [2, 24];
      const { parameters, x } = example(hyperparameters, windows, tokens);
      using program = forward(nodes, hyperparameters);
      const { value } = program.run({ ...parameters, x });
      const width = x.values.length / windows;
      for (let window = 0; window < windows; window++) {
        using input = kernels.upload(x.values.slice(window * width, (window + 1) * width));
        using output = runBlock({
          graph: { ...llama.graph, block: nodes },
          kernels,
          hyperparameters,
          x: input,
          tokens,
          parameter: (name) => kernels.upload(parameters[name].values),
          linear(role, x, rows) {
            const { values, shape: [out, into] } = parameters[role];
            const y = kernels.alloc("f32", rows * out);
            using weight = kernels.denseWeight(values, out, into);
            kernels.linear({ x, y, tokens: rows, weight });
            return y;
          },
        });
        const largest = output.array.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
        output.array.forEach((expected, i) =>
          assertLess(Math.abs(value[window * width + i] - expected), 1e-4 * largest)
        );
      }
    });
  }
}

Deno.test("gradients of a block are those of finite differences", () => {
  const { parameters, x } = example(TINY, 2, 6);
  const names = Object.keys(parameters);
  using program = autodiff.compile((scope) => {
    const y = runDifferentiable({
      nodes: llama.graph.block,
      hyperparameters: TINY,
      kernels,
      scope,
      x: scope.inputs.x,
      parameter: (name) => scope.inputs[name],
      linear: (role, x) => x.matmul(scope.inputs[role].transpose()),
    });
    return y.mul(y).mean();
  }, [...names, "x"]);
  const inputs: Record<string, DiffInput & { values: Float32Array }> = { ...parameters, x };
  const { gradients } = program.run(inputs);
  assertEquals(Object.keys(gradients).sort(), [...names, "x"].sort());
  const rng = seededRng("directions");
  for (const name of [...names, "x"]) {
    // Along a random direction, so that rounding is small beside the change.
    const { values, shape } = inputs[name] as { values: Float32Array; shape: number[] };
    const direction = values.map(() => rng.normal());
    const at = (step: number) =>
      program.run({
        ...inputs,
        [name]: { values: values.map((v, i) => v + step * direction[i]), shape },
      }).value[0];
    const step = 1e-2 / Math.sqrt(values.length);
    const slope = (at(step) - at(-step)) / (2 * step);
    const expected = direction.reduce((sum, d, i) => sum + d * gradients[name][i], 0);
    const size = Math.sqrt(gradients[name].reduce((sum, g) => sum + g * g, 0));
    assert(size > 0);
    assertLess(Math.abs(slope - expected), 0.02 * size + 1e-4, name);
  }
});
