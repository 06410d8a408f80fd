/** What runs hold of the kernels' memory: nothing that grows from one run to the next. */

import { assert, assertEquals } from "@std/assert";
import { embeddedPath } from "../embedded/mod.ts";
import { memoryOutput } from "../formats/containers/output.ts";
import { memorySource } from "../formats/containers/source.ts";
import { createWorkbench } from "../workbench.ts";

const RECIPES = ["rtn-w8a8", "gptq-w4g64"];

Deno.test("memory held and its most stay the same over runs of one process", async () => {
  using lowbit = await createWorkbench({ threads: 1 });
  const text = await Deno.readTextFile(embeddedPath("evaluation.txt"));
  const round = async () => {
    for (const recipe of RECIPES) {
      const source = await lowbit.open("embedded");
      const windows = lowbit.windows(source, text, { length: 16, count: 2 });
      const out = memoryOutput("out");
      await lowbit.quantize({ model: source, recipe, out, calibration: windows });
      const model = await lowbit.open(
        [...out.files].map(([name, bytes]) => memorySource(name, bytes)),
      );
      await lowbit.evaluate({ model, windows, reference: source });
      for await (const _ of lowbit.generate({ model, prompt: "The", tokens: 3 })) {
        /* to its end */
      }
      // A reader that stops early gives the model back as well.
      for await (const _ of lowbit.generate({ model, prompt: "The", tokens: 3 })) {
        break;
      }
      model.close();
      source.close();
    }
    return lowbit.kernels.memory();
  };
  const first = await round(); // the scratch of the kernels has its size then
  assert(first.bytes < first.peak, "nothing was given back");
  for (let again = 0; again < 2; again++) assertEquals(await round(), first);
});
