/** Every sensible pair of methods on the shipped model, for a few windows, and some longer chains. */

import { assert, assertEquals, assertLess, assertRejects } from "@std/assert";
import { embeddedPath } from "../embedded/mod.ts";
import { memoryOutput } from "../formats/containers/output.ts";
import { memorySource } from "../formats/containers/source.ts";
import { PLUGINS } from "../plugins/mod.ts";
import { LowbitError, type Plugin, recipeSchema } from "../spec/mod.ts";
import { createWorkbench } from "../workbench.ts";

const lowbit = await createWorkbench();
const model = await lowbit.open(embeddedPath("model"));
const cut = (name: "calibration.txt" | "evaluation.txt", count: number) =>
  lowbit.windows(model, Deno.readTextFileSync(embeddedPath(name)), { length: 128, count });
const calibration = cut("calibration.txt", 6);
const windows = cut("evaluation.txt", 2);
const reference = await lowbit.stream(model, windows);

/** Options that make searches short. */
const SMALL: Record<string, Record<string, unknown>> = {
  awq: { grid: 5 },
  "os-plus": { grid: 5, sample: 64 },
  lqer: { rank: 16, iterations: 3 },
};

/** The divergence of a chain of methods: 4-bit weights and 8-bit activations in one of the blocks. */
async function divergence(steps: readonly string[], weight = "int4_g64_asym"): Promise<number> {
  const recipe = recipeSchema.parse({
    name: "chain",
    assign: [{ select: ["blocks.1.*"], weight, activation: "int8_token" }],
    pipeline: steps.map((use) => ({ use, options: SMALL[use] ?? {} })),
  });
  const out = memoryOutput("out");
  const { receipt } = await lowbit.quantize({ model, recipe, out, calibration });
  assertEquals(receipt.warnings, []);
  assertEquals(receipt.plugins.map(({ name }) => name), steps);
  const files = [...out.files].map(([name, bytes]) => memorySource(name, bytes));
  const quantized = await lowbit.open(files);
  const { kl } = await lowbit.evaluate({ model: quantized, windows, reference });
  quantized.close();
  return kl;
}

const transforms = PLUGINS.filter((plugin) => plugin.transform || plugin.transformModel)
  .filter((plugin) => !plugin.compensate);
const quantizers = PLUGINS.filter((plugin) => plugin.quantize);
const vectorQuantizers = PLUGINS.filter((plugin) => plugin.quantizeVector && !plugin.quantize);
const compensations = PLUGINS.filter((plugin) => plugin.compensate);

/** Whether the plugins may stand in one pipeline in this order. */
function fits(chain: readonly Plugin[]): boolean {
  return chain.every(({ meta: { conflicts = [], after = [] } }, i) =>
    chain.every(({ meta: { name } }, j) =>
      i === j || !conflicts.includes(name) && (j < i || !after.includes(name))
    )
  );
}

/** How much worse than rounding to nearest a chain may be, on so few windows. */
const SLACK = 1.5;

const plain = await divergence(["rtn"]);

Deno.test("matrix: rounding alone is far from exact, and not lost", () => {
  assert(plain > 1e-4 && plain < 0.1, String(plain));
});

for (const quantizer of quantizers) {
  const others = [...transforms, ...compensations];
  for (const other of others) {
    const chain = transforms.includes(other) ? [other, quantizer] : [quantizer, other];
    const names = chain.map(({ meta }) => meta.name);
    Deno.test(`matrix: ${names.join(", ")}`, async () => {
      assert(fits(chain));
      assertLess(await divergence(names), SLACK * plain);
    });
  }
}

for (const quantizer of vectorQuantizers) {
  for (const other of transforms) {
    const names = [other.meta.name, quantizer.meta.name];
    Deno.test(`matrix: ${names.join(", ")}`, async () => {
      assert(fits([other, quantizer]));
      assertLess(await divergence(names, "lut4_channel"), SLACK * plain);
    });
  }
}

/** Schemes that every quantiser can be asked for; those that it does not support are refused. */
const SCHEMES = [
  ...["int4_channel_sym", "int4_g32_sym", "int4_g64_float_zero", "nf4_b64", "mxfp4", "q4_0"],
  ...["q4_k", "nvfp4_ct", "int8_channel_asym"],
];

for (const quantizer of quantizers) {
  Deno.test(`matrix: ${quantizer.meta.name} in every scheme that it supports`, async () => {
    const { meta: { name, supports } } = quantizer;
    let refused = 0;
    for (const id of SCHEMES) {
      const { element, granularity, zero_point } = lowbit.codecs.resolve(id);
      const fine = (!supports.families || supports.families.includes(element.family)) &&
        (!supports.granularities || supports.granularities.includes(granularity.kind)) &&
        (!zero_point || !supports.zeroPoints || supports.zeroPoints.includes(zero_point.kind)) &&
        (zero_point !== undefined || supports.symmetric !== false);
      if (fine) assertLess(await divergence([name], id), 4 * plain, id);
      else {
        refused++;
        await assertRejects(() => divergence([name], id), LowbitError, "does not support");
      }
    }
    assertEquals(refused === 0, name === "rtn" || name === "llm-int8");
  });
}

for (const [i, first] of transforms.entries()) {
  for (const second of transforms.slice(i + 1)) {
    const rtn = quantizers.find(({ meta }) => meta.name === "rtn")!;
    const chain = [first, second, rtn];
    if (!fits(chain)) continue;
    const names = chain.map(({ meta }) => meta.name);
    Deno.test(`matrix: ${names.join(", ")}`, async () => {
      assertLess(await divergence(names), SLACK * plain);
    });
  }
}

Deno.test("matrix: quarot, gptq, lqer, each step better than the one before", async () => {
  const [rtn, gptq, lqer] = [
    await divergence(["quarot", "rtn"]),
    await divergence(["quarot", "gptq"]),
    await divergence(["quarot", "gptq", "lqer"]),
  ];
  assertLess(gptq, rtn);
  assertLess(lqer, gptq);
  assertLess(
    await divergence(["quarot", "smoothquant", "awq", "gptq", "lqer", "bias-correction"]),
    gptq,
  );
});
