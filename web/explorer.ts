/// <reference lib="dom" />
/**
 * The format explorer: up to four number formats, schemes and vector formats in YAML, side by side.
 *
 * @module
 */

import { bitsOf, withBits } from "./bits.ts";
import { errorCurves, numberLine, pairsPlot } from "./charts.ts";
import { codeTable } from "./codes.ts";
import { comparison, legend, type Shown } from "./comparison.ts";
import { DENSITY, densityOf, DISTRIBUTIONS } from "./density.ts";
import { byId, field, h, select, show } from "./dom.ts";
import { Engine, EngineError, faultText } from "./engine.ts";
import { packLink, unpackLink } from "./link.ts";
import type { Fault, FormatView, Trial } from "./protocol.ts";

const MOST = 4;
const FIRST = ["int4", "nf4", "float4_e2m1fn"];

interface Slot {
  yaml: string;
  view?: FormatView;
  fault?: Fault;
}

/** What a link carries. */
interface Shared {
  formats: string[];
  on: string;
  group: number;
}

/** Makes the view. */
export function openExplorer(section: HTMLElement): { arrive(state: string): void } {
  const explorer = new Explorer(section);
  return { arrive: (state) => void explorer.arrive(state) };
}

class Explorer {
  readonly #slots: Slot[] = [];
  readonly #engine = Engine.start(1);
  /** YAML by id; ids are different over all kinds. */
  #catalog: Record<string, string> = {};
  /** Ids by what the picker calls them. */
  #groups: Record<string, string[]> = {};
  #shapes = new Map<string, number[]>();
  #tensor?: { name: string; values: Float32Array; columns: number };
  #ready?: Promise<void>;
  #state?: string;
  #turn = 0;

