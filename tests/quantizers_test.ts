/** What quantisers leave in a checkpoint: read back, it gives the same weights and predictions. */

import { assert, assertEquals, assertLess } from "@std/assert";
import { embeddedPath } from "../embedded/mod.ts";
import { memoryOutput } from "../formats/containers/output.ts";
import { memorySource } from "../formats/containers/source.ts";
import { type Recipe, recipeSchema, type SchemeReference } from "../spec/mod.ts";
import { createWorkbench } from "../workbench.ts";
import {
  bench as engine,
  recipeOf as runRecipe,
  run,
  testPlugin,
  WINDOWS,
} from "./engine_bench.ts";
import { UNTIED } from "./temporary.ts";

const lowbit = await createWorkbench();
const model = await lowbit.open(embeddedPath("model"));
const cut = (name: "calibration.txt" | "evaluation.txt", count: number) =>
  lowbit.windows(model, Deno.readTextFileSync(embeddedPath(name)), { length: 64, count });
const calibration = cut("calibration.txt", 4);
const windows = cut("evaluation.txt", 2);
const reference = await lowbit.stream(model, windows);

/** A recipe for the linears of one block. */
function recipeOf(
  use: string,
  weight: unknown,
  more: { activation?: SchemeReference; options?: Record<string, unknown> } = {},
): Recipe {
  const { activation, options = {} } = more;
  return recipeSchema.parse({
    name: "test",
    assign: [{ select: ["blocks.1.*"], weight, ...(activation && { activation }) }],
    pipeline: [{ use, options }],
  });
}

async function quantized(recipe: Recipe) {
  const out = memoryOutput("out");
  const { receipt } = await lowbit.quantize({ model, recipe, out, calibration });
  const files = [...out.files].map(([name, bytes]) => memorySource(name, bytes));
  const checkpoint = await lowbit.open(files);
  const { kl } = await lowbit.evaluate({ model: checkpoint, windows, reference });
  return { receipt, checkpoint, kl, bytes: out.files };
}

const FOUR_BITS: SchemeReference = { base: "int8_token", element: "int4" };
const DOWN = "model.layers.1.mlp.down_proj.weight";
const QUERY = "model.layers.1.self_attn.q_proj.weight";

for (const rotation of ["kronecker", "hadamard"]) {
  Deno.test(`quip (${rotation}): rotations are stored, undone as the model runs, and read back`, async () => {
    const made = await quantized(recipeOf("quip", "int4_channel_asym", { options: { rotation } }));
    const { checkpoint } = made;
    // Readers that know no rotations must refuse the file.
    const header = new TextDecoder().decode(made.bytes.get("model.safetensors")!.slice(8, 20000));
    assert(header.includes('\\"version\\":3'));
    for (const name of [DOWN, QUERY]) {
      const stored = checkpoint.tensors.get(name)!;
      const coded = await stored.quantized();
      assertEquals(coded.side!.map(({ kind }) => kind), ["rotation"]);
      const [rows, columns] = stored.shape;
      const all = await stored.read();
      // Rows mean nothing before the rotation is undone, and are right where few are read.
      assertEquals(await stored.read({ start: 3, end: 9 }), all.slice(3 * columns, 9 * columns));
      const exact = await model.tensors.get(name)!.read();
      let [error, signal] = [0, 0];
      exact.forEach((value, i) => {
        error += (value - all[i]) ** 2;
        signal += value ** 2;
      });
      assertLess(error, 0.06 * signal);
      assertEquals(all.length, rows * columns);
    }
    // The same predictions from the values of the weights, as plain numbers.
    const storage = { kind: "plain" as const, type: "float32" as const };
    const dense = {
      ...checkpoint,
      tensors: new Map([...checkpoint.tensors].map(([name, t]) => [name, { ...t, storage }])),
    };
    using rows = await lowbit.stream(checkpoint, windows);
    const { kl } = await lowbit.evaluate({ model: dense, windows, reference: rows });
    assertLess(Math.abs(kl), 1e-6);
    assert(made.kl > 1e-5 && made.kl < 0.05, String(made.kl));
    checkpoint.close();
  });
}

Deno.test("llm-int8: the threshold is a part of the checkpoint, and outliers count", async () => {
  const scheme = "int8_channel_sym";
  const kls: number[] = [];
  for (const threshold of [0, 1, 1e30]) {
    const options = { threshold };
    const made = await quantized(
      recipeOf("llm-int8", scheme, { options, activation: FOUR_BITS }),
    );
    assertEquals(made.checkpoint.activations!.get(DOWN)!.keep_above, threshold);
    kls.push(made.kl);
    made.checkpoint.close();
  }
  const weights = await quantized(recipeOf("rtn", scheme));
  const both = await quantized(recipeOf("rtn", scheme, { activation: FOUR_BITS }));
  assertEquals([kls[0], kls[2]], [weights.kl, both.kl]);
  assert(kls[0] < kls[1] && kls[1] < kls[2], String(kls));
  weights.checkpoint.close();
  both.checkpoint.close();
});

