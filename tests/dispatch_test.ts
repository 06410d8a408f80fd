/** Ways to the same bits, and the table that picks among them. */

import { assert, assertEquals } from "@std/assert";
import { dispatched, fastestPath, type IntegerPath } from "../engine/dispatch.ts";
import { FASTEST } from "../engine/dispatch_table.ts";
import { integerExecutor } from "../engine/executor.ts";
import { planeExecutor } from "../engine/plane_product.ts";
import { embeddedPath } from "../embedded/mod.ts";
import { Random } from "../kernels-wasm/_cases.ts";
import { loadKernels, referenceKernels } from "../kernels-wasm/mod.ts";
import { tiling } from "../spec/granularity.ts";
import type { Kernels, PackedWeightArguments } from "../spec/kernels.ts";
import { recipeSchema } from "../spec/recipe.ts";
import { Workbench } from "../workbench.ts";
import { temporary } from "./temporary.ts";

const wasm = await loadKernels();
const PATHS: IntegerPath[] = ["product", "planes"];

/** A weight with a scale a row, or one for all; codes from 0, centred or in two's complement. */
function weight(random: Random, bits: number): PackedWeightArguments {
  const [rows, columns] = [random.int(1, 40), random.int(1, 150)];
  const length = 1 << bits;
  const kind = random.of(["channel", "tensor"] as const);
  const t = tiling({ kind }, rows, columns);
  const tiles = t.gridRows * t.gridColumns;
  const table = random.of([
    (i: number) => i,
    (i: number) => i - length / 2,
    (i: number) => i < length / 2 ? i : i - length,
    ...(bits < 8 ? [(i: number) => 2 * i - length + 1] : []), // -1 and 1 for one bit
  ]);
  return {
    tiling: t,
    bits,
    bytes: random.codes(rows * Math.ceil(columns * bits / 8), 256),
    table: Float32Array.from({ length }, (_, i) => Math.floor(table(i))),
    scales: random.scales(tiles).map((scale) => random.int(0, 5) ? scale : -scale),
    zeros: random.int(0, 2) ? undefined : new Float32Array(tiles),
  };
}

/** The kernels, which write down what integer products they are asked for. */
function watched(taken: string[]): Kernels {
  return new Proxy(wasm, {
    get(target, name) {
      const value = target[name as "linear"];
      if (typeof value !== "function") return value;
      if (/^(integerLinear|linearPlanesInt)$/.test(name as string)) taken.push(name as string);
      return value.bind(target);
    },
  });
}

function inputs(random: Random, length: number, columns: number): Float32Array {
  const x = random.floats(length, random.of([1, 1e-4, 1e30]));
  if (random.int(0, 3) === 0) x.fill(random.of([0, NaN, Infinity, 1e-40]), 0, columns);
  return x;
}

Deno.test("every row of the table names a way, and all ways give the same bits", () => {
  assertEquals(new Set(FASTEST.map(({ bits }) => bits)), new Set([1, 2, 3, 4]));
  for (const { bits, tokens, path } of FASTEST) {
    assert(PATHS.includes(path), path);
    assertEquals(fastestPath(bits, tokens), path);
    for (let seed = 0; seed < 12; seed++) {
      const random = new Random(1000 * bits + 20 * tokens + seed);
      const packed = weight(random, bits);
      const { columns } = packed.tiling;
      const data = inputs(random, tokens * columns, columns);
      const results = [wasm, referenceKernels()].flatMap((kernels) => {
        using x = kernels.upload(data);
        using product = integerExecutor(kernels, packed, "int8")!;
        using planes = planeExecutor(kernels, packed)!;
        return [product, planes].map((executor) => {
          using y = executor.apply(x, tokens);
          return y.array.slice();
        });
      });
      for (const result of results) assertEquals(result, results[0], `${bits} bits, ${tokens}`);
    }
  }
});

Deno.test("tokens between two rows take the way of the row below", () => {
  for (const bits of new Set(FASTEST.map((row) => row.bits))) {
    const rows = FASTEST.filter((row) => row.bits === bits);
    assertEquals(rows.map(({ tokens }) => tokens), [1, 2, 4, 8, 32]);
    assertEquals(fastestPath(bits, 1000), rows.at(-1)!.path);
    assertEquals(fastestPath(bits, 3), rows[1].path);
  }
  assertEquals(fastestPath(8, 1), "product");
});

Deno.test("the dispatcher takes the way of the table", () => {
  for (const bits of [1, 4, 8]) {
    const packed = weight(new Random(bits), bits);
    const named = FASTEST.some((row) => row.bits === bits && row.path === "planes");
    const taken: string[] = [];
    const spy = watched(taken);
    const before = wasm.memory().bytes;
    using executor = dispatched(spy, packed, integerExecutor(spy, packed, "int8")!);
    assertEquals(executor.bytes, wasm.memory().bytes - before);
    const counts = [1, 2, 4, 8, 32];
    for (const tokens of counts) {
      using x = wasm.upload(new Float32Array(tokens * packed.tiling.columns).fill(1));
      executor.apply(x, tokens).free();
    }
    const kernel = { product: "integerLinear", planes: "linearPlanesInt" };
    assertEquals(
      taken,
      counts.map((tokens) => kernel[named ? fastestPath(bits, tokens) : "product"]),
    );
  }
});

Deno.test("weights that are no sum over bits, or have several scales a row, have one way", () => {
  const base = { bits: 2, bytes: new Uint8Array(4), table: Float32Array.of(-2, -1, 0, 1) };
  const t = tiling({ kind: "channel" }, 2, 8);
  const scales = Float32Array.of(1, 2);
  const none = (more: Partial<PackedWeightArguments>) =>
    assertEquals(planeExecutor(wasm, { ...base, tiling: t, scales, ...more }), undefined);
  none({ table: Float32Array.of(0, 1, 2, 4) });
  none({ table: Float32Array.of(0, 0.5, 1, 1.5) });
  none({ zeros: Float32Array.of(0, 1) });
  none({ minimums: scales });
  none({ tiling: tiling({ kind: "group", size: 4 }, 2, 8), scales: new Float32Array(4).fill(1) });
});

Deno.test("a model of one bit and one scale a row goes by planes, token by token", async () => {
  using folder = temporary();
  const taken: string[] = [];
  const lowbit = new Workbench(watched(taken), {});
  const model = await lowbit.open(embeddedPath("model"));
  const scheme = { base: "q1_0", granularity: { kind: "channel" }, tail: "short" };
  const recipe = recipeSchema.parse({
    ...{ name: "one-bit", summary: "signs, a scale a row" },
    ...{ assign: [{ select: ["blocks.*"], weight: scheme }], pipeline: [{ use: "rtn" }] },
  });
  await lowbit.quantize({ model, recipe, to: "lowbit", out: folder.at("one") });
  model.close();
  const one = await lowbit.open(folder.at("one"));
  const options = { model: one, prompt: "Once upon a time", tokens: 4 };
  const pieces = lowbit.generate({ ...options, activations: "int8" });
  await Array.fromAsync(pieces);
  one.close();
  const linears = 28;
  const expected = fastestPath(1, 1) === "planes" ? 3 * linears : 0;
  assertEquals(taken.filter((name) => name === "linearPlanesInt").length, expected);
  assertEquals(taken.length, 4 * linears);
});
