/** Static scales of activations: calibrated, stored, and used when the model is run. */

import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { Coverage, refuseConstant } from "../engine/coverage.ts";
import { staticScales } from "../engine/static_scales.ts";
import { LowbitError } from "../spec/mod.ts";
import { bench, figures, recipeOf, run, testPlugin } from "./engine_bench.ts";

const assign = (activation: unknown) => [
  { select: ["blocks.*"], weight: "int8_channel_sym", activation },
];

for (const to of ["lowbit", "compressed-tensors"]) {
  Deno.test(`static int8: the largest input over 127, in ${to}, and in use`, async () => {
    const largest = new Map<string, number>();
    const plugin = testPlugin("watcher", {
      collect: ({ linear }) => ({
        add(x) {
          const key = `${linear.block} ${linear.input}`;
          const most = Math.max(...[...x.array].map(Math.abs));
          largest.set(key, Math.max(largest.get(key) ?? 0, most));
        },
        merge() {},
        value: () => undefined,
      }),
    });
    const lowbit = bench(plugin);
    const recipe = recipeOf(["watcher", "rtn"], { assign: assign("int8_tensor_static") });
    using result = await run(lowbit, recipe, { to });
    let checked = 0;
    for (const [name, tensor] of result.model.tensors) {
      if (tensor.storage.kind !== "coded") continue;
      assertEquals(result.model.activations!.get(name)!.id, "int8_tensor_static");
      const { input } = await tensor.quantized();
      assert([...largest.values()].some((x) => Math.fround(x / 127) === input!.scales[0]), name);
      checked++;
    }
    assertEquals(checked, 14);
    const score = await figures(lowbit, result.model);
    using dynamic = await run(lowbit, recipeOf(["rtn"], { assign: assign("int8_token") }), { to });
    const other = await figures(lowbit, dynamic.model);
    assert(score.kl > 0 && score.kl < 0.01, `${score.kl}`);
    assert(score.kl !== other.kl);
    assertAlmostEquals(score.perplexity, other.perplexity, 0.05 * other.perplexity);
  });
}

Deno.test("static fp8 and asymmetric int8 read back, and both propagations use them", async () => {
  const lowbit = bench();
  for (
    const activation of [
      { base: "fp8_tensor", timing: "static" },
      {
        id: "uint8_static",
        summary: "asymmetric",
        element: "uint8",
        granularity: { kind: "tensor" },
        zero_point: { kind: "int" },
        scale: { rule: "minmax", format: "float32" },
        timing: "static",
      },
    ]
  ) {
    for (const propagate of ["original", "quantized"]) {
      const recipe = recipeOf(["rtn"], { assign: assign(activation), propagate });
      using result = await run(lowbit, recipe);
      const { kl } = await figures(lowbit, result.model);
      assert(kl > 0 && kl < 0.05, `${JSON.stringify(activation)}: ${kl}`);
    }
  }
});

const LINEAR = {
  id: "blocks.0.mlp.experts.3.up",
  role: "mlp.experts.3.up",
  block: 0,
  rows: 2,
  columns: 2,
  input: "x",
};

Deno.test("static scales of what calibration never reached, or of constants, are refused", () => {
  const { codecs } = bench();
  const scheme = codecs.resolve("int8_tensor_static");
  const statistics = (min: number, max: number, tokens: number) => ({
    columns: 2,
    tokens,
    custom: new Map(),
    min: Float32Array.of(min, min),
    max: Float32Array.of(max, max),
  });
  const scales = (...args: [number, number, number]) =>
    staticScales(codecs, scheme, statistics(...args), LINEAR)?.scales[0];
  assertEquals(scales(-254, 10, 3), 2);
  assertThrows(() => scales(Infinity, -Infinity, 0), LowbitError, "was never reached");
  assertThrows(() => scales(0, 0, 3), LowbitError, "its inputs are all 0");
  assertEquals(
    staticScales(codecs, codecs.resolve("int8_token"), statistics(0, 0, 0), LINEAR),
    undefined,
  );
});

Deno.test("coverage: experts that see too few rows are told, and counted", () => {
  const calibration = { samples: 3, length: 24, least_rows: 10 };
  const coverage = new Coverage(calibration, 72);
  const note = (id: string, tokens: number) =>
    coverage.note({ ...LINEAR, id }, { columns: 2, tokens, custom: new Map() });
  assertEquals(note("all", 72), undefined);
  assertEquals(note("enough", 10), undefined);
  assertEquals(
    note("few", 9),
    "few: saw 9 of 72 calibration rows, fewer than 10; rounded to nearest",
  );
  assertEquals(["all", "enough", "few"].map((id) => coverage.rows(id)), [undefined, 10, 9]);
  // Without a word from the recipe it is 128.
  const { least_rows: _, ...rest } = calibration;
  const other = new Coverage(rest, 300);
  assert(other.note(LINEAR, { columns: 2, tokens: 127, custom: new Map() }));
  assertEquals(other.note(LINEAR, { columns: 2, tokens: 128, custom: new Map() }), undefined);
});

Deno.test("a weight that is constant is refused", () => {
  assertThrows(() => refuseConstant(new Float32Array(4), LINEAR), LowbitError, "values are 0");
  refuseConstant(Float32Array.of(1, 1, 1, 2), LINEAR);
});
