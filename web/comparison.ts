/// <reference lib="dom" />
/**
 * The formats of the explorer beside each other: their figures, and which colour is whose.
 *
 * @module
 */

import { h, numberText } from "./dom.ts";
import type { FormatView } from "./protocol.ts";

/** A format and its place in the comparison. */
export interface Shown {
  /** The format. */
  view: FormatView;
  /** The place. */
  slot: number;
}

/** The table of figures; `size` numbers share a scale of a number format. */
export function comparison(shown: readonly Shown[], size: number): HTMLElement {
  const names = [...new Set(shown.flatMap(({ view }) => view.facts.map(([name]) => name)))];
  const row = (name: string, cell: (view: FormatView) => string) =>
    h(
      "tr",
      {},
      h("th", { scope: "row" }, name),
      ...shown.map(({ view }) => h("td", {}, cell(view))),
    );
  const fact = (view: FormatView, name: string) => {
    const found = view.facts.find(([own]) => own === name);
    if (!found) return "–";
    return Number.isSafeInteger(found[1]) ? String(found[1]) : numberText(found[1]);
  };
  return h(
    "table",
    { id: "comparison" },
    h("caption", {}, "What the formats make of these numbers"),
    h(
      "thead",
      {},
      h(
        "tr",
        {},
        h("td", {}),
        ...shown.map(({ view, slot }) =>
          h("th", { scope: "col" }, h("span", { class: `swatch slot-${slot}` }), view.id)
        ),
      ),
    ),
    h(
      "tbody",
      {},
      row("signal to noise, dB", ({ error }) => numberText(error.sqnr_db)),
      row("error, % of the signal", ({ error }) => numberText(100 * error.relative, 3)),
      row(
        "entropy of codes, bits",
        ({ error }) => error.entropy === undefined ? "–" : numberText(error.entropy, 3),
      ),
      // A number format has no scale of its own; here it is given one of float16.
      row(
        "bits a number, with scales",
        ({ kind, bits }) =>
          numberText(bits + (kind === "number format" && size > 0 ? 16 / size : 0)),
      ),
      ...names.map((name) => row(name.replaceAll("_", " "), (view) => fact(view, name))),
    ),
  );
}

/** The names of the formats with their colours. */
export function legend(shown: readonly Shown[]): HTMLElement {
  return h(
    "p",
    { class: "legend" },
    ...shown.map(({ view, slot }) =>
      h("span", {}, h("span", { class: `swatch slot-${slot}` }), view.id)
    ),
  );
}
