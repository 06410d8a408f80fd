/**
 * The surveys, tried: statements about quantisation held against figures of a model, each with the
 * command that gives the figures. `deno task findings` writes docs/findings.md.
 *
 * ```sh
 * deno task findings [--model MODEL --ids FILE.json#KEY] [--windows N] [--reduced | --skip-mixed] [--out FILE.md]
 * ```
 *
 * `--reduced` leaves out what is slow on a larger model: recipes that learn or are calibrated again,
 * and the sections on calibration sets and mixed precision; `--skip-mixed` leaves the latter out. A model that is given has a file of its
 * own, docs/findings-NAME.md.
 *
 * @module
 */

import { parseArgs } from "@std/cli";
import { readIds } from "../../cli/inputs.ts";
import { compareRecipes } from "../../compare/run.ts";
import type { Comparison, Entry } from "../../compare/document.ts";
import { watchedWorkbench } from "../../compare/measure.ts";
import { resolveScheme } from "../../formats/lookup.ts";
import { embeddedPath, openModel, presetRecipe, type Recipe, VERSION } from "../../mod.ts";
import { parameterTensor } from "../../models/weights.ts";
import { caches, mixedPrecision, outliers } from "./sections.ts";
import { STATEMENTS } from "./statements.ts";

const args = parseArgs(Deno.args, {
  string: ["model", "ids", "windows", "out"],
  boolean: ["reduced", "skip-mixed"],
});
/** The options that leave something out, as the page repeats them. */
const FLAGS = ["reduced", "skip-mixed"].filter((flag) => args[flag]).map((flag) => ` --${flag}`);
const mixes = !args.reduced && !args["skip-mixed"];
const path = String(args.model ?? "embedded");
const { lowbit, watch } = await watchedWorkbench({ threads: 0 });
const count = Number(args.windows ?? 16);
const name = path.split(/[\\/]/).at(-1)!.replace(/\.[a-z]+$/, "");
const file = args.out ?? (args.model ? `docs/findings-${name}.md` : "docs/findings.md");
const statements = args.reduced
  ? STATEMENTS.filter(({ recipes }) => recipes.every((r) => /^(rtn|fp8|nf4|smoothquant)/.test(r)))
  : STATEMENTS;

/** The windows that models are scored on. */
async function scoredWindows(): Promise<Int32Array[]> {
  const model = await lowbit.open(path);
  const text = await Deno.readTextFile(embeddedPath("evaluation.txt"));
  const windows = args.ids
    ? await readIds(String(args.ids), 512)
    : lowbit.windows(model, text, { length: 256, count, spread: true });
  model.close();
  return windows.slice(0, count);
}

/** Disjoint calibration sets of a text, each with every third window. */
async function calibrationSets() {
  const model = await lowbit.open(path);
  const text = await Deno.readTextFile(embeddedPath("calibration.txt"));
  const windows = lowbit.windows(model, text, { length: 256, count: 48, spread: true });
  model.close();
  return [0, 1, 2].map((set) => ({
    name: `set ${set + 1}`,
    windows: windows.filter((_, i) => i % 3 === set),
  }));
}

/** Signal to noise of half the weights removed and the rest in 4 bits, in both orders, dB. */
async function pruningOrders(): Promise<[pruneFirst: number, quantizeFirst: number]> {
  const model = await lowbit.open(path);
  const graph = openModel(model);
  const codec = lowbit.codecs.get(resolveScheme("int4_g64_sym"));
  let signal = 0;
  const noise = [0, 0];
  for (const { id, block, rows, columns } of graph.linears) {
    if (block === undefined) continue;
    const weight = await parameterTensor(graph, id).read();
    const back = (w: Float32Array) => codec.dequantize(codec.quantize(w, rows, columns));
    const first = back(halved(weight)), second = halved(back(weight));
    for (let i = 0; i < weight.length; i++) {
      signal += weight[i] ** 2;
      noise[0] += (weight[i] - first[i]) ** 2;
      noise[1] += (weight[i] - second[i]) ** 2;
    }
  }
  model.close();
  return [10 * Math.log10(signal / noise[0]), 10 * Math.log10(signal / noise[1])];
}

/** A weight without the smaller half of its values; of equal ones the earlier stay. */
function halved(weight: Float32Array): Float32Array {
  const order = Uint32Array.from(weight.keys())
    .sort((a, b) => Math.abs(weight[b]) - Math.abs(weight[a]) || a - b);
  const result = new Float32Array(weight.length);
  for (const i of order.subarray(0, weight.length >> 1)) result[i] = weight[i];
  return result;
}

