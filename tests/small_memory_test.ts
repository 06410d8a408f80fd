/** Models that do not fit the memory of the kernels: 4 GiB for users, less here. */

import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { embeddedPath } from "../embedded/mod.ts";
import { loadSmallKernels } from "../kernels-wasm/_scalar.ts";
import { loadKernels } from "../kernels-wasm/mod.ts";
import { outOfMemory } from "../models/out_of_memory.ts";
import { LowbitError } from "../spec/errors.ts";
import { Workbench } from "../workbench.ts";

const PROMPT = "Once upon a time";

/** Text of a workbench whose kernels end at so many MiB. */
async function generate(lowbit: Workbench, tokens: number): Promise<string> {
  const model = await lowbit.open(embeddedPath("model"));
  using _close = { [Symbol.dispose]: () => model.close() };
  let text = "";
  for await (const piece of lowbit.generate({ model, prompt: PROMPT, tokens })) text += piece;
  return text;
}

Deno.test("generate ends with MEMORY and an advice wherever memory ends, or gives its text", async () => {
  const whole = await generate(new Workbench(await loadKernels(), {}), 8);
  let [refused, fine] = [0, 0];
  for (let mebibytes = 5; mebibytes <= 24; mebibytes++) {
    const kernels = await loadSmallKernels(mebibytes);
    try {
      assertEquals(await generate(new Workbench(kernels, {}), 8), whole);
      fine++;
    } catch (error) {
      assert(error instanceof LowbitError, String(error));
      assertEquals(error.code, "MEMORY");
      assertMatch(error.line(), /model.*(no more fit|no room left).*; (take fewer bits|shorten)/);
      refused++;
    }
  }
  assert(refused > 5 && fine > 2, `${refused} refused, ${fine} not`);
});

Deno.test("a prompt whose cache does not fit is refused, and a shorter one is not", async () => {
  const kernels = await loadSmallKernels(20);
  const lowbit = new Workbench(kernels, {});
  const model = await lowbit.open(embeddedPath("model"));
  using _close = { [Symbol.dispose]: () => model.close() };
  const refused = async () => {
    const long = lowbit.generate({ model, prompt: `${PROMPT} `.repeat(60), tokens: 1 });
    const error = await assertRejects(() => Array.fromAsync(long), LowbitError);
    assertEquals(error.code, "MEMORY");
    assertMatch(error.message, /has no room left after \d+ tokens; shorten the prompt/);
    return kernels.memory().bytes;
  };
  assertEquals(await refused(), await refused()); // scratch stays, nothing else
  await generate(lowbit, 2);
});

Deno.test("evaluation, which holds one block at a time, fits where the model does not", async () => {
  const kernels = await loadSmallKernels(14);
  const lowbit = new Workbench(kernels, {});
  await assertRejects(() => generate(lowbit, 1), LowbitError, "no more fit");
  const model = await lowbit.open(embeddedPath("model"));
  using _close = { [Symbol.dispose]: () => model.close() };
  const windows = lowbit.windows(model, PROMPT.repeat(8), { length: 16 });
  await lowbit.evaluate({ model, windows });
});

Deno.test("arrays that the engine refuses are MEMORY too, other errors stay what they are", () => {
  const place = { file: "model", problem: "is too large", advice: "take fewer bits" };
  const thrown = (run: () => unknown) => {
    try {
      run();
    } catch (error) {
      return outOfMemory(error, place);
    }
  };
  for (const length of [2 ** 53, 2 ** 40, -1]) {
    const error = thrown(() => new Float32Array(length)) as LowbitError;
    assertEquals([error.code, error.advice], ["MEMORY", "take fewer bits"], `${length}`);
  }
  for (const error of [new RangeError("Maximum call stack size exceeded"), new Error("alloc")]) {
    assertEquals(outOfMemory(error, place), error);
  }
  const shape = new LowbitError("SHAPE", "has 3 dimensions");
  assertEquals(outOfMemory(shape, place), shape);
});
