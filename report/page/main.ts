/// <reference lib="dom" />
/**
 * The page of a comparison: reads the figures in the page and draws them.
 *
 * @module
 */

import type { Comparison, Difference, Entry } from "../../compare/document.ts";
import { crowdNote } from "../../compare/tables.ts";
import {
  type Chart,
  codeChart,
  errorChart,
  gridChart,
  medianOf,
  paretoChart,
  scaleChart,
  timeChart,
  weightChart,
} from "./charts.ts";
import { button, cells, chart, element, section, select, sortable } from "./elements.ts";

const comparison = JSON.parse(document.getElementById("data")!.textContent!) as Comparison;
const main = document.getElementById("report")!;

const { model, entries, protocol, text, reference } = comparison;
const FULL = "full precision";

function intro(): HTMLElement[] {
  const { windows, context, stride, bos, name } = protocol;
  const best = entries.filter(({ pareto }) => pareto.kl).map((entry) => entry.name);
  return [
    element(
      "h1",
      {},
      `${model.name}: ${entries.length} ${entries.length === 1 ? "recipe" : "recipes"}`,
    ),
    element(
      "p",
      {},
      `${reference.tokens} predictions of ${text.name} (${windows} windows of ${context} tokens, ` +
        `stride ${stride}, ${bos ? "BOS first" : "no BOS"}; protocol ${name}). ` +
        `Full precision: ${(model.bytes / 1e6).toFixed(2)} MB, perplexity ` +
        `${reference.perplexity.toFixed(3)}. No other recipe is smaller and closer than: ` +
        `${best.join(", ")}.`,
    ),
    element(
      "p",
      { class: "faint" },
      `lowbit ${comparison.lowbit}, kernels ${comparison.kernels}, ${comparison.threads} threads; ` +
        `architecture ${model.architecture}, ${model.parameters} parameters.`,
    ),
  ];
}

function figures(): HTMLElement {
  const pair = (entry: Entry) =>
    comparison.differences.find(({ a, b }) => a === entry.name && b === FULL)!;
  const error = (d: Difference) => d.standard_error_windows ?? d.standard_error;
  const table = sortable(
    ["Recipe", "Bits", "MB", "Perplexity", "NLL difference", "KL", "KL median", "KL 99 %"]
      .concat("KL max", "Top-1", "Top-5", "Seconds", "Peak MB"),
    entries.map((entry) => {
      const f = entry.figures, d = pair(entry);
      return {
        front: entry.pareto.kl,
        cells: [
          entry.name,
          entry.bits_per_weight.toFixed(2),
          (entry.bytes / 1e6).toFixed(2),
          f.perplexity.toFixed(3),
          `${d.nll.toFixed(4)} ± ${error(d).toFixed(4)}`,
          `${f.kl.toFixed(4)} ± ${f.kl_standard_error.toFixed(4)}`,
          f.kl_median.toFixed(4),
          f.kl_p99.toFixed(3),
          f.kl_max.toFixed(2),
          f.top1_agreement.toFixed(3),
          f.top5_agreement.toFixed(3),
          entry.seconds.quantize.toFixed(1),
          (entry.peak_rss_bytes / 1e6).toFixed(0),
        ],
      };
    }),
  );
  return section(
    "Figures",
    "Differences of the negative log-likelihood are paired by token with the full-precision model; " +
      "± is a standard error (over windows for the difference). KL in nats. Names in colour are on " +
      `the Pareto front of size and KL. Press a heading to sort. ${crowdNote(entries)}`.trimEnd(),
    table,
  );
}

function front(): HTMLElement {
  const holder = element("div");
  const show = (figure: "kl" | "perplexity") => {
    buttons.forEach((b) => b.setAttribute("aria-pressed", String(b.dataset.value === figure)));
    const rows = entries.map((entry) => [
      entry.name,
      (entry.bytes / 1e6).toFixed(2),
      entry.figures[figure].toPrecision(5),
      entry.pareto[figure] ? "yes" : "no",
    ]);
    holder.replaceChildren(
      chart(paretoChart(comparison, figure), cells(["Recipe", "MB", figure, "On the front"], rows)),
    );
  };
  const buttons = [
    button("KL divergence", "kl", () => show("kl")),
    button("Perplexity", "perplexity", () => show("perplexity")),
  ];
  show("kl");
  return section(
    "Size against quality",
    "Lower left is better. The line joins recipes that no other one beats in both.",
    element("div", { class: "controls", role: "group", "aria-label": "Figure" }, ...buttons),
    holder,
  );
}

