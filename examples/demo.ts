/**
 * The main job on the shipped model: load, calibrate, quantise by several recipes, export, evaluate,
 * and print one table. `deno task demo`
 *
 * @module
 */

import { progressView, writeLine } from "../cli/progress.ts";
import { formatBytes, table } from "../cli/table.ts";
import { Arguments } from "../cli/arguments.ts";
import { createWorkbench, embeddedPath } from "../mod.ts";

const RECIPES = [
  "rtn-w8",
  "smoothquant-w8a8",
  "rtn-w4g64",
  "gptq-w4g128",
  "nf4-g64",
  "mxfp4",
  "rtn-w3g64",
  "gptq-w3g64",
];
const WINDOWS = 24;

const view = progressView(new Arguments([], new Map()));
using lowbit = await createWorkbench({ threads: 0, onEvent: view.onEvent });
const model = await lowbit.open("embedded");
const text = await Deno.readTextFile(embeddedPath("evaluation.txt"));
const windows = lowbit.windows(model, text, { length: 256, count: WINDOWS, spread: true });

using reference = await lowbit.stream(model, windows);
const full = await lowbit.evaluate({ model, windows, reference });
const bytes = [...model.tensors.values()].reduce((sum, tensor) => sum + tensor.bytes, 0);
const rows = [[
  "bfloat16",
  "16.000",
  formatBytes(bytes),
  full.perplexity.toFixed(3),
  "0",
  "1",
  "-",
]];

await Deno.mkdir("out", { recursive: true });
for (const recipe of RECIPES) {
  const started = performance.now();
  const out = `out/${recipe}`;
  const { plan } = await lowbit.quantize({ model, recipe, out, overwrite: true });
  const seconds = (performance.now() - started) / 1000;
  const quantized = await lowbit.open(out);
  const score = await lowbit.evaluate({ model: quantized, windows, reference });
  quantized.close();
  rows.push([
    recipe,
    plan.bits_per_weight.toFixed(3),
    formatBytes(plan.bytes),
    score.perplexity.toFixed(3),
    score.kl.toFixed(4),
    score.top1_agreement.toFixed(3),
    seconds.toFixed(1),
  ]);
}
model.close();
view.close();

writeLine(
  table(
    ["recipe", "bits a weight", "size", "perplexity", "KL", "top-1 agreement", "seconds"],
    rows,
  ),
);
writeLine(
  `${full.tokens} predictions of held-out text; KL in nats to the full-precision model. ` +
    "The checkpoints are in out/.",
);
