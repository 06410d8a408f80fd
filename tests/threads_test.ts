/** Whole runs by each kind of method: the same files with 1, 2, 3 and 5 threads. */

import { assert, assertEquals } from "@std/assert";
import { hashBytes } from "../engine/hash.ts";
import { embeddedPath } from "../embedded/mod.ts";
import { memoryOutput } from "../formats/containers/output.ts";
import { recipeSchema } from "../spec/mod.ts";
import { createWorkbench } from "../workbench.ts";

/** Methods, with options that make searches short; large enough to be split among threads. */
const METHODS: Record<string, { weight?: unknown; steps: [string, unknown?][] }> = {
  gptq: { steps: [["gptq"]] },
  "gptq, groups as they come": { steps: [["gptq", { act_order: false }]] },
  awq: { steps: [["awq", { grid: 4 }], ["rtn"]] },
  hqq: { steps: [["hqq"]] },
  spqr: { steps: [["spqr"]] },
  quip: { weight: "int4_channel_asym", steps: [["quip"]] },
  omniquant: { steps: [["rtn"], ["omniquant", { epochs: 2, batch: 1 }]] },
  "quarot, gptq, lqer": { steps: [["quarot"], ["gptq"], ["lqer", { rank: 8 }]] },
};

for (const [name, { weight = "int4_g64_asym", steps }] of Object.entries(METHODS)) {
  Deno.test(`threads: the same bytes for 1, 2, 3 and 5: ${name}`, async () => {
    const recipe = recipeSchema.parse({
      name: "threads",
      assign: [{ select: ["blocks.1.*"], weight }],
      pipeline: steps.map(([use, options = {}]) => ({ use, options })),
    });
    const made: string[] = [];
    for (const threads of [1, 2, 3, 5]) {
      using lowbit = await createWorkbench({ threads });
      assertEquals(lowbit.kernels.threads, threads);
      const model = await lowbit.open("embedded");
      const text = Deno.readTextFileSync(embeddedPath("calibration.txt"));
      const calibration = lowbit.windows(model, text, { length: 128, count: 2 });
      const out = memoryOutput("out");
      const { receipt } = await lowbit.quantize({ model, recipe, out, calibration });
      assert(receipt.tensors.some(({ plugin }) => plugin !== undefined));
      made.push(hashBytes(out.files.get("model.safetensors")!));
      model.close();
    }
    assertEquals(new Set(made).size, 1, made.join(" "));
  });
}
