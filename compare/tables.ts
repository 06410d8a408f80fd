/**
 * A comparison as CSV and as Markdown.
 *
 * @module
 */

import type { Comparison } from "./document.ts";

/** The columns of CSV that are no figures of evaluators. */
const OWN = [
  "recipe",
  "bits_per_weight",
  "bytes",
  "quantize_seconds",
  "peak_rss_bytes",
  "tokens_per_second",
  "jobs",
] as const;

/** A line a recipe, the model first; every figure has a column. */
export function comparisonCsv(comparison: Comparison): string {
  const { entries, reference, model } = comparison;
  const figures = [
    ...new Set([reference, ...entries.map((entry) => entry.figures)].flatMap(Object.keys)),
  ];
  const rows = entries.map((entry) => [
    entry.name,
    entry.bits_per_weight,
    entry.bytes,
    entry.seconds.quantize,
    entry.peak_rss_bytes,
    entry.tokens_per_second,
    entry.jobs ?? 1,
    ...figures.map((name) => entry.figures[name] ?? ""),
  ]);
  const full = ["full precision", model.bits_per_weight, model.bytes, "", "", "", ""];
  const lines = [
    [...OWN, ...figures],
    [...full, ...figures.map((name) => reference[name] ?? "")],
    ...rows,
  ];
  return lines.map((line) => line.map(cell).join(",") + "\r\n").join("");
}

function cell(value: string | number): string {
  const text = String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** The rows that people read: of a table in a terminal, and of Markdown. */
export function comparisonRows(comparison: Comparison): { head: string[]; rows: string[][] } {
  const { entries, reference, model } = comparison;
  const pair = (name: string) =>
    comparison.differences.find(({ a, b }) => a === name && b === "full precision");
  return {
    head: [
      ...["recipe", "bits a weight", "MB", "perplexity", "nll difference", "KL", "KL 99 %"],
      ...["top-1", "seconds"],
    ],
    rows: [
      [
        ...["full precision", model.bits_per_weight.toFixed(3), megabytes(model.bytes)],
        ...[plusMinus(reference.perplexity, reference.perplexity_standard_error, 3)],
        ...["-", "-", "-", "-", "-"],
      ],
      ...entries.map((entry) => {
        const { figures: f, bits_per_weight, bytes, seconds, pareto } = entry;
        const difference = pair(entry.name)!;
        return [
          `${entry.name}${pareto.kl ? " *" : ""}`,
          bits_per_weight.toFixed(3),
          megabytes(bytes),
          f.perplexity.toFixed(3),
          plusMinus(
            difference.nll,
            difference.standard_error_windows ?? difference.standard_error,
            4,
          ),
          plusMinus(f.kl, f.kl_standard_error, 4),
          f.kl_p99.toFixed(3),
          f.top1_agreement.toFixed(3),
          seconds.quantize.toFixed(1),
        ];
      }),
    ],
  };
}

/** What must be said of times that were taken side by side; empty if none was. */
export function crowdNote(entries: Comparison["entries"]): string {
  const names = entries.flatMap(({ name, jobs }) => jobs ? [name] : []);
  if (names.length === 0) return "";
  const all = names.length === entries.length ? "all recipes" : names.join(", ");
  return `Times, tokens a second and memory of ${all} were taken while several recipes ran side by ` +
    "side (--jobs): they are not those of a run alone.";
}

/** What the figures mean, in a sentence. */
export function comparisonNote({ text, protocol, reference, entries }: Comparison): string {
  const { windows, context, stride, bos } = protocol, crowd = crowdNote(entries);
  return `${reference.tokens} predictions of ${text.name}: ${windows} windows of ${context} tokens, ` +
    `stride ${stride}, ${bos ? "BOS in place of the first token" : "no BOS added"} ` +
    `(protocol ${protocol.name}). Differences of the negative log-likelihood are paired by token, ` +
    "with the standard error over windows; KL in nats to the full-precision model. " +
    "* on the Pareto front of size and KL." + (crowd && ` ${crowd}`);
}

/** A Markdown table with the note below it. */
export function comparisonMarkdown(comparison: Comparison): string {
  const { head, rows } = comparisonRows(comparison);
  const line = (cells: string[]) => `| ${cells.map((c) => c.replaceAll("|", "\\|")).join(" | ")} |`;
  return [
    `# ${comparison.model.name}: ${comparison.entries.length} recipes`,
    "",
    line(head),
    `|${head.map((_, i) => i ? "---:" : "---").join("|")}|`,
    ...rows.map(line),
    "",
    comparisonNote(comparison).replaceAll("* on", "\\* on"),
    "",
    ...comparison.failures.map(({ name, error }) => `- ${name}: ${error}`),
    "",
  ].join("\n");
}

function plusMinus(value: number, error: number, digits: number): string {
  return `${value.toFixed(digits)} ± ${error.toFixed(digits)}`;
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(2);
}