  readonly #on = select({ "": [...DISTRIBUTIONS] });
  readonly #group = select({
    "": [["16", "16 numbers"], ["32", "32 numbers"], ["64", "64 numbers"], ["128", "128 numbers"], [
      "0",
      "all numbers",
    ]],
  });
  readonly #log = h("input", { type: "checkbox", id: "log-axis" });
  readonly #file = h("input", { type: "file", accept: ".safetensors,.gguf" });
  readonly #tensors = h("select");
  readonly #tensorField = field("Tensor", this.#tensors);
  readonly #add = h("button", { type: "button", id: "add-format" }, "Add a format");
  readonly #copy = h("button", { type: "button", id: "copy-link" }, "Copy link");
  readonly #said = h("p", { role: "status", class: "said" });
  readonly #cards = h("div", { class: "cards" });
  readonly #lines = h("div", { class: "panel" });
  readonly #table = h("div", { class: "panel scroll" });
  readonly #curves = h("div", { class: "panel" });
  readonly #codes = h("div", { class: "panel" });

  constructor(section: HTMLElement) {
    this.#tensorField.hidden = true;
    this.#group.value = "64";
    this.#on.addEventListener("change", () => this.#tryAll());
    this.#group.addEventListener("change", () => this.#tryAll());
    this.#log.addEventListener("change", () => this.#draw());
    this.#add.addEventListener("click", () => this.#addSlot());
    this.#copy.addEventListener("click", () => this.#copyLink());
    this.#file.addEventListener("change", () => this.#openFile());
    this.#tensors.addEventListener("change", () => this.#takeTensor());
    let width = innerWidth;
    addEventListener("resize", () => {
      if (width !== innerWidth) this.#draw();
      width = innerWidth;
    });
    show(
      section,
      h("h1", { id: "formats-title" }, "Formats"),
      h(
        "p",
        { class: "lead" },
        "A number format is a few lines of YAML; so are a scheme, which adds scales to one, and a " +
          "vector format, whose codes stand for several numbers. Choose some or write your own, and " +
          "see what they can hold, what their codes mean and how well they hold your numbers.",
      ),
      h(
        "div",
        { class: "controls" },
        field("Error against", this.#on),
        field("One scale for", this.#group, "for number formats; schemes have their own"),
        field("or a tensor of a file of yours", this.#file),
        this.#tensorField,
      ),
      this.#cards,
      h("div", { class: "row" }, this.#add, this.#copy, this.#said),
      h("h2", {}, "Number lines"),
      h(
        "p",
        { class: "check" },
        this.#log,
        h("label", { for: "log-axis" }, "logarithmic"),
      ),
      this.#lines,
      h("h2", {}, "Error"),
      h("div", { class: "beside" }, this.#table, this.#curves),
      h("h2", {}, "Codes"),
      this.#codes,
    );
  }

  /** Shows what a link carries, once the catalog is there. */
  async arrive(state: string): Promise<void> {
    this.#ready ??= this.#load();
    await this.#ready;
    if (state === this.#state && this.#slots.length > 0) return;
    this.#state = state;
    const shared = state === "" ? undefined : await unpackLink(state) as Shared | undefined;
    const formats = Array.isArray(shared?.formats) ? shared.formats.map(String).slice(0, MOST) : [];
    if (state !== "" && formats.length === 0) this.#said.textContent = "The link is damaged.";
    if (shared && formats.length > 0) {
      if (String(shared.on) in DENSITY) this.#on.value = String(shared.on);
      this.#group.value = String(shared.group);
      if (this.#group.value === "") this.#group.value = "64";
    }
    if (formats.length === 0 && this.#slots.length > 0) return;
    const yamls = formats.length > 0 ? formats : FIRST.map((id) => this.#catalog[id]);
    this.#slots.splice(0, this.#slots.length, ...yamls.map((yaml) => ({ yaml })));
    this.#build();
    this.#tryAll();
  }

  async #load(): Promise<void> {
    const texts: Record<string, Record<string, string>> = await (await fetch("data/formats.json"))
      .json();
    for (const [kind, found] of Object.entries(texts)) {
      Object.assign(this.#catalog, found);
      for (const [id, yaml] of Object.entries(found)) {
        const family = /^family: (\w+)/m.exec(yaml)?.[1] ?? "";
        const name = kind === "schemes" ? "schemes" : `${kind}: ${family.replace("_", " ")}`;
        (this.#groups[name] ??= []).push(id);
      }
    }
  }

  #addSlot(): void {
    const used = this.#slots.map(({ yaml }) => yaml);
    const next = ["mxfp4", "q4_k", "e8p", "nvfp4_modelopt"].map((id) => this.#catalog[id])
      .find((yaml) => !used.includes(yaml))!;
    this.#slots.push({ yaml: next });
    this.#build();
    this.#tryAll();
    byId(`pick-${this.#slots.length - 1}`).focus();
  }

  async #copyLink(): Promise<void> {
    const shared: Shared = {
      formats: this.#slots.map(({ yaml }) => yaml),
      on: this.#on.value,
      group: Number(this.#group.value),
    };
    this.#state = await packLink(shared);
    history.replaceState(null, "", `#/formats/${this.#state}`);
    try {
      await navigator.clipboard.writeText(location.href);
      this.#said.textContent = "The link is copied.";
    } catch {
      this.#said.textContent = "The address of this page is now the link.";
    }
  }

  async #openFile(): Promise<void> {
    const [file] = this.#file.files ?? [];
    if (!file) return;
    try {
      const engine = await this.#engine;
      const { tensors } = await engine.call("open", { files: [file] });
      const matrices = tensors.filter(({ shape }) => shape.length > 1);
      this.#shapes = new Map(matrices.map(({ name, shape }) => [name, shape]));
      show(this.#tensors, ...matrices.map(({ name }) => h("option", { value: name }, name)));
      this.#tensorField.hidden = false;
      await this.#takeTensor();
    } catch (error) {
      this.#said.textContent = faultText(error);
    }
  }

  async #takeTensor(): Promise<void> {
    const name = this.#tensors.value;
    const engine = await this.#engine;
    const columns = this.#shapes.get(name)!.slice(1).reduce((a, b) => a * b, 1);
    this.#tensor = { name, columns, values: await engine.call("sample", { tensor: name }) };
    if (!this.#on.querySelector("[value=tensor]")) {
      this.#on.append(h("option", { value: "tensor" }, "your tensor"));
    }
    this.#on.value = "tensor";
    this.#tryAll();
  }

  #build(): void {
    show(this.#cards, ...this.#slots.map((slot, index) => this.#card(slot, index)));
    this.#add.disabled = this.#slots.length >= MOST;
  }

  #card(slot: Slot, index: number): HTMLElement {
    const pick = select({ "": [["", "of your own"]], ...this.#groups }, { id: `pick-${index}` });
    const bits = h("input", { type: "range", min: 2, max: 8, id: `bits-${index}` });
    const bitsLabel = h("label", { for: `bits-${index}` }, "Bits");
    const text = h("textarea", {
      id: `yaml-${index}`,
      rows: 9,
      spellcheck: "false",
      autocapitalize: "off",
      "aria-describedby": `fault-${index}`,
    });
    text.value = slot.yaml;
    const gutter = h("div", { class: "gutter", "aria-hidden": "true" });
    const fault = h("p", { id: `fault-${index}`, class: "fault", role: "alert" });
    const refresh = () => {
      const id = /^id:\s*(\S+)/m.exec(slot.yaml)?.[1] ?? "";
      pick.value = this.#catalog[id] === slot.yaml ? id : "";
      const now = bitsOf(slot.yaml);
      bits.value = String(now || 4);
      bits.disabled = [now - 1, now + 1].every((n) =>
        withBits(slot.yaml, n, this.#catalog) === undefined
      );
      const fixed = Number.isNaN(now) ? "Bits: as it says" : `Bits: ${now}, by its values`;
      bitsLabel.textContent = bits.disabled ? fixed : `Bits: ${now}`;
      const lines = slot.yaml.split("\n").length;
      show(
        gutter,
        ...Array.from({ length: lines }, (_, i) => {
          const wrong = slot.fault?.line === i + 1;
          return h("span", { class: wrong ? "wrong" : undefined }, i + 1);
        }),
      );
      text.setAttribute("aria-invalid", String(slot.fault !== undefined));
      const { line, message } = slot.fault ?? {};
      const words = message === undefined ? "" : (line ? `Line ${line}: ` : "") + message;
      if (fault.textContent !== words) fault.textContent = words;
    };
    const change = async (yaml: string) => {
      slot.yaml = yaml;
      if (text.value !== yaml) text.value = yaml;
      await this.#try(slot);
      refresh();
      this.#draw();
    };
    pick.addEventListener("change", () => pick.value && void change(this.#catalog[pick.value]));
    text.addEventListener("input", () => void change(text.value));
    text.addEventListener("scroll", () => gutter.scrollTop = text.scrollTop);
    bits.addEventListener("input", () => {
      const wanted = Number(bits.value);
      const from = bitsOf(slot.yaml);
      // A slider that jumps over a gap in the catalog stops at the last bits that there are.
      for (let n = wanted; n !== from; n += Math.sign(from - n)) {
        const yaml = withBits(slot.yaml, n, this.#catalog);
        if (yaml !== undefined) return void change(yaml);
      }
      refresh();
    });
    const remove = h("button", {
      type: "button",
      class: "quiet",
      "aria-label": `Remove format ${index + 1}`,
      onclick: () => {
        this.#slots.splice(index, 1);
        this.#build();
        this.#draw();
        this.#add.focus();
      },
    }, "Remove");
    refresh();
    this.#refreshers.set(slot, refresh);
    return h(
      "fieldset",
      { class: `card slot-${index}` },
      h("legend", {}, `Format ${index + 1}`),
      h("label", { for: `pick-${index}` }, "From the catalog"),
      h("div", { class: "row" }, pick, this.#slots.length > 1 && remove),
      bitsLabel,
      bits,
      h("label", { for: `yaml-${index}` }, "Definition"),
      h("div", { class: "editor" }, gutter, text),
      fault,
    );
  }

  readonly #refreshers = new WeakMap<Slot, () => void>();

  async #try(slot: Slot): Promise<void> {
    const engine = await this.#engine;
    const on = this.#on.value === "tensor" ? this.#tensor!.values : this.#on.value as Trial["on"];
    try {
      const columns = typeof on === "string" ? undefined : this.#tensor!.columns;
      const trial = { yaml: slot.yaml, on, group: Number(this.#group.value), columns };
      const view = await engine.call("examine", trial);
      if (trial.yaml !== slot.yaml) return; // edited meanwhile
      slot.view = view;
      slot.fault = undefined;
    } catch (error) {
      slot.fault = error instanceof EngineError
        ? error.fault
        : { code: "INTERNAL", message: faultText(error) };
    }
  }

  async #tryAll(): Promise<void> {
    const turn = ++this.#turn;
    await Promise.all(this.#slots.map((slot) => this.#try(slot)));
    if (turn !== this.#turn) return;
    for (const slot of this.#slots) this.#refreshers.get(slot)?.();
    this.#draw();
  }

  #draw(): void {
    const shown = this.#slots.map(({ view }, slot) => ({ view, slot }))
      .filter((entry): entry is Shown => entry.view !== undefined);
    const scalar = shown.filter(({ view }) => view.pairs === undefined);
    const density = densityOf(this.#on.value, this.#tensor?.values);
    show(
      this.#lines,
      ...shown.map(({ view, slot }) =>
        h(
          "figure",
          {},
          h(
            "figcaption",
            {},
            h("span", { class: `swatch slot-${slot}` }),
            `${view.id}: ${view.summary}`,
          ),
          this.#picture({ view, slot }, density),
        )
      ),
    );
    show(this.#table, comparison(shown, Number(this.#group.value)));
    show(
      this.#curves,
      errorCurves(
        scalar.map(({ view, slot }) => ({ slot, label: view.id, points: view.curve })),
        innerWidthOf(this.#curves),
      ),
      legend(scalar),
      h("p", { class: "facts" }, "Largest relative error of a code by magnitude, under one scale"),
    );
    show(this.#codes, ...scalar.map(({ view, slot }) => codeTable(view, slot)));
  }

  /** The number line of a format, or the points of one whose codes stand for several numbers. */
  #picture({ view, slot }: Shown, density: number[]): SVGSVGElement {
    const width = innerWidthOf(this.#lines), { id } = view;
    if (view.pairs) return pairsPlot(view.pairs, { slot, id, width });
    return numberLine(view.values, { slot, id, density, log: this.#log.checked, width });
  }
}

/** The width that a drawing in a panel has. */
function innerWidthOf(panel: HTMLElement): number {
  return Math.max(240, panel.clientWidth - 32);
}
