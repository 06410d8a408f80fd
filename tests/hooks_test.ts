/** Every hook of the plugin contract by a small plugin, and what the engine holds plugins to. */

import { assert, assertEquals, assertLess, assertRejects } from "@std/assert";
import { LanguageModel, openModel } from "../models/mod.ts";
import {
  type CachePolicy,
  LowbitError,
  type Plugin,
  type QuantizedTensor,
  type TransformOp,
} from "../spec/mod.ts";
import { bench, figures, recipeOf, run, testPlugin, WINDOWS } from "./engine_bench.ts";
import { UNTIED } from "./temporary.ts";

/** Rounds to nearest: what a test plugin with another hook is combined with. */
const nearest: Plugin = testPlugin("nearest", {
  quantize: ({ weight, linear, codec }) => codec.quantize(weight, linear.rows, linear.columns),
});

const TWO_BITS = [{ select: ["blocks.*"], weight: { base: "int4_channel_sym", element: "int2" } }];

/** A plugin that scales channels along an edge. */
const scaling = (edge: string, factors: (columns: number) => Float32Array, copies = 1): Plugin =>
  testPlugin("scaling", {
    transform({ block }): TransformOp[] {
      const to = block.edges.find(({ id }) => id === edge)?.to[0];
      const columns = block.linears.find(({ role }) => role === to)?.columns ?? 16;
      return Array(copies).fill({ op: "scale", edge, factors: factors(columns) });
    },
  });

Deno.test("plan: later plugins refine what the recipe and earlier ones say", async () => {
  const coarse = testPlugin("coarse", {
    plan: ({ linears }) =>
      new Map(
        linears.filter(({ role }) => role.startsWith("mlp.")).map(({ id }) => [
          id,
          { weight: { base: "int4_channel_sym", element: "int2" } },
        ]),
      ),
  });
  const fine = testPlugin("fine", {
    plan({ schemes }) {
      assertEquals(schemes.get("blocks.0.mlp.up")!.weight!.element.id, "int2");
      return new Map([["blocks.1.mlp.up", { weight: "int8_channel_asym" }]]);
    },
  });
  using lowbit = bench(coarse, fine);
  using result = await run(lowbit, recipeOf(["coarse", "fine", "rtn"]));
  const scheme = (name: string) =>
    result.receipt.tensors.find((tensor) => tensor.name === `model.layers.${name}.weight`)!.scheme;
  assertEquals(scheme("0.self_attn.q_proj"), "int8_channel_sym");
  assertEquals(scheme("0.mlp.up_proj"), scheme("1.mlp.down_proj"));
  assertEquals(scheme("1.mlp.up_proj"), "int8_channel_asym");
  assert(scheme("0.mlp.up_proj") !== "int8_channel_sym");
  const lost = testPlugin("lost", { plan: () => new Map([["blocks.9.mlp.up", {}]]) });
  await assertRejects(
    () => run(bench(lost), recipeOf(["lost", "rtn"])),
    LowbitError,
    'lost: plans a scheme for "blocks.9.mlp.up", which is no linear',
  );
});

Deno.test("collect: every window once for each input, under the name of the plugin", async () => {
  const seen: Record<string, number> = {};
  const counting = testPlugin("counting", {
    collect() {
      let [tokens, total] = [0, 0];
      return {
        add(x, rows, columns) {
          assertEquals(x.length, rows * columns);
          tokens += rows;
          total += x.array.reduce((sum, value) => sum + value, 0);
        },
        merge() {},
        value: () => ({ tokens, total }),
      };
    },
    quantize({ linear, weight, codec, statistics }) {
      const { tokens, total } = statistics.custom.get("counting") as Record<string, number>;
      assertEquals([tokens, statistics.tokens], [72, 72]);
      seen[linear.id] = total;
      return codec.quantize(weight, linear.rows, linear.columns);
    },
  });
  (await run(bench(counting), recipeOf(["counting"]))).model.close();
  assertEquals(Object.keys(seen).length, 14);
  assertEquals(seen["blocks.0.attention.query"], seen["blocks.0.attention.value"]);
  assert(seen["blocks.0.attention.query"] !== seen["blocks.0.mlp.up"]);
  assert(seen["blocks.0.mlp.up"] !== seen["blocks.1.mlp.up"]);
});

