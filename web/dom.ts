/// <reference lib="dom" />
/**
 * Elements without a framework: `h` for HTML, `svg` for drawings, and words for numbers.
 *
 * @module
 */

/** What an element can be given: attributes, and listeners as `onclick` and the like. */
export type Properties = Record<
  string,
  string | number | boolean | undefined | ((event: Event) => void)
>;
/** What an element can contain. */
export type Child = Node | string | number | undefined | false;

function fill<E extends Element>(element: E, properties: Properties, children: Child[]): E {
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children) {
    if (child !== undefined && child !== false) {
      element.append(child instanceof Node ? child : String(child));
    }
  }
  return element;
}

/** An HTML element. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  properties: Properties = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  return fill(document.createElement(tag), properties, children);
}

/** An element of a drawing. */
export function svg<K extends keyof SVGElementTagNameMap>(
  tag: K,
  properties: Properties = {},
  ...children: Child[]
): SVGElementTagNameMap[K] {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), properties, children);
}

/** The element with an id, which the page has. */
export function byId<E extends HTMLElement>(id: string): E {
  return document.getElementById(id) as E;
}

/** Replaces what an element contains. */
export function show(parent: Element, ...children: Child[]): void {
  parent.replaceChildren();
  fill(parent, {}, children);
}

/** A labelled control; `control` gets an id if it has none. */
export function field(label: string, control: HTMLElement, hint?: string): HTMLElement {
  control.id ||= `field-${++fields}`;
  return h(
    "div",
    { class: "field" },
    h("label", { for: control.id }, label),
    control,
    hint !== undefined && h("small", {}, hint),
  );
}

let fields = 0;

/** A list of choices, in groups if they have any. */
export function select(
  groups: Record<string, readonly (string | readonly [value: string, label: string])[]>,
  properties: Properties = {},
): HTMLSelectElement {
  const options = (list: readonly (string | readonly [string, string])[]) =>
    list.map((entry) => {
      const [value, label] = typeof entry === "string" ? [entry, entry] : entry;
      return h("option", { value }, label);
    });
  return h(
    "select",
    properties,
    ...Object.entries(groups).flatMap(([label, list]) =>
      label === "" ? options(list) : [h("optgroup", { label }, ...options(list))]
    ),
  );
}

/** A size for people. */
export function bytesText(bytes: number): string {
  const units = ["B", "kB", "MB", "GB"];
  const step = Math.min(3, Math.floor(Math.log10(Math.max(bytes, 1)) / 3));
  const value = bytes / 1000 ** step;
  return `${step === 0 ? value : value.toPrecision(value < 1000 ? 3 : 4)} ${units[step]}`;
}

/** A number in a few digits, without a tail of zeros. */
export function numberText(value: number, digits = 4): string {
  if (!Number.isFinite(value)) return value > 0 ? "∞" : value < 0 ? "−∞" : "NaN";
  if (value === 0) return Object.is(value, -0) ? "−0" : "0";
  const size = Math.abs(value);
  const text = size >= 1e6 || size < 1e-4
    ? value.toExponential(digits - 2).replace(/\.?0+e/, "e").replace("e+", "e")
    : String(Number(value.toPrecision(digits)));
  return text.replaceAll("-", "−");
}

/** Gives a file to the user, from memory. */
export function download(name: string, blob: Blob): void {
  const url = URL.createObjectURL(blob);
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
