/// <reference lib="dom" />
/**
 * The format explorer: up to four number formats in YAML, side by side.
 *
 * @module
 */

import { withBits } from "./bits.ts";
import { errorCurves, numberLine } from "./charts.ts";
import { codeTable } from "./codes.ts";
import { comparison, legend, type Shown } from "./comparison.ts";
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

const DISTRIBUTIONS = [
  ["gaussian", "normal"],
  ["laplace", "Laplace"],
  ["student_t", "Student's t, 4 degrees of freedom"],
  ["uniform", "uniform"],
] as const;

/** Heights of the densities that number lines are drawn over, up to 4 standard deviations. */
const DENSITY: Record<string, (x: number) => number> = {
  gaussian: (x) => Math.exp(-x * x / 2),
  laplace: (x) => Math.exp(-Math.abs(x)),
  student_t: (x) => (1 + x * x / 4) ** -2.5,
  uniform: () => 0.5,
};

/** Makes the view. */
export function openExplorer(section: HTMLElement): { arrive(state: string): void } {
  const explorer = new Explorer(section);
  return { arrive: (state) => void explorer.arrive(state) };
}

class Explorer {
  readonly #slots: Slot[] = [];
  readonly #engine = Engine.start(1);
  #catalog: Record<string, string> = {};
  #tensor?: { name: string; values: Float32Array };
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
      h("h1", { id: "formats-title" }, "Number formats"),
      h(
        "p",
        { class: "lead" },
        "A number format is a few lines of YAML. Choose one or write your own, and see which numbers " +
          "it can hold, what its codes mean and how well it holds yours.",
      ),
      h(
        "div",
        { class: "controls" },
        field("Error against", this.#on),
        field("One scale for", this.#group),
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
    this.#catalog = await (await fetch("data/formats.json")).json();
  }

  #addSlot(): void {
    const used = this.#slots.map(({ yaml }) => yaml);
    const next = ["float8_e4m3fn", "sf4", "flint4", "int4"].map((id) => this.#catalog[id])
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
    this.#tensor = { name, values: await engine.call("sample", { tensor: name }) };
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
    const families: Record<string, string[]> = {};
    for (const [id, yaml] of Object.entries(this.#catalog)) {
      const family = /^family: (\w+)/m.exec(yaml)?.[1] ?? "other";
      (families[family] ??= []).push(id);
    }
    const pick = select({ "": [["", "of your own"]], ...families }, { id: `pick-${index}` });
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
      const now = Number(/^bits:\s*(\d+)/m.exec(slot.yaml)?.[1] ?? 4);
      bits.value = String(now);
      bits.disabled = [now - 1, now + 1].every((n) =>
        withBits(slot.yaml, n, this.#catalog) === undefined
      );
      bitsLabel.textContent = bits.disabled ? `Bits: ${now}, by its values` : `Bits: ${now}`;
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
      const from = Number(/^bits:\s*(\d+)/m.exec(slot.yaml)?.[1]);
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
      const trial = { yaml: slot.yaml, on, group: Number(this.#group.value) };
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
    const density = this.#density();
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
          numberLine(view.values, {
            slot,
            id: view.id,
            density,
            log: this.#log.checked,
            width: innerWidthOf(this.#lines),
          }),
        )
      ),
    );
    show(this.#table, comparison(shown, Number(this.#group.value)));
    show(
      this.#curves,
      errorCurves(
        shown.map(({ view, slot }) => ({ slot, label: view.id, points: view.curve })),
        innerWidthOf(this.#curves),
      ),
      legend(shown),
      h("p", { class: "facts" }, "Largest relative error by magnitude"),
    );
    show(this.#codes, ...shown.map(({ view, slot }) => codeTable(view, slot)));
  }

  /** The density of what formats are tried on, from one end of the number line to the other. */
  #density(): number[] {
    const count = 121;
    if (this.#on.value !== "tensor") {
      const f = DENSITY[this.#on.value];
      return Array.from({ length: count }, (_, i) => f(8 * i / (count - 1) - 4));
    }
    const { values } = this.#tensor!;
    const peak = values.reduce((max, v) => Math.max(max, Math.abs(v)), 1e-30);
    const counts = new Array<number>(count).fill(0);
    for (const v of values) counts[Math.round((v / peak + 1) / 2 * (count - 1))]++;
    return counts;
  }
}

/** The width that a drawing in a panel has. */
function innerWidthOf(panel: HTMLElement): number {
  return Math.max(240, panel.clientWidth - 32);
}