Deno.test("statistics are there for whoever asks, and only then", async () => {
  for (const statistics of [[], ["gram"], ["abs_max", "abs_mean"]] as const) {
    const asking = testPlugin("asking", {
      quantize({ linear, weight, codec, statistics: got }) {
        const wanted = (name: string) => (statistics as readonly string[]).includes(name);
        assertEquals(got.gram?.length, wanted("gram") ? linear.columns ** 2 : undefined);
        assertEquals(got.absMax?.length, wanted("abs_max") ? linear.columns : undefined);
        assertEquals(got.absMean?.length, wanted("abs_max") ? linear.columns : undefined);
        if (got.gram) {
          for (const i of [0, 3]) assert(got.gram[i * linear.columns + i] > 0);
          assertEquals(got.gram[1], got.gram[linear.columns]);
        }
        return codec.quantize(weight, linear.rows, linear.columns);
      },
    }, { needs: { statistics: [...statistics] } });
    (await run(bench(asking), recipeOf(["asking"]))).model.close();
  }
});

Deno.test("transform: a change that the output does not show is applied", async () => {
  const factors = (columns: number) =>
    Float32Array.from({ length: columns }, (_, i) => 2 ** (i % 5 - 2));
  for (const edge of ["attention.input", "mlp.input", "mlp.down.input"]) {
    using lowbit = bench(scaling(edge, factors));
    using plain = await run(lowbit, recipeOf(["rtn"]));
    using scaled = await run(lowbit, recipeOf(["scaling", "rtn"]));
    const name = `model.layers.0.${
      edge === "attention.input"
        ? "self_attn.q_proj"
        : edge === "mlp.input"
        ? "mlp.up_proj"
        : "mlp.down_proj"
    }.weight`;
    const [before, after] = [
      await plain.model.tensors.get(name)!.read(),
      await scaled.model.tensors.get(name)!.read(),
    ];
    assert(Math.abs(after[0] / before[0] - 0.25) < 0.1, `${edge}: ${before[0]} ${after[0]}`);
    assertLess((await figures(lowbit, scaled.model)).kl, 1e-2);
  }
});

Deno.test("transform: what changes the function or breaks the contract is refused", async () => {
  const even = (columns: number) => new Float32Array(columns).fill(2);
  const cases: [Plugin, string][] = [
    [scaling("attention.input", (n) => even(n).fill(3e38), 2), "transform changed the output by "],
    [
      scaling("attention.inptu", even),
      'names the edge "attention.inptu"; edges are attention.input',
    ],
    [scaling("mlp.input", (n) => even(n + 1)), "needs 16 finite positive factors for mlp.input"],
    [scaling("mlp.input", (n) => even(n).fill(0, 1, 2)), "needs 16 finite positive factors"],
    [scaling("mlp.input", (n) => even(n).fill(-1, 1, 2)), "needs 16 finite positive factors"],
    [scaling("mlp.input", (n) => even(n).fill(NaN, 1, 2)), "needs 16 finite positive factors"],
    [
      scaling("attention.output.input", (n) => even(n).fill(4, 0, 1)),
      "gives heads that share values different factors (attention.output.input)",
    ],
  ];
  for (const [plugin, problem] of cases) {
    const watch = testPlugin("watch", { quantize: nearest.quantize }, {
      needs: { statistics: ["gram"] },
    });
    const error = await assertRejects(
      () => run(bench(plugin, watch), recipeOf(["scaling", "watch"])),
      LowbitError,
      problem,
    );
    assertEquals([error.code, error.file, error.field], ["PLUGIN", "scaling", "blocks.0"]);
  }
});

