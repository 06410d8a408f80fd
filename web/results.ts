/// <reference lib="dom" />
/**
 * The table of results, with their files, and size against quality.
 *
 * @module
 */

import { sizeQuality } from "./charts.ts";
import { bytesText, type Child, download, h, numberText } from "./dom.ts";
import type { Calls, ResultView } from "./protocol.ts";

/** A result, and its figures once it is scored. */
export interface Result extends ResultView {
  /** The figures. */
  figures?: Calls["evaluate"]["result"];
}

/** Columns of words, which begin on the left. */
export const WORDS = ["what it does", "download"];

/** Files of weights; the others are small. */
const WEIGHTS = /\.(safetensors|gguf)$/;

function downloadButton(result: Result, { name, blob }: Result["files"][number]): HTMLElement {
  return h("button", {
    type: "button",
    class: "quiet",
    "aria-label": `Download ${name} of ${result.recipe}`,
    onclick: () => download(name, blob),
  }, name);
}

/** What the page shows of results. */
export function resultTable(results: readonly Result[], width: number): Child[] {
  const rows = results.map((result) => {
    const { figures, files } = result;
    const weights = files.filter(({ name }) => WEIGHTS.test(name));
    const others = files.filter(({ name }) => !WEIGHTS.test(name));
    return h(
      "tr",
      {},
      h("th", { scope: "row" }, `${result.recipe} to ${result.to}`),
      h("td", {}, bytesText(result.bytes)),
      h("td", {}, numberText(result.bits)),
      h("td", {}, figures ? numberText(figures.perplexity, 5) : "–"),
      h("td", {}, figures ? numberText(figures.kl) : "–"),
      h("td", {}, figures ? `${(100 * figures.top1).toFixed(1)} %` : "–"),
      h("td", {}, numberText(result.seconds, 3)),
      h(
        "td",
        { class: "words" },
        ...weights.map((file) => downloadButton(result, file)),
        h(
          "details",
          {},
          h("summary", {}, `${others.length} more`),
          ...others.map((file) => downloadButton(result, file)),
        ),
      ),
    );
  });
  const original = results.find(({ figures }) => figures)?.figures;
  const head = ["result", "size", "bits a weight", "perplexity", "KL", "same first choice", "s"];
  const measured = results.filter(({ figures }) => figures);
  return [
    h(
      "div",
      { class: "panel scroll" },
      h(
        "table",
        { id: "results" },
        h(
          "caption",
          {},
          original
            ? `Beside the original, whose perplexity is ${
              numberText(original.original, 5)
            }; ${original.tokens} predictions`
            : "Beside the original",
        ),
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            ...[...head, "download"].map((name) =>
              h("th", { scope: "col", class: WORDS.includes(name) && "words" }, name)
            ),
          ),
        ),
        h("tbody", {}, ...rows),
      ),
    ),
    measured.length > 1 && h(
      "div",
      { class: "panel" },
      sizeQuality(
        measured.map(({ recipe, bytes, figures }) => ({
          label: recipe,
          bytes,
          kl: figures!.kl,
        })),
        Math.max(240, width),
      ),
    ),
    ...[...new Set(results.flatMap(({ warnings }) => warnings))].map((warning) =>
      h("p", { class: "note" }, warning)
    ),
  ];
}
