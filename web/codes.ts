/// <reference lib="dom" />
/**
 * What every code of a format means: a grid of cells, sixteen in a row.
 *
 * @module
 */

import { h, numberText } from "./dom.ts";
import type { FormatView } from "./protocol.ts";

/** The table of codes of a format, folded away. */
export function codeTable(view: FormatView, slot: number): HTMLElement {
  const columns = Math.min(16, view.values.length);
  const rows = Math.ceil(view.values.length / columns);
  const digits = (n: number) => n.toString(16).toUpperCase();
  const largest = Math.max(...[...view.values].filter(Number.isFinite).map(Math.abs));
  const heading = (column: number) => h("th", { scope: "col" }, `_${digits(column)}`);
  return h(
    "details",
    { open: view.values.length <= 16 },
    h(
      "summary",
      {},
      h("span", { class: `swatch slot-${slot}` }),
      `${view.id}: ${view.values.length} codes`,
    ),
    h(
      "div",
      { class: "scroll", tabindex: 0, role: "region", "aria-label": `Codes of ${view.id}` },
      h(
        "table",
        { class: "codes" },
        h("caption", {}, "Value of each code; rows and columns are its hexadecimal digits"),
        h(
          "thead",
          {},
          h("tr", {}, h("td", {}), ...Array.from({ length: columns }, (_, c) => heading(c))),
        ),
        h(
          "tbody",
          {},
          ...Array.from({ length: rows }, (_, r) =>
            h(
              "tr",
              {},
              h("th", { scope: "row" }, `${digits(r)}_`),
              ...[...view.values.slice(r * columns, (r + 1) * columns)].map((value) =>
                h("td", { class: cellClass(value, largest) }, numberText(value))
              ),
            )),
        ),
      ),
    ),
  );
}

/** Sign and size in five steps, for the tint of a cell. */
function cellClass(value: number, largest: number): string {
  if (!Number.isFinite(value)) return "cell none";
  if (value === 0) return "cell";
  const step = Math.max(1, Math.min(4, Math.ceil(4 * Math.sqrt(Math.abs(value) / largest))));
  return `cell ${value > 0 ? "plus" : "minus"}-${step}`;
}
