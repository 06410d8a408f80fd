import { assert, assertEquals, assertLess } from "@std/assert";
import { embeddedPath } from "../../../embedded/mod.ts";
import { rewriteCheckpoint } from "../../../models/rewrite.ts";
import { StreamedModel } from "../../../models/evaluate.ts";
import { runBlock } from "../../../models/interpreter.ts";
import { loadPart } from "../../../models/linear.ts";
import { embedWindows } from "../../../models/evaluate.ts";
import { type ModelGraph, openModel } from "../../../models/architecture.ts";
import { openCheckpoint } from "../../../formats/open.ts";
import { openBench } from "../../../tests/bench.ts";
import { someWindows } from "../../../tests/temporary.ts";
import { testContext } from "../../_math/testing.ts";
import { quarot } from "./mod.ts";

const bench = await openBench();
const { kernels } = bench;
const original = openModel(await openCheckpoint(embeddedPath("model")));
const window = someWindows(1, 32, 2048)[0];

/** What the plugin makes of the embedded model. */
function rotated(options: Record<string, unknown>, seed = "seed"): ModelGraph {
  const { context } = testContext(
    { ...bench, rng: (label) => bench.rng(`${seed}/${label}`) },
    quarot,
    options,
  );
  const { hyperparameters, linears, tied, architecture: { graph, edges } } = original;
  const model = { hyperparameters, linears, tied, graph: graph.block, edges, schemes: new Map() };
  const ops = quarot.transformModel!({ context, model });
  return openModel(rewriteCheckpoint(original, [{ plugin: "quarot", ops }]));
}

async function predictions(model: ModelGraph): Promise<Float32Array> {
  using streamed = await StreamedModel.run({ model, kernels, windows: [window] });
  using rows = streamed.rows(0, 0, window.length);
  return rows.array.slice();
}

Deno.test("quarot: each rotation, and all of them, leave the predictions as they were", async () => {
  const before = await predictions(original);
  const largest = Math.max(...before.map(Math.abs));
  const none = { r1: "none", r2: false, r3: false, r4: false, across_heads: false };
  const parts = ["r2", "r3", "r4", "across_heads"].map((part) => ({ ...none, [part]: true }));
  const streams = ["folded", "online"].map((r1) => ({ ...none, r1 }));
  for (const options of [...parts, ...streams, {}, { r1: "online" }]) {
    const after = await predictions(rotated(options));
    assert(after.some((value, i) => value !== before[i]), JSON.stringify(options));
    after.forEach((value, i) => assertLess(Math.abs(value - before[i]), 1e-4 * largest));
  }
  assertEquals(await predictions(rotated(none)), before);
});

/** For each linear input of a block: the mean over tokens of largest magnitude over root mean square. */
async function peaks(model: ModelGraph): Promise<Map<string, number>> {
  const found = new Map<string, number>();
  const { hyperparameters, architecture: { graph } } = model;
  let [x] = await embedWindows(model, kernels, [window]);
  for (const block of [0, 1]) {
    using part = await loadPart({ model, kernels, nodes: graph.block, block });
    const y = runBlock({
      ...{ graph, kernels, hyperparameters, x, tokens: window.length },
      parameter: part.parameter,
      linear(role, input, tokens) {
        const columns = input.length / tokens;
        let sum = 0;
        for (let t = 0; t < tokens; t++) {
          const row = input.array.subarray(t * columns, (t + 1) * columns);
          const square = row.reduce((total, value) => total + value * value, 0) / columns;
          sum += row.reduce((a, b) => Math.max(a, Math.abs(b)), 0) / Math.sqrt(square);
        }
        found.set(role, sum / tokens);
        return part.linear(role, input, tokens);
      },
    });
    x.free();
    x = y;
  }
  x.free();
  return found;
}

Deno.test("quarot: peaks of activations become smaller where it rotates", async () => {
  const [before, after] = [await peaks(original), await peaks(rotated({}))];
  for (const role of ["attention.query", "mlp.up", "mlp.down"]) {
    assertLess(after.get(role)!, before.get(role)!, role);
  }
  // Products of gates have a few large values among many small ones; rotated, no more than others.
  assertLess(after.get("mlp.down")!, 0.4 * before.get("mlp.down")!);
});

Deno.test("quarot: the same seed gives the same weights, another one others", async () => {
  const weight = async (model: ModelGraph) =>
    await model.checkpoint.tensors.get("model.layers.1.mlp.up_proj.weight")!.read();
  const first = await weight(rotated({}));
  assertEquals(await weight(rotated({})), first);
  const other = await weight(rotated({}, "another"));
  assert(other.some((value, i) => value !== first[i]));
});
