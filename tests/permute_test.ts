/** Reordered channels: the function stays, what is written is reordered, and statistics follow. */

import { assert, assertEquals, assertLess, assertRejects } from "@std/assert";
import { permuteRows } from "../models/rows.ts";
import { type InputStatistics, LowbitError, type Plugin, type TransformOp } from "../spec/mod.ts";
import { testPlugin as inspect } from "../testing/mod.ts";
import { bench, figures, recipeOf, run, testPlugin } from "./engine_bench.ts";
import { TIED, UNTIED } from "./temporary.ts";

const ARCHITECTURES = `${import.meta.dirname}/golden/architectures`;

/** Reordering alone: what is left in the output is what it did. */
const alone = (use: string) =>
  recipeOf([], {
    assign: [{ select: ["blocks.*"], activation: "int8_token" }],
    pipeline: [{ use }] as never[],
  });

const reversed = (n: number) => Uint32Array.from({ length: n }, (_, i) => n - 1 - i);

/** Channels of every head in reverse, in all heads alike. */
const reversedHeads = (columns: number, size: number) =>
  Uint32Array.from({ length: columns }, (_, i) => i - i % size + size - 1 - i % size);

/** A plugin that reorders the edges that it is asked for. */
const ordering = (
  wanted: (edge: { id: string }) => boolean,
  more: Partial<Plugin> = {},
): Plugin =>
  testPlugin("ordering", {
    transform: ({ block }) =>
      block.edges.filter(wanted).map((edge): TransformOp => {
        const { columns } = block.linears.find(({ role }) => role === edge.to[0])!;
        const { head_size: size } = block.hyperparameters;
        const order = edge.shared_heads ? reversedHeads(columns, size) : reversed(columns);
        return { op: "permute", edge: edge.id, order };
      }),
    ...more,
  });

const linearEdges = ({ id }: { id: string }) =>
  id.endsWith(".down.input") || id.endsWith("output.input");

for (
  const from of [
    UNTIED,
    TIED,
    ...["llama3", "qwen2", "gemma", "mixtral", "qwen2-moe", "olmo2"].map((name) =>
      `${ARCHITECTURES}/${name}`
    ),
  ]
) {
  Deno.test(`permute: the function stays: ${from.split("/").at(-1)}`, async () => {
    using lowbit = bench(ordering(linearEdges));
    using result = await run(lowbit, alone("ordering"), { from });
    const exact = { ...result.model, activations: undefined };
    assertLess((await figures(lowbit, exact, from)).kl, 1e-7);
    const source = await lowbit.open(from);
    let moved = 0;
    for (const [name, tensor] of source.tensors) {
      const [a, b] = [await tensor.read(), await result.model.tensors.get(name)!.read()];
      if (a.length === b.length && a.some((value, i) => value !== b[i])) moved++;
    }
    source.close();
    assert(moved >= 3, `${moved} tensors changed`);
  });
}

Deno.test("permute: rows of gate and up and columns of down are in the new order", async () => {
  using lowbit = bench(ordering(({ id }) => id === "mlp.down.input"));
  using result = await run(lowbit, alone("ordering"));
  const source = await lowbit.open(UNTIED);
  for (const part of ["gate_proj", "up_proj"]) {
    const name = `model.layers.1.mlp.${part}.weight`;
    const before = await source.tensors.get(name)!.read();
    const order = reversed(source.tensors.get(name)!.shape[0]);
    assertEquals(await result.model.tensors.get(name)!.read(), permuteRows(before, order));
  }
  source.close();
});

Deno.test("permute: statistics are those that would be collected again", async () => {
  const seen: InputStatistics[] = [];
  const notes = (name: string, dropped: boolean) =>
    testPlugin(name, {
      ...(dropped && {
        collect: () => ({ add() {}, merge() {}, value: () => 0 }),
      }),
      quantize({ linear, weight, codec, statistics }) {
        if (linear.role === "mlp.down" && linear.block === 0) seen.push(statistics);
        return codec.quantize(weight, linear.rows, linear.columns);
      },
    }, { needs: { statistics: ["gram", "abs_max", "moments"] } });
  const needy = ordering(linearEdges, {});
  needy.meta.needs = { statistics: ["gram"] };
  for (const dropped of [false, true]) {
    using lowbit = bench(needy, notes("notes", dropped));
    using _ = await run(lowbit, recipeOf(["ordering", "notes"]));
  }
  const [followed, again] = seen;
  // The original linears are multiplied in another order of rows, so last bits differ.
  for (const key of ["absMax", "absMean", "min", "max", "mean", "gram"] as const) {
    const [a, b] = [followed, again].map((seen) => Array.from(seen[key]!));
    const largest = b.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    assertEquals(a.length, b.length);
    assert(a.every((value, i) => Math.abs(value - b[i]) <= 1e-5 * largest), key);
  }
});

Deno.test("permute: what cannot be reordered is refused", async () => {
  const refused = async (op: (columns: number) => TransformOp, problem: string) => {
    using lowbit = bench(testPlugin("wrong", {
      transform: (
        { block },
      ) => [op(block.linears.find(({ role }) => role === "mlp.down")!.columns)],
    }));
    await assertRejects(() => run(lowbit, alone("wrong")), LowbitError, problem);
  };
  const edge = "mlp.down.input";
  const repeated = (n: number): TransformOp => ({ op: "permute", edge, order: new Uint32Array(n) });
  await refused(repeated, "needs an order of");
  await refused(
    () => ({ op: "permute", edge: "mlp.input", order: reversed(16) }),
    "cannot reorder mlp.input: rms_norm of mlp.input reads or makes it",
  );
  await refused(
    () => ({ op: "permute", edge: "attention.output.input", order: reversed(32) }),
    "must keep the channels of attention.output.input in their head",
  );
});

Deno.test("permute: a plugin of it passes the kit", async () => {
  await inspect(ordering(linearEdges));
});