Deno.test("quantize: a plugin is held to shapes, codes and finite scales", async () => {
  const breaks: [(tensor: QuantizedTensor) => Partial<QuantizedTensor>, string][] = [
    [() => ({ shape: [1, 2] }), "gave a tensor of 1 x 2 for 32 x 16"],
    [({ codes }) => ({ codes: codes.slice(1) }), "gave a wrong number of codes"],
    [() => ({ parameters: { scales: new Float32Array(1) } }), "gave a wrong number of scales"],
    [
      () => ({ parameters: { scales: new Float32Array(32).fill(NaN) } }),
      "gave a scale that is not finite",
    ],
    [
      ({ parameters }) => ({ parameters: { ...parameters, zeros: new Float32Array(32) } }),
      "zero points and scheme do not agree",
    ],
  ];
  for (const [change, problem] of breaks) {
    const bad = testPlugin("bad", {
      quantize({ linear, weight, codec }) {
        const tensor = codec.quantize(weight, linear.rows, linear.columns);
        return { ...tensor, ...change(tensor) };
      },
    });
    const error = await assertRejects(
      () => run(bench(bad), recipeOf(["bad"])),
      LowbitError,
      problem,
    );
    assertEquals([error.code, error.file, error.field], [
      "PLUGIN",
      "bad",
      "blocks.0.attention.query",
    ]);
  }
});

/** Adds what quantisation took away: exactly, by a low-rank part of full rank or by sparse entries. */
const repairing = (kind: "low_rank" | "sparse"): Plugin =>
  testPlugin("repairing", {
    compensate({ linear: { rows, columns }, weight, tensor, codec }) {
      const decoded = codec.dequantize(tensor);
      const rest = weight.map((value, i) => value - decoded[i]);
      if (kind === "sparse") {
        return {
          side: [{
            kind,
            rows: Uint32Array.from(rest, (_, i) => Math.floor(i / columns)),
            columns: Uint32Array.from(rest, (_, i) => i % columns),
            values: rest,
          }],
        };
      }
      const left = new Float32Array(rows * rows);
      for (let i = 0; i < rows; i++) left[i * rows + i] = 1;
      return { side: [{ kind, rank: rows, left, right: rest }] };
    },
  });

Deno.test("compensate: side tensors of full rank, or for every entry, give the weight back", async () => {
  const recipe = recipeOf(["nearest", "repairing"], { assign: TWO_BITS });
  for (const kind of ["low_rank", "sparse"] as const) {
    using lowbit = bench(nearest, repairing(kind));
    using bare = await run(lowbit, recipeOf(["nearest"], { assign: TWO_BITS }));
    using result = await run(lowbit, recipe);
    assert((await figures(lowbit, bare.model)).kl > 0.05);
    assertLess((await figures(lowbit, result.model)).kl, 1e-8);
    const source = await lowbit.open(UNTIED);
    const name = "model.layers.1.mlp.down_proj.weight";
    const [weight, read] = [
      await source.tensors.get(name)!.read(),
      await result.model.tensors.get(name)!.read(),
    ];
    weight.forEach((value, i) => assertLess(Math.abs(value - read[i]), 1e-6));
    source.close();
  }
});

Deno.test("learn: sees inputs and the block, and its weights replace the others", async () => {
  const erasing = testPlugin("erasing", {
    learn({ block }) {
      assertEquals(block.inputs.map((input) => input.length), [24 * 16, 24 * 16, 24 * 16]);
      assertEquals(block.quantized.size, 7);
      const original = block.forward(1, new Map());
      const same = block.forward(1, new Map([["mlp.up", block.weight("mlp.up") as Float32Array]]));
      const none = block.forward(1, new Map([["mlp.up", new Float32Array(24 * 16)]]));
      assertEquals(original, same);
      assert(original.some((value, i) => Math.abs(value - none[i]) > 1e-3));
      const tensor = block.quantized.get("mlp.up")!;
      return new Map([["mlp.up", { ...tensor, codes: tensor.codes.map(() => 0) }]]);
    },
  });
  using result = await run(bench(erasing), recipeOf(["rtn", "erasing"]));
  const read = (name: string) => result.model.tensors.get(name)!.read();
  assert((await read("model.layers.0.mlp.up_proj.weight")).every((value) => value === 0));
  assert((await read("model.layers.0.mlp.gate_proj.weight")).some((value) => value !== 0));
  const short = testPlugin("short", {
    learn: ({ block }) => {
      const tensor = block.quantized.get("mlp.up")!;
      return new Map([["mlp.up", { ...tensor, codes: new Uint8Array(3) }]]);
    },
  });
  await assertRejects(
    () => run(bench(short), recipeOf(["rtn", "short"])),
    LowbitError,
    "short: blocks.0.mlp.up: gave a wrong number of codes",
  );
});

