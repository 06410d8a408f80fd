/**
 * The surveys, tried: statements about quantisation held against figures of a model, each with the
 * command that gives the figures. `deno task findings` writes docs/findings.md.
 *
 * ```sh
 * deno task findings [--model MODEL --name NAME] [--ids FILE.json#KEY] [--windows N] [--calibration N] [--without WORDS]
 * ```
 *
 * What a model gives is kept in docs/generated/findings-NAME.json, and the page shows every model
 * that has such a file. A larger model takes fewer windows (`--windows`, `--calibration`), and leaves out
 * what is slow: `--without awq,mixed,sets` are starts of names of recipes, `sets` (of calibration), `mixed`
 * (precision).
 *
 * @module
 */

import { parseArgs } from "@std/cli";
import { readIds } from "../../cli/inputs.ts";
import { compareRecipes } from "../../compare/run.ts";
import type { Entry } from "../../compare/document.ts";
import { watchedWorkbench } from "../../compare/measure.ts";
import { resolveScheme } from "../../formats/lookup.ts";
import { embeddedPath, openModel, presetRecipe, type Recipe, VERSION } from "../../mod.ts";
import { parameterTensor } from "../../models/weights.ts";
import { type Findings, findingsPage } from "./page.ts";
import { caches, calibrationSection, mixedPrecision, outliers, pruning } from "./sections.ts";
import { STATEMENTS } from "./statements.ts";

const args = parseArgs(Deno.args, {
  string: ["model", "name", "ids", "windows", "calibration", "without"],
});
const path = String(args.model ?? "embedded");
const name = String(args.name ?? path.split(/[\\/]/).at(-1)!.replace(/\.[a-z]+$/, ""));
const without = String(args.without ?? "").split(",").filter((word) => word !== "");
const count = Number(args.windows ?? 16);
const { lowbit, watch } = await watchedWorkbench({ threads: 0 });
const statements = STATEMENTS.filter(({ recipes }) =>
  !recipes.some((recipe) => without.some((word) => recipe.startsWith(word)))
);

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

/** Fewer windows to calibrate on than recipes ask for, if so many are wanted. */
async function fewWindows() {
  if (args.calibration === undefined) return undefined;
  const model = await lowbit.open(path);
  const text = await Deno.readTextFile(embeddedPath("calibration.txt"));
  const options = { length: 256, count: Number(args.calibration), spread: true };
  const windows = lowbit.windows(model, text, options);
  model.close();
  return [{ name: "", windows }];
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

const presets = (names: string[]) => names.map((name) => presetRecipe(name));
const names = [...new Set(statements.flatMap(({ recipes }) => recipes))];
const all = await compareAll(presets(names), await fewWindows());
const sets = without.includes("sets")
  ? undefined
  : await compareAll(presets(["gptq-w3g64", "smoothquant-w8a8"]), await calibrationSets());
const mixed = without.includes("mixed") ? [] : await mixedPrecision(compareAll);
const calibration = (await fewWindows())?.[0].windows;
const sections = [
  ...sets ? calibrationSection(sets) : [],
  ...mixed,
  ...await outliers(lowbit, path, windows.slice(0, 4), calibration),
  ...await caches(lowbit, path, windows.slice(0, 4)),
  ...pruning(await pruningOrders()),
];
lowbit.close();

const at = (name: string): Entry => {
  const found = all.entries.find((entry) => entry.name === name);
  if (!found) throw new Error(`${name}: ${JSON.stringify(all.failures)}`);
  return found;
};
const findings: Findings = {
  lowbit: VERSION,
  model: { name, parameters: all.model.parameters, perplexity: all.reference.perplexity },
  predictions: all.reference.tokens,
  windows: { count: windows.length, tokens: windows[0].length },
  ...calibration && { calibration: { count: calibration.length, tokens: calibration[0].length } },
  without,
  verdicts: statements.map(({ text, judge }) => ({ text, ...judge(at, all.reference) })),
  sections,
};
await Deno.writeTextFile(
  `docs/generated/findings-${name}.json`,
  JSON.stringify(findings, null, 1) + "\n",
);
await Deno.writeTextFile("docs/findings.md", await findingsPage());
