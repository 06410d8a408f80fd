/** Mixtures of GGUF types beside llama.cpp's own quantiser (tools/golden/mixtures.py). */

import { assert, assertEquals } from "@std/assert";
import { resolveScheme } from "../formats/lookup.ts";
import { blockType } from "../formats/dialects/ggml_coded.ts";
import { memoryOutput } from "../formats/containers/output.ts";
import { memorySource } from "../formats/containers/source.ts";
import { presetRecipe } from "../recipes/mod.ts";
import { inBlocks } from "../spec/mod.ts";
import { createWorkbench } from "../workbench.ts";
import golden from "./golden/ggml/mixtures.json" with { type: "json" };

/** How much larger the error of a tensor may be than llama.cpp's. */
const SLACK = 1.02;

const PLAIN: Record<string, string> = { float32: "F32", float16: "F16", bfloat16: "BF16" };

Deno.test("mixtures: each tensor has the type that llama.cpp gives it, and no larger error", async () => {
  using lowbit = await createWorkbench({ threads: 2 });
  const checkpoint = await lowbit.open("embedded");
  for (const [name, types] of Object.entries(golden.types)) {
    const { tensors } = await lowbit.convert({ checkpoint, to: `gguf:${name}` });
    const ours = Object.fromEntries(
      tensors.map(({ name, to }) => [name, PLAIN[to] ?? blockType(resolveScheme(to))]),
    );
    assertEquals(ours, types, name);
    const errors = golden.errors[name as keyof typeof golden.errors] as Record<string, number>;
    for (const { name: tensor, relative_error } of tensors) {
      const theirs = errors[tensor];
      if (theirs === undefined) continue;
      assert(
        relative_error <= theirs * SLACK,
        `${name} ${tensor}: ${relative_error} instead of ${theirs}`,
      );
    }
  }
  checkpoint.close();
});

Deno.test("mixtures: quantising by the preset of the name gives the same bytes as converting", async () => {
  using lowbit = await createWorkbench({ threads: 2 });
  const model = await lowbit.open("embedded");
  for (const name of Object.keys(golden.types)) {
    const planned = lowbit.plan({ model, recipe: `ggml-${name.toLowerCase()}`, to: "gguf" });
    assertEquals(planned.conflicts, [], name);
    const ours = Object.fromEntries(
      planned.tensors.map(({ name, scheme }) => [
        name,
        PLAIN[scheme] ?? blockType(resolveScheme(scheme)),
      ]),
    );
    const types = golden.types[name as keyof typeof golden.types];
    // What has no scheme keeps the type of the checkpoint.
    assertEquals(ours, { ...ours, ...quantised(types) }, name);
    assertEquals(Object.keys(ours).sort(), Object.keys(types).sort());
  }
  const [a, b] = [memoryOutput("a.gguf"), memoryOutput("b.gguf")];
  await lowbit.quantize({ model, recipe: "ggml-q4_k_m", to: "gguf", out: a });
  await lowbit.convert({ checkpoint: model, to: "gguf:Q4_K_M", lossy: true, out: b });
  const [first, second] = await Promise.all(
    [a, b].map(({ files }) => lowbit.open([memorySource("m.gguf", files.values().next().value!)])),
  );
  for (const [name, tensor] of first.tensors) {
    assertEquals(await tensor.raw(), await second.tensors.get(name)!.raw(), name);
  }
  model.close();
});

Deno.test("mixtures: the blocks of a rule are those of llama.cpp, for any number of blocks", () => {
  const { blocks } = presetRecipe("ggml-q4_k_m").assign.find(({ blocks }) => blocks)!;
  for (let n = 1; n <= 100; n++) {
    const eighth = Math.floor(n / 8);
    for (let i = 0; i < n; i++) {
      const more = i < eighth || i >= Math.floor(7 * n / 8) || (i - eighth) % 3 === 2;
      assertEquals(inBlocks(blocks!, i, n), more, `${i} of ${n}`);
    }
  }
});

/** The types of blocks; plain ones depend on the source. */
function quantised(types: Record<string, string>): Record<string, string> {
  const plain = new Set(Object.values(PLAIN));
  return Object.fromEntries(Object.entries(types).filter(([, type]) => !plain.has(type)));
}
