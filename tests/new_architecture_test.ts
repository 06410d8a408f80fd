/** Runs the snippets of docs/new-architecture.md on a checkpoint of the family that it adds. */

import { assertLess } from "@std/assert";
import { largestDifference } from "./models_bench.ts";
import { ROOT } from "./process.ts";
import { temporary } from "./temporary.ts";

/** The only block of a kind. */
function block(markdown: string, kind: string): string {
  return new RegExp(`\`\`\`${kind}\n(.*?)\`\`\``, "s").exec(markdown)![1];
}

Deno.test("docs/new-architecture.md: the family is read and its logits are those of Qwen3", async () => {
  const text = await Deno.readTextFile(`${ROOT}/docs/new-architecture.md`);
  const code = block(text, "ts").replaceAll('"../', `"file://${ROOT}/`)
    .replace('"@std/yaml"', `"file://${ROOT}/std/yaml.ts"`);
  using folder = temporary();
  // The family of the text is Qwen3 under another name.
  const source = `${ROOT}/tests/golden/architectures/qwen3`;
  const golden = JSON.parse(await Deno.readTextFile(`${source}/expected.json`));
  const config = JSON.parse(await Deno.readTextFile(`${source}/config.json`));
  folder.text("config.json", JSON.stringify({ ...config, model_type: "normed" }));
  await Deno.copyFile(`${source}/model.safetensors`, folder.at("model.safetensors"));
  const { logits } = await import(`file://${folder.text("try.ts", code)}`);
  const made = await logits(block(text, "yaml"), folder.path, golden.ids);
  assertLess(largestDifference(made, golden.logits), 1e-3);
});