/** The sections about one recipe. */
function details(entry: Entry): HTMLElement[] {
  const { activations } = comparison;
  const made: HTMLElement[] = [];
  if (entry.linears.length > 0) {
    const rows = entry.linears.map(({ block, role, sqnr_db, bits }) => [
      `blocks.${block}.${role}`,
      sqnr_db.toFixed(2),
      bits.toFixed(2),
    ]);
    made.push(section(
      "Error by block and role",
      "Signal to quantisation noise of each weight, in decibels: brighter is closer to the original.",
      chart(errorChart(entry), cells(["Linear", "SQNR dB", "Bits"], rows)),
    ));
  }
  if (entry.tensor) made.push(tensorSection(entry));
  if (entry.activations) {
    const [before, after] = [activations.grid, entry.activations];
    // One scale of colours, so that what vanishes is seen to vanish.
    const top = Math.max(...[before, after].map((g) => Math.max(...g.values) / medianOf(g)));
    const figures = (grid: typeof before) =>
      `largest channel ${grid.max_over_median.toFixed(1)} times the median one, kurtosis ` +
      `${grid.kurtosis.toFixed(1)}`;
    const half = (title: string, grid: typeof before) =>
      element(
        "div",
        {},
        element("h3", { class: "faint" }, `${title}: ${figures(grid)}`),
        chart(gridChart(grid, `Magnitudes of inputs, ${title}`, top)),
      );
    made.push(section(
      "Activations before and after the transform",
      `Inputs of blocks.${activations.block}.${activations.role}, the last tokens of a window. ` +
        "Bright columns are outlier channels. Both pictures have the same colours, for magnitudes over " +
        "the median of each.",
      element("div", { class: "pair" }, half("before", before), half("after", after)),
    ));
  }
  if (entry.timeline.length > 1) {
    const rows = entry.timeline.map(({ seconds, stage, rss_bytes }) => [
      seconds.toFixed(2),
      stage,
      (rss_bytes / 1e6).toFixed(0),
    ]);
    made.push(section(
      "Timeline and memory of the run",
      `${entry.seconds.quantize} s to quantise, ${entry.seconds.evaluate} s to score ` +
        `(${Math.round(entry.tokens_per_second)} predictions a second)` +
        (entry.energy_joules === undefined ? "" : `, ${entry.energy_joules} J`) +
        ". Memory is that of the whole process, which also holds what recipes share." +
        (entry.jobs === undefined ? "" : ` ${entry.jobs} recipes ran side by side meanwhile.`),
      chart(timeChart(entry), cells(["Seconds", "Stage", "MB"], rows)),
    ));
  }
  made.push(section(
    "Receipt",
    "What anyone needs to do this run again and to check it.",
    element(
      "details",
      {},
      element("summary", {}, `${entry.name}: recipe, hashes, tensors`),
      element("pre", { tabindex: "0" }, JSON.stringify(entry.receipt, null, 1)),
    ),
  ));
  return made;
}

function tensorSection(entry: Entry): HTMLElement {
  const { tensor } = comparison;
  const view = entry.tensor!;
  const parts: HTMLElement[] = [];
  const add = (made: Chart | undefined, title: string, table?: HTMLElement) => {
    if (made) {
      parts.push(element("div", {}, element("h3", { class: "faint" }, title), chart(made, table)));
    }
  };
  add(
    weightChart(tensor.histogram, entry),
    "Weights: full precision as a line, as they come back as bars (tall ones are cut; a transform " +
      "may have scaled them)",
  );
  const rows = view.values?.flatMap((value, code) =>
    value === null ? [] : [[String(code), String(value), String(view.counts![code])]]
  );
  add(
    codeChart(entry),
    `Codes on the number line of ${view.element}`,
    rows && cells(["Code", "Value", "Weights"], rows),
  );
  add(scaleChart(entry), "Scales");
  return section(
    "A weight and its codes",
    `${tensor.name}, stored as ${view.scheme}; kurtosis ${tensor.kurtosis.toFixed(2)} ` +
      "(3 for a normal distribution).",
    element("div", { class: "pair" }, ...parts),
  );
}

function pairs(): HTMLElement {
  const among = comparison.differences.filter(({ b }) => b !== FULL);
  const rows = among.map((d) => {
    const error = d.standard_error_windows ?? d.standard_error;
    return [`${d.a} less ${d.b}`, d.nll.toFixed(5), error.toFixed(5), (d.nll / error).toFixed(1)];
  });
  return section(
    "Paired differences",
    "Mean difference of the negative log-likelihood on the same tokens, nats, and its standard " +
      "error over windows. Beyond 2 standard errors a difference is unlikely to be chance.",
    element(
      "details",
      {},
      element("summary", {}, `${rows.length} ${rows.length === 1 ? "pair" : "pairs"} of recipes`),
      cells(["Pair", "Difference", "Standard error", "Ratio"], rows),
    ),
  );
}

function show(): void {
  const holder = element("div", { "aria-live": "polite" });
  const choose = (name: string) =>
    holder.replaceChildren(...details(entries.find((entry) => entry.name === name)!));
  const first = entries.find(({ activations }) => activations) ?? entries[0];
  const failed = comparison.failures.map(({ name, error }) =>
    element("p", {}, `Not done: ${name}: ${error}`)
  );
  main.replaceChildren(...intro(), ...failed);
  if (!first) return;
  main.append(figures(), front());
  if (entries.length > 1) main.append(pairs());
  main.append(
    element(
      "div",
      { class: "controls" },
      element("h2", {}, "One recipe"),
      select("Recipe", entries.map(({ name }) => name), first.name, choose),
    ),
    holder,
  );
  choose(first.name);
}

show();
