/// <reference lib="dom" />
/**
 * The atlas: every method of the surveys, with its equation, its figures and a button that runs it.
 *
 * @module
 */

import { field, h, numberText, select, show } from "./dom.ts";
import { Cancelled, Engine, faultText } from "./engine.ts";
import { type MathNode, parseMath } from "./mathml.ts";
import type { Method } from "./methods.ts";
import type { ResultView } from "./protocol.ts";
import type { QualityRow } from "./quality.ts";

/** Windows of text that a method is scored on. */
const WINDOWS = 4;

/** Makes the view. */
export function openAtlas(section: HTMLElement): Record<never, never> {
  void fill(section);
  return {};
}

async function fill(section: HTMLElement): Promise<void> {
  const read = async <T>(name: string): Promise<T> =>
    await (await fetch(`data/${name}.json`)).json();
  const [methods, quality] = await Promise.all([
    read<Method[]>("methods"),
    read<QualityRow[]>("quality"),
  ]);
  const here = methods.filter(({ has }) => has !== undefined).length;
  const search = h("input", { type: "search", id: "search" });
  const sections = select({
    "": [["", "all"], ...new Set(methods.map(({ section }) => section))],
  }, { id: "section" });
  const only = h("input", { type: "checkbox", id: "only-here" });
  const count = h("p", { role: "status", class: "said" });
  const list = h("div", { class: "methods" });
  const cards = methods.map((method) => ({ method, card: methodCard(method, quality) }));
  const filter = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = cards.filter(({ method }) => {
      const text = `${method.name} ${method.does} ${method.section} ${method.needs}`.toLowerCase();
      return words.every((word) => text.includes(word)) &&
        (sections.value === "" || sections.value === method.section) &&
        (!only.checked || method.has !== undefined);
    });
    count.textContent = `${found.length} of ${methods.length} methods`;
    const groups = Map.groupBy(found, ({ method }) => method.section);
    show(
      list,
      ...[...groups].flatMap(([name, group]) => [
        h("h2", {}, name),
        h("div", { class: "cards" }, ...group.map(({ card }) => card)),
      ]),
    );
  };
  search.addEventListener("input", filter);
  sections.addEventListener("change", filter);
  only.addEventListener("change", filter);
  show(
    section,
    h("h1", { id: "methods-title" }, "Methods"),
    h(
      "p",
      { class: "lead" },
      `${methods.length} methods of the surveys of low-bit language models, of which ${here} are in ` +
        "lowbit. Run them here, on the shipped model of 3.8 million parameters.",
    ),
    h(
      "div",
      { class: "controls" },
      field("Search", search),
      field("Section", sections),
      h("p", { class: "check" }, only, h("label", { for: "only-here" }, "only what lowbit has")),
    ),
    count,
    list,
  );
  filter();
}

function methodCard(method: Method, quality: readonly QualityRow[]): HTMLElement {
  const { name, year, paper, does, equation, needs, has, idle } = method;
  const arxiv = /^\d{4}\.\d{4,5}$/.test(paper);
  return h(
    "article",
    { class: "card method", "aria-label": name },
    h("h3", {}, name, " ", h("small", {}, year)),
    h("p", {}, does),
    h(
      "div",
      { class: "equation scroll", tabindex: 0, role: "group", "aria-label": `Equation of ${name}` },
      // Two blanks behind a comma begin another line.
      ...equation.split(/(?<=,) {2}/).map((line) => mathElement(parseMath(line))),
    ),
    h(
      "p",
      { class: "facts" },
      `Needs weights${needs.map((need) => `, ${need}`).join("")}. `,
      arxiv
        ? h("a", { href: `https://arxiv.org/abs/${paper}`, rel: "noreferrer" }, `arXiv ${paper}`)
        : paper,
    ),
    figures(quality, method) ??
      (method.runs !== undefined && h("p", { class: "facts" }, "Not measured yet: run it here")),
    has === undefined
      ? h("p", { class: "missing" }, "Not implemented yet")
      : h("p", { class: "has" }, `In lowbit: ${has}`),
    idle !== undefined && h("p", { class: "facts" }, idle),
    (method.recipe !== undefined || method.cache !== undefined) && runner(method),
  );
}

