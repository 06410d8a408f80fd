/**
 * Findings that are more than two recipes beside each other: mixed precision, outliers, caches.
 *
 * @module
 */

import type { Comparison, Entry } from "../../compare/document.ts";
import { layerFigures } from "../../engine/layers.ts";
import { memoryOutput } from "../../formats/containers/output.ts";
import { memorySource } from "../../formats/containers/source.ts";
import { type Checkpoint, presetRecipe, type Recipe, type Workbench } from "../../mod.ts";
import { measureCaches } from "../quality/caches.ts";

const verdict = (holds: boolean) => holds ? "holds" : "**does not hold**";

/** Bits a weight of what was quantised, scales included. */
function quantizedBits({ receipt }: Entry): number {
  const tensors = receipt.tensors.filter(({ plugin }) => plugin);
  const elements = tensors.reduce((n, { shape }) => n + shape.reduce((a, b) => a * b, 1), 0);
  return 8 * tensors.reduce((n, { bytes }) => n + bytes, 0) / elements;
}

/** One width against schemes chosen within its size, at two sizes. */
export async function mixedPrecision(
  compare: (recipes: Recipe[]) => Promise<Comparison>,
): Promise<string[]> {
  const uniform = (await compare(["gptq-w3g64", "gptq-w4g64"].map((n) => presetRecipe(n)))).entries;
  const budgets = uniform.map((entry) => quantizedBits(entry));
  const mixed = ["hawq", "sensitivity"].flatMap((planner) =>
    budgets.map((bits): Recipe => {
      const recipe = presetRecipe(`${planner}-gptq`);
      const budget = { ...recipe.budget!, bits: Number((bits + 1e-4).toFixed(4)) };
      return { ...recipe, name: `${planner}-gptq at ${budget.bits} bits`, budget };
    })
  );
  const { entries, failures } = await compare(mixed);
  if (failures.length > 0) throw new Error(JSON.stringify(failures));
  const rows = [...uniform, ...entries].toSorted((a, b) => a.bytes - b.bytes);
  const says = entries.map((entry, i) => {
    const one = uniform[i % uniform.length];
    const gap = one.figures.kl - entry.figures.kl;
    const error = Math.hypot(one.figures.kl_standard_error, entry.figures.kl_standard_error);
    const percent = (100 * (entry.figures.kl / one.figures.kl - 1)).toFixed(0);
    const clear = Math.abs(gap) > 2 * error ? "" : ", within two standard errors";
    return `- ${entry.name} before ${one.name}: ${verdict(gap > 0)} (KL ${percent} %${clear})`;
  });
  return [
    "### Mixed precision against size",
    "",
    "The surveys say that a width for each weight beats one width for all at the same size. The",
    "budgets are the bits that one width takes, scales included; widths are 2, 3, 4, 6 and 8 bits,",
    "all followed by GPTQ. `lowbit compare MODEL --recipes FILE.yaml` with `budget: { bits: ... }`.",
    "",
    "| recipe | bits of the quantised | file bytes | perplexity | KL |",
    "|---|---|---|---|---|",
    ...rows.map((entry) =>
      `| ${entry.name} | ${quantizedBits(entry).toFixed(3)} | ${entry.bytes} | ${
        entry.figures.perplexity.toFixed(3)
      } | ${entry.figures.kl.toPrecision(3)} |`
    ),
    "",
    ...says,
    "",
  ];
}