Deno.test("squeezellm and spqr: sparse parts are stored in 16 bits and counted", async () => {
  const recipes = [recipeOf("squeezellm", "lut4_channel"), recipeOf("spqr", "int4_g64_asym")];
  for (const recipe of recipes) {
    const made = await quantized(recipe);
    const stored = made.checkpoint.tensors.get(DOWN)!;
    const coded = await (stored.vector?.() ?? stored.quantized());
    const [part] = coded.side!;
    assert(part.kind === "sparse" && part.values.length > 10);
    const report = made.receipt.tensors.find(({ name }) => name === DOWN)!;
    assertEquals(report.bytes, stored.bytes);
    assertLess(made.kl, 0.05);
    made.checkpoint.close();
  }
});

Deno.test("the Fisher diagonal follows scales of channels", async () => {
  const seen: { weight: Float32Array; fisher: Float32Array }[] = [];
  for (const factor of [1, 4]) {
    const plugin = testPlugin("scaling", {
      transform({ block }) {
        const edge = block.edges.find(({ to }) => to.includes("mlp.down"))!;
        const { columns } = block.linears.find(({ role }) => role === "mlp.down")!;
        return [{ op: "scale", edge: edge.id, factors: new Float32Array(columns).fill(factor) }];
      },
      quantize({ linear, weight, codec, statistics }) {
        if (linear.role === "mlp.down" || linear.role === "mlp.up") {
          seen.push({ weight: weight.slice(), fisher: statistics.fisher! });
        }
        return codec.quantize(weight, linear.rows, linear.columns);
      },
    }, { needs: { statistics: ["fisher"] } });
    const bench = await createWorkbench({ plugins: [plugin] });
    const recipe = recipeOf("scaling", "int8_channel_sym");
    await bench.quantize({ model, recipe, out: memoryOutput("x"), calibration });
  }
  assertEquals(seen.length, 4);
  for (const [one, other] of [[seen[0], seen[2]], [seen[1], seen[3]]]) {
    assert(one.fisher.some((value) => value > 0));
    one.fisher.forEach((value, i) => {
      // The product of a weight and its gradient does not depend on the scale.
      const [a, b] = [value * one.weight[i] ** 2, other.fisher[i] * other.weight[i] ** 2];
      assertLess(Math.abs(a - b), 1e-5 * Math.abs(a) + 1e-30);
    });
  }
});

Deno.test("the Fisher diagonal is the mean square of gradients, by differences of the loss", async () => {
  using bench = engine(testPlugin("watching", {
    quantize({ linear, weight, codec, statistics }) {
      if (linear.id === "blocks.0.mlp.up") fisher = statistics.fisher!;
      return codec.quantize(weight, linear.rows, linear.columns);
    },
  }, { needs: { statistics: ["fisher"] } }));
  let fisher: Float32Array = new Float32Array(0);
  const windows = WINDOWS.slice(0, 2);
  const recipe = runRecipe(["watching"]);
  (await run(bench, recipe, { calibration: windows }))[Symbol.dispose]();
  const tiny = await bench.open(UNTIED);
  const name = "model.layers.0.mlp.up_proj.weight";
  const stored = tiny.tensors.get(name)!;
  const exact = await stored.read();
  /** The mean negative log-likelihood of one window with element i moved. */
  const loss = async (i: number, by: number, window: Int32Array) => {
    const moved = exact.slice();
    moved[i] += by;
    const read = () => Promise.resolve(moved);
    const tensors = new Map(tiny.tensors).set(name, { ...stored, read });
    const model = { ...tiny, tensors };
    return Math.log((await bench.evaluate({ model, windows: [window] })).perplexity);
  };
  // The largest entries, which differences can see.
  const places = [...fisher.keys()].sort((a, b) => fisher[b] - fisher[a]).slice(0, 4);
  for (const i of places) {
    const step = 0.05;
    let sum = 0;
    for (const window of windows) {
      const slope = (await loss(i, step, window) - await loss(i, -step, window)) / (2 * step);
      sum += slope ** 2 / windows.length;
    }
    assertLess(Math.abs(fisher[i] - sum), 0.05 * sum, `${i}: ${fisher[i]} ${sum}`);
  }
  tiny.close();
});
