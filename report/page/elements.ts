/// <reference lib="dom" />
/**
 * Elements of the page.
 *
 * @module
 */

import type { Chart } from "./charts.ts";

/** An element with attributes and children. */
export function element(
  name: string,
  attributes: Record<string, string> = {},
  ...children: (Node | string)[]
): HTMLElement {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** A section with a heading and a sentence. */
export function section(title: string, about: string, ...children: Node[]): HTMLElement {
  const id = title.toLowerCase().replace(/[^a-z]+/g, "-");
  return element(
    "section",
    { "aria-labelledby": id },
    element("h2", { id }, title),
    element("p", { class: "faint" }, about),
    ...children,
  );
}

/** A button that can be pressed. */
export function button(label: string, value: string, press: () => void): HTMLElement {
  const made = element("button", { type: "button", "aria-pressed": "false" }, label);
  made.dataset.value = value;
  made.addEventListener("click", press);
  return made;
}

/** A labelled choice. */
export function select(
  label: string,
  names: readonly string[],
  chosen: string,
  choose: (name: string) => void,
): HTMLElement {
  const options = names.map((name) =>
    element("option", { value: name, ...(name === chosen && { selected: "" }) }, name)
  );
  const made = element("select", { "aria-label": label }, ...options) as HTMLSelectElement;
  made.addEventListener("change", () => choose(made.value));
  return made;
}

/** A table that scrolls sideways where it must. */
export function cells(head: readonly string[], rows: readonly (readonly string[])[]): HTMLElement {
  return tableOf(
    head.map((name) => element("th", { scope: "col" }, name)),
    rows.map((row) => element("tr", {}, ...row.map((cell) => element("td", {}, cell)))),
  );
}

function tableOf(head: HTMLElement[], rows: HTMLElement[]): HTMLElement {
  return element(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": "Table" },
    element(
      "table",
      {},
      element("thead", {}, element("tr", {}, ...head)),
      element("tbody", {}, ...rows),
    ),
  );
}

/** A table whose headings sort it. */
export function sortable(
  head: readonly string[],
  rows: readonly { cells: readonly string[]; front: boolean }[],
): HTMLElement {
  const made = rows.map(({ cells, front }) => ({
    cells,
    row: element(
      "tr",
      front ? { class: "front" } : {},
      ...cells.map((cell) => element("td", {}, cell)),
    ),
  }));
  const heads = head.map((name, column) => {
    const press = element("button", { type: "button" }, name);
    const th = element("th", { scope: "col" }, press);
    press.addEventListener("click", () => {
      const falling = th.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      th.setAttribute("aria-sort", falling ? "descending" : "ascending");
      made.sort((a, b) => compare(a.cells[column], b.cells[column]) * (falling ? -1 : 1));
      made[0].row.parentElement!.append(...made.map(({ row }) => row));
    });
    return th;
  });
  return tableOf(heads, made.map(({ row }) => row));
}

function compare(a: string, b: string): number {
  const [x, y] = [parseFloat(a), parseFloat(b)];
  return Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b) : x - y;
}

/** A chart as wide as its place, drawn again when that changes, with its figures below. */
export function chart(draw: Chart, table?: HTMLElement): HTMLElement {
  const place = element("div");
  const figure = element("figure", {}, place);
  if (table) {
    figure.append(element("details", {}, element("summary", {}, "The figures as a table"), table));
  }
  let drawn = 0;
  new ResizeObserver(([{ contentRect: { width } }]) => {
    if (Math.abs(width - drawn) < 2 || width === 0) return;
    drawn = width;
    place.replaceChildren(draw(Math.round(width)));
  }).observe(place);
  return figure;
}