/** Whether a recipe is of a method or a format, such as `gptq-w4g64` or `nf4-g64`. */
function startsWith({ recipe }: QualityRow, name: string): boolean {
  return recipe.startsWith(`${name}-w`) || recipe.startsWith(`${name}-g`);
}

/** The measured figures of the recipes of a method. */
function figures(
  quality: readonly QualityRow[],
  { runs, figures: start, format, scheme }: Method,
): HTMLElement | undefined {
  const names = [runs, start, format, scheme].filter((name) => name !== undefined)
    .map((name) => name.replace(/^nf4_.*/, "nf4"));
  const own = quality.filter((row) =>
    names.some((name) => [name, `ggml-${name}`].includes(row.recipe) || startsWith(row, name))
  );
  if (own.length === 0) return undefined;
  return h(
    "details",
    {},
    h("summary", {}, `Measured: ${own.length} result${own.length === 1 ? "" : "s"}`),
    h(
      "div",
      { class: "scroll" },
      h(
        "table",
        {},
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            ...["recipe", "model", "bits", "KL"].map((name) => h("th", { scope: "col" }, name)),
          ),
        ),
        h(
          "tbody",
          {},
          ...own.map((row) =>
            h(
              "tr",
              {},
              h("th", { scope: "row" }, row.recipe),
              h("td", { class: "words" }, row.model),
              h("td", {}, numberText(row.bits, 3)),
              h("td", {}, numberText(row.kl, 3)),
            )
          ),
        ),
      ),
    ),
  );
}

/** A button that quantises the shipped model by a recipe and shows its figures. */
function runner({ name, recipe, cache }: Method): HTMLElement {
  const label = recipe?.includes("\n") ? "Run here" : `Run ${recipe ?? cache}`;
  const said = h("p", { role: "status", class: "said" });
  const button = h("button", { type: "button", "aria-label": `${label}: ${name}` }, label);
  let engine: Engine | undefined;
  button.addEventListener("click", async () => {
    if (engine) return engine.end();
    button.textContent = "Cancel";
    said.textContent = "Starting …";
    try {
      engine = await Engine.start();
      await engine.call("open", { files: "embedded" });
      const onProgress = ({ stage, done, total }: { stage: string; done: number; total: number }) =>
        said.textContent = `${stage}: ${done} of ${total}`;
      const made = recipe === undefined
        ? "Weights as they are"
        : sizeText(await engine.call("quantize", { recipe, to: "lowbit" }, onProgress));
      const { perplexity, original, kl } = await engine.call(
        "evaluate",
        { windows: WINDOWS, length: 256, cache },
        onProgress,
      );
      said.textContent = `${made}; perplexity ${numberText(perplexity)} (full precision ${
        numberText(original)
      }), KL ${numberText(kl, 3)}`;
    } catch (error) {
      said.textContent = error instanceof Cancelled ? "Cancelled." : faultText(error);
    } finally {
      engine?.end();
      engine = undefined;
      button.textContent = label;
    }
  });
  return h("div", {}, button, said);
}

function sizeText({ bits, seconds }: ResultView): string {
  return `${numberText(bits)} bits a weight in ${numberText(seconds, 3)} s`;
}

function mathElement({ tag, content }: MathNode): Element {
  const element = document.createElementNS("http://www.w3.org/1998/Math/MathML", tag);
  // Bars have no sides of their own, so renderers space them as they would a relation.
  if (tag === "mo" && /^[|∥]$/.test(String(content))) {
    for (const space of ["lspace", "rspace"]) element.setAttribute(space, "0.08em");
    element.setAttribute("stretchy", "false");
  }
  if (tag === "mtext" && content !== "\u2009") element.textContent = `\u00a0${content}\u00a0`;
  else if (typeof content === "string") element.textContent = content;
  else element.append(...content.map(mathElement));
  return element;
}