Deno.test("evaluate: figures of all evaluators side by side; NaN is refused", async () => {
  const counting = testPlugin("counting", {
    evaluate() {
      let positions = 0;
      return { add: ({ rows }) => positions += rows, result: () => ({ positions }) };
    },
  });
  using lowbit = bench(counting);
  const model = await lowbit.open(UNTIED);
  const result = await figures(lowbit, model);
  assertEquals([result.positions, result.tokens], [3 * 23, 3 * 23]);
  assertEquals([result.kl, result.top1_agreement], [0, 1]);
  const lost = testPlugin("lost", {
    evaluate: () => ({ add() {}, result: () => ({ lost: NaN }) }),
  });
  const error = await assertRejects(
    () => figures(bench(lost), model),
    LowbitError,
    "is not a number",
  );
  assertEquals([error.code, error.field], ["NUMERICS", "lost"]);
  model.close();
});

Deno.test("cache: the interpreter appends, reads and truncates by a plugin's policy", async () => {
  const calls: string[] = [];
  const halving = testPlugin("halving", {
    cache({ block, kvHeads, headSize }): CachePolicy {
      assertEquals([kvHeads, headSize], [2, 8]);
      let keys: number[] = [], values: number[] = [];
      const width = kvHeads * headSize;
      return {
        append(k, v, tokens) {
          calls.push(`${block}+${tokens}`);
          keys.push(...Float16Array.from(k));
          values.push(...Float16Array.from(v));
        },
        read: () => ({
          keys: Float32Array.from(keys),
          values: Float32Array.from(values),
          length: keys.length / width,
        }),
        truncate(length) {
          [keys, values] = [keys.slice(0, length * width), values.slice(0, length * width)];
        },
        get bytes() {
          return 2 * (keys.length + values.length);
        },
      };
    },
  });
  using lowbit = bench();
  const { kernels, codecs } = lowbit;
  const checkpoint = await lowbit.open(UNTIED);
  using model = await LanguageModel.load({ model: openModel(checkpoint), kernels });
  const context = { options: {}, kernels, codecs, rng: () => assert(false), warn() {} } as never;
  const policy = (block: number) => halving.cache!({ context, block, kvHeads: 2, headSize: 8 });
  using cache = model.cache(policy);
  const ids = [...WINDOWS[0]];
  (await model.logits(ids.slice(0, 20), { cache })).free();
  using last = await model.logits(ids.slice(20), { cache, last: true });
  using exact = await model.logits(ids, { last: true });
  assertEquals(calls, ["0+20", "1+20", "0+4", "1+4"]);
  assertEquals(cache.bytes, 2 * 2 * 2 * 24 * 16);
  let difference = 0;
  exact.array.forEach((value, i) =>
    difference = Math.max(difference, Math.abs(value - last.array[i]))
  );
  assert(difference > 0 && difference < 0.02, String(difference));
  checkpoint.close();
});

Deno.test("weights one at a time: the bytes of a block at once, within less memory", async () => {
  const idle = testPlugin("idle", { compensate: () => ({}) });
  using lowbit = bench(idle);
  const [alone, whole] = [recipeOf(["rtn"]), recipeOf(["rtn", "idle"])];
  using first = await run(lowbit, alone);
  using second = await run(lowbit, whole);
  const stored = async ({ model }: typeof first) => {
    const read = [...model.tensors.values()].map((tensor) => tensor.read());
    return await Promise.all(read);
  };
  assertEquals(await stored(first), await stored(second));
  assert(first.plan.memory_bytes < second.plan.memory_bytes);
});
