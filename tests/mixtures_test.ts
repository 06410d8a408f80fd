/** Mixtures of GGUF types beside llama.cpp's own quantiser (tools/golden/mixtures.py). */

import { assert, assertEquals } from "@std/assert";
import { resolveScheme } from "../formats/lookup.ts";
import { blockType } from "../formats/dialects/ggml_coded.ts";
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