const windows = await scoredWindows();
const compareAll = (
  recipes: Recipe[],
  calibrations?: Awaited<ReturnType<typeof calibrationSets>>,
) =>
  compareRecipes({
    ...{ lowbit, watch, model: path, calibrations },
    recipes,
    text: { name: "evaluation.txt", windows, from: windows.map(() => 1) },
    protocol: {
      ...{ name: "lowbit", context: windows[0].length, stride: windows[0].length, bos: false },
      ...{ windows: windows.length, scored_from: 1 },
    },
    cache: "out/findings-cache",
    progress: (done, total, name) => console.error(`${done}/${total} ${name}`),
  });

const names = [...new Set(statements.flatMap(({ recipes }) => recipes))];
const presets = (names: string[]) => names.map((name) => presetRecipe(name));
const all = await compareAll(presets(names));
const sets = args.reduced
  ? undefined
  : await compareAll(presets(["gptq-w3g64", "smoothquant-w8a8"]), await calibrationSets());
const orders = await pruningOrders();
const sections = [
  ...mixes ? await mixedPrecision(compareAll) : [],
  ...await outliers(lowbit, path, windows.slice(0, 4)),
  ...await caches(lowbit, path, windows.slice(0, 4)),
];
lowbit.close();

const at = (name: string): Entry => {
  const found = all.entries.find((entry) => entry.name === name);
  if (!found) throw new Error(`${name}: ${JSON.stringify(all.failures)}`);
  return found;
};
await Deno.writeTextFile(String(file), page(all, sets));

function page(all: Comparison, sets?: Comparison): string {
  const { reference, model } = all;
  const rows = statements.map(({ text, source, recipes, judge }) => {
    const { holds, figure, why } = judge(at, reference);
    const verdict = holds ? "holds" : "**does not hold**";
    return `| ${text} (${source}) | \`--recipes ${recipes.join(",")}\` | ${figure} | ${verdict}${
      why && !holds ? `: ${why}` : ""
    } |`;
  });
  const spread = (sets?.calibration ?? []).map((s) =>
    `\`${s.recipe}\`: KL ${s.mean_kl.toPrecision(3)} ± ${s.sd_kl.toPrecision(2)} ` +
    `(${(100 * s.sd_kl / s.mean_kl).toFixed(1)} %)`
  );
  const [pruneFirst, quantizeFirst] = orders;
  const gap = pruneFirst - quantizeFirst;
  return [
    "# What the surveys say, tried",
    "",
    `Generated by \`deno task findings${
      FLAGS.join("")
    }\` with lowbit ${VERSION} on ${model.name} ` +
    `(${model.parameters} parameters, perplexity ${reference.perplexity.toFixed(3)}); ` +
    `${reference.tokens} predictions in ${windows.length} windows of ${
      windows[0].length
    } tokens. ` +
    "KL in nats to the full-precision model. A small model is no proof of what large ones do: a " +
    "statement that does not hold here may hold there, and the last column says why it may differ. " +
    "The order of number formats is in [format-order.md](generated/format-order.md).",
    "",
    "Each row is one command: `lowbit compare MODEL --text embedded/evaluation.txt --context 256` and",
    "the recipes of the row.",
    "",
    "| statement | recipes | figures | verdict |",
    "|---|---|---|---|",
    ...rows,
    "",
    ...sets
      ? [
        "## Calibration sets",
        "",
        "Three sets of 16 windows that share no window; mean and standard deviation of KL over sets.",
        "`lowbit compare MODEL --calibration a.txt --calibration b.txt ...` does it with texts.",
        "",
        ...spread.map((line) => `- ${line}`),
        "",
      ]
      : [],
    ...sections,
    "## Sparsify before quantising",
    "",
    "The surveys say that the two go together, with sparsification first. Here half of each weight is " +
    "removed by magnitude and the rest rounded to 4 bits in groups of 64, in both orders: " +
    `${pruneFirst.toFixed(3)} dB with sparsification first, ${
      quantizeFirst.toFixed(3)
    } dB after. ` +
    (gap > 0 ? "Holds" : "**Does not hold**") +
    ` for this criterion, by ${Math.abs(gap).toFixed(3)} dB: ` +
    "after rounding many magnitudes are equal, and which of them go is chance; yet nearly all of the " +
    "error is that of the removed half.",
    "",
    "## Not tried",
    "",
    "- Statements about training with quantisation, and about speed on accelerators.",
    ...args.reduced
      ? ["- Here: recipes that compensate, learn or rotate, and calibration sets."]
      : [],
    ...mixes ? [] : ["- Here: mixed precision against size; `deno task findings` alone tries it."],
    "",
  ].join("\n");
}