/** Outliers of what linears read, before and after what the surveys propose against them. */
export async function outliers(
  lowbit: Workbench,
  path: string,
  windows: readonly Int32Array[],
  calibration?: readonly Int32Array[],
): Promise<string[]> {
  const { kernels, codecs } = lowbit;
  const measure = async (checkpoint: Checkpoint) => {
    const figures = (await layerFigures({ checkpoint, windows, kernels, codecs }))
      .flatMap(({ kurtosis, max_over_median }) =>
        kurtosis === undefined || max_over_median === undefined ? [] : [{
          kurtosis,
          ratio: max_over_median,
        }]
      );
    const middle = (values: number[]) => values.toSorted((a, b) => a - b)[values.length >> 1];
    return {
      kurtosis: middle(figures.map((f) => f.kurtosis)),
      worst: Math.max(...figures.map((f) => f.kurtosis)),
      ratio: middle(figures.map((f) => f.ratio)),
      largest: Math.max(...figures.map((f) => f.ratio)),
    };
  };
  const model = await lowbit.open(path);
  const rows = [{ name: "the model as it is", ...await measure(model) }];
  for (const name of ["smoothquant-w8a8", "quarot-online-rtn-w4a4"]) {
    const out = memoryOutput(name);
    await lowbit.quantize({ model, recipe: presetRecipe(name), out, calibration });
    const quantized = await lowbit.open(
      [...out.files].map(([file, bytes]) => memorySource(file, bytes)),
    );
    rows.push({ name: `after ${name}`, ...await measure(quantized) });
    quantized.close();
  }
  model.close();
  const [before, smooth, rotated] = rows;
  return [
    "### Outliers of activations",
    "",
    "The surveys say that a few channels of activations are far larger than the rest, which is what",
    "SmoothQuant and rotations work against. Inputs of every linear on 4 windows: kurtosis (3 for a",
    "normal distribution), and the largest magnitude of a channel over that of the median channel.",
    "`lowbit eval MODEL --text FILE --layers` prints both for each linear.",
    "",
    "| | kurtosis, median linear | kurtosis, worst | max / median, median linear | max / median, worst |",
    "|---|---|---|---|---|",
    ...rows.map((r) =>
      `| ${r.name} | ${r.kurtosis.toFixed(2)} | ${r.worst.toFixed(1)} | ${r.ratio.toFixed(2)} | ${
        r.largest.toFixed(1)
      } |`
    ),
    "",
    `- outliers of 20 times the median channel or more: ${verdict(before.largest >= 20)}`,
    `- SmoothQuant lowers max over median: ${verdict(smooth.ratio < before.ratio)}`,
    `- rotations lower it: ${verdict(rotated.ratio < before.ratio)}`,
    `- rotations bring kurtosis nearer to that of a normal distribution: ${
      verdict(Math.abs(rotated.kurtosis - 3) < Math.abs(before.kurtosis - 3))
    }`,
    "",
  ];
}

/** Caches of few bits. */
export async function caches(
  lowbit: Workbench,
  path: string,
  windows: readonly Int32Array[],
): Promise<string[]> {
  const model = await lowbit.open(path);
  const rows = await measureCaches(lowbit, model, windows);
  model.close();
  const pairs = [0, 32].map((residual) => {
    const kl = (keys?: string) =>
      rows.find(({ cache }) =>
        cache?.options?.residual === residual && cache.options.keys === keys &&
        cache.options.bits === undefined
      )!.kl;
    const [channel, token] = [kl(), kl("token")];
    const newest = residual === 0 ? "no exact tokens" : `the newest ${residual} tokens exact`;
    return `- with ${newest}: ${verdict(channel < token)} (KL ${channel.toPrecision(3)} against ${
      token.toPrecision(3)
    })`;
  });
  return [
    "### Keys by channel, values by token (KIVI)",
    "",
    "Outliers of keys lie in few channels, so that 2-bit keys should share scales by channel rather",
    `than by token. ${windows.length} windows of ${windows[0].length} tokens; a window that is not`,
    "longer than the tokens kept exact would show nothing.",
    "[The table of caches](generated/quality-cache.md) is from `deno task quality:cache`.",
    "",
    ...pairs,
    "",
  ];
}

/** Spread of figures over calibration sets. */
export function calibrationSection({ calibration = [] }: Comparison): string[] {
  return [
    "### Calibration sets",
    "",
    "Three sets of 16 windows that share no window; mean and standard deviation of KL over sets.",
    "`lowbit compare MODEL --calibration a.txt --calibration b.txt ...` does it with texts.",
    "",
    ...calibration.map((s) =>
      `- \`${s.recipe}\`: KL ${s.mean_kl.toPrecision(3)} ± ${s.sd_kl.toPrecision(2)} ` +
      `(${(100 * s.sd_kl / s.mean_kl).toFixed(1)} %)`
    ),
    "",
  ];
}

/** Half of the weights removed and the rest rounded, in both orders, dB. */
export function pruning([first, after]: [pruneFirst: number, quantizeFirst: number]): string[] {
  const gap = first - after;
  return [
    "### Sparsify before quantising",
    "",
    "The surveys say that the two go together, with sparsification first. Here half of each weight is " +
    "removed by magnitude and the rest rounded to 4 bits in groups of 64, in both orders: " +
    `${first.toFixed(3)} dB with sparsification first, ${after.toFixed(3)} dB after. ` +
    (gap > 0 ? "Holds" : "**Does not hold**") +
    ` for this criterion, by ${Math.abs(gap).toFixed(3)} dB: ` +
    "after rounding many magnitudes are equal, and which of them go is chance; yet nearly all of the " +
    "error is that of the removed half.",
    "",
  ];
}
