/// <reference lib="dom" />
/**
 * Quantise here: open a checkpoint, choose a recipe, quantise in a worker, compare, download,
 * generate.
 *
 * @module
 */

import { bytesText, field, h, numberText, select, show } from "./dom.ts";
import { Cancelled, Engine, faultText } from "./engine.ts";
import { Generation } from "./generation.ts";
import { modelPanel } from "./model_panel.ts";
import { type Result, resultTable, WORDS } from "./results.ts";
import type { ModelView, PlanView, Progress } from "./protocol.ts";

const TARGETS = [
  ["lowbit", "lowbit (safetensors)"],
  ["compressed-tensors", "compressed-tensors (safetensors)"],
  ["gptq", "GPTQ (safetensors)"],
  ["awq", "AWQ (safetensors)"],
  ["bitsandbytes", "bitsandbytes (safetensors)"],
  ["gguf", "GGUF"],
] as const;

/** Models over so many parameters are large: they are scored on less text. */
const LARGE = 2e7;

/** Makes the view. */
export function openQuantise(section: HTMLElement): Record<never, never> {
  new Quantise(section);
  return {};
}

class Quantise {
  #engine?: Promise<Engine>;
  #sources?: readonly File[] | "embedded";
  #model?: ModelView;
  #plans: PlanView[] = [];
  #recipe = "rtn-w4g64";
  #results: Result[] = [];
  #busy = false;
  #used = false;

  readonly #file = h("input", {
    type: "file",
    id: "files",
    multiple: true,
    accept: ".safetensors,.gguf,.json,.model",
  });
  readonly #embedded = h(
    "button",
    { type: "button", id: "open-embedded" },
    "Open the shipped model",
  );
  readonly #drop = h("div", { class: "drop" });
  readonly #status = h("p", { role: "status", id: "status", class: "said" });
  readonly #fault = h("p", { role: "alert", id: "fault", class: "fault" });
  readonly #bar = h("progress", { id: "progress", max: 1, value: 0, "aria-label": "Progress" });
  readonly #cancel = h("button", { type: "button", id: "cancel" }, "Cancel");
  readonly #working = h("div", { class: "working", hidden: true }, this.#bar, this.#cancel);
  readonly #about = h("div", {});
  readonly #target = select({ "": [...TARGETS] }, { id: "target" });
  readonly #recipes = h("div", {
    class: "panel scroll tall",
    tabindex: 0,
    role: "region",
    "aria-label": "Recipes",
  });
  readonly #own = h("textarea", { id: "own-recipe", rows: 10, spellcheck: "false" });
  readonly #run = h("button", { type: "button", id: "run", class: "main" }, "Quantise");
  readonly #all = h("button", { type: "button", id: "all" }, "Compare all that do not calibrate");
  readonly #windows = h("input", { type: "number", id: "windows", min: 0, max: 64, value: 8 });
  readonly #choose = h("div", { hidden: true });
  readonly #outcome = h("div", { hidden: true });
  readonly #resultList = h("div", {});
  readonly #generation = new Generation(() => this.#fresh(), (error) => this.#failed(error));

  constructor(section: HTMLElement) {
    this.#embedded.addEventListener("click", () => this.#open("embedded"));
    this.#file.addEventListener("change", () => {
      if (this.#file.files?.length) this.#open([...this.#file.files]);
    });
    this.#drop.addEventListener("dragover", (event) => {
      event.preventDefault();
      this.#drop.classList.add("over");
    });
    this.#drop.addEventListener("dragleave", () => this.#drop.classList.remove("over"));
    this.#drop.addEventListener("drop", (event) => {
      event.preventDefault();
      this.#drop.classList.remove("over");
      if (event.dataTransfer?.files.length) this.#open([...event.dataTransfer.files]);
    });
    this.#target.addEventListener("change", () => this.#plan());
    this.#run.addEventListener("click", () => this.#quantise());
    this.#all.addEventListener("click", () => this.#compare());
    this.#cancel.addEventListener("click", () => this.#stop());
    show(
      this.#drop,
      h(
        "p",
        {},
        h("label", { for: "files" }, "Drop a checkpoint here, or choose its files"),
        ": a GGUF file, or a safetensors file with its config.json and tokenizer.json.",
      ),
      h("div", { class: "row" }, this.#file, h("span", {}, "or"), this.#embedded),
    );
    show(
      this.#choose,
      h("h2", {}, "Recipe"),
      h("div", { class: "controls" }, field("Write for", this.#target)),
      this.#recipes,
      h(
        "details",
        {},
        h("summary", {}, "A recipe of your own"),
        h(
          "label",
          { for: "own-recipe" },
          "Recipe in YAML, or a name such as gptq-w3g32; it is used instead if there is one",
        ),
        this.#own,
      ),
      h(
        "div",
        { class: "controls" },
        field("Score on", this.#windows, "windows of held-out text; 0 leaves it out"),
        h("div", { class: "row" }, this.#run, this.#all),
      ),
    );
    show(
      this.#outcome,
      h("h2", {}, "Results"),
      this.#resultList,
      h("h2", {}, "Generate"),
      this.#generation.element,
    );
    show(
      section,
      h("h1", { id: "quantise-title" }, "Quantise here"),
      h(
        "p",
        { class: "lead" },
        "Open a language model, choose a recipe, and take away a smaller one: the same bytes that " +
          "the command line writes. All of it happens in this tab.",
      ),
      this.#drop,
      this.#status,
      this.#fault,
      this.#working,
      this.#about,
      this.#choose,
      this.#outcome,
    );
  }

  async #open(sources: readonly File[] | "embedded"): Promise<void> {
    if (this.#busy) return;
    this.#sources = sources;
    this.#used = false;
    this.#model = undefined;
    this.#results = [];
    for (const part of [this.#choose, this.#outcome]) part.hidden = true;
    show(this.#about);
    await this.#work("Opening", async () => {
      const engine = await this.#started();
      this.#model = await engine.call("open", { files: sources });
      show(this.#about, modelPanel(this.#model));
      if (this.#model.problem !== undefined) return `Opened. ${this.#model.problem}`;
      this.#windows.value = this.#model.parameters > LARGE ? "4" : "8";
      this.#choose.hidden = false;
      this.#plans = await engine.call("plans", { to: this.#target.value });
      this.#showPlans();
      return `Opened: ${this.#model.tensors.length} tensors, ${bytesText(this.#model.bytes)}.`;
    });
  }

  /** A worker with the model open; a new one after a cancelled run. */
  #started(): Promise<Engine> {
    return this.#engine ??= Engine.start();
  }

  async #plan(): Promise<void> {
    await this.#work("Planning", async () => {
      const engine = await this.#started();
      this.#plans = await engine.call("plans", { to: this.#target.value });
      this.#showPlans();
      return "";
    });
  }

  #showPlans(): void {
    const before = this.#model!.bytes;
    const rows = this.#plans.map((plan) => {
      const input = h("input", {
        type: "radio",
        name: "recipe",
        id: `recipe-${plan.recipe}`,
        value: plan.recipe,
        disabled: plan.conflict !== undefined,
      });
      input.addEventListener("change", () => this.#recipe = plan.recipe);
      return h(
        "tr",
        { class: plan.conflict ? "off" : undefined },
        h(
          "th",
          { scope: "row" },
          h("span", { class: "check" }, input, h("label", { for: input.id }, plan.recipe)),
        ),
        h("td", {}, plan.conflict ? "–" : numberText(plan.bits, 3)),
        h("td", {}, plan.conflict ? "–" : bytesText(plan.bytes)),
        h("td", {}, plan.conflict ? "–" : `${(100 * plan.bytes / before).toFixed(0)} %`),
        h("td", {}, plan.calibrated ? "yes" : "no"),
        h("td", { class: "words" }, plan.conflict ?? plan.summary),
      );
    });
    const head = ["recipe", "bits a weight", "size", "of this file", "calibrates", "what it does"];
    show(
      this.#recipes,
      h(
        "table",
        { id: "recipes" },
        h(
          "caption",
          {},
          "Sizes follow from the headers; quality is measured when a recipe has run",
        ),
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            ...head.map((name) =>
              h("th", { scope: "col", class: WORDS.includes(name) && "words" }, name)
            ),
          ),
        ),
        h("tbody", {}, ...rows),
      ),
    );
    const enabled = [...this.#recipes.querySelectorAll<HTMLInputElement>("input:enabled")];
    const chosen = enabled.find(({ value }) => value === this.#recipe) ?? enabled[0];
    if (!chosen) return;
    chosen.checked = true;
    this.#recipe = chosen.value;
    const row = chosen.closest("tr")!;
    this.#recipes.scrollTop = row.offsetTop - this.#recipes.clientHeight / 2;
  }

  async #quantise(): Promise<void> {
    const own = this.#own.value.trim();
    await this.#work("Quantising", async () => {
      const { recipe, seconds, bytes } = await this.#one(own === "" ? this.#recipe : own);
      return `Done: ${recipe} in ${numberText(seconds, 3)} s, ${bytesText(bytes)}.`;
    });
  }

  /** Every recipe that needs no calibration, one after the other. */
  async #compare(): Promise<void> {
    const wanted = this.#plans.filter(({ conflict, calibrated, recipe }) =>
      !conflict && !calibrated && !this.#results.some((result) => this.#same(result, recipe))
    );
    await this.#work("Comparing", async () => {
      for (const { recipe } of wanted) await this.#one(recipe);
      return `Done: ${wanted.length} recipes.`;
    });
  }

  #same(result: Result, recipe: string): boolean {
    return result.recipe === recipe && result.to === this.#target.value;
  }

  /** Quantises by one recipe and scores the result. */
  async #one(recipe: string): Promise<Result> {
    const onProgress = (progress: Progress) => this.#progress(progress);
    const to = this.#target.value;
    const engine = await this.#fresh();
    const result: Result = await engine.call("quantize", { recipe, to }, onProgress);
    this.#results.unshift(result);
    this.#outcome.hidden = false;
    this.#showResults();
    if (!this.#model!.tokenizer) return result;
    const windows = Number(this.#windows.value);
    if (windows > 0) {
      const length = this.#model!.parameters > LARGE ? 128 : 256;
      const scoring = await this.#fresh();
      result.figures = await scoring.call("evaluate", { windows, length }, onProgress);
      this.#showResults();
    }
    return result;
  }

  #showResults(): void {
    show(this.#resultList, ...resultTable(this.#results, this.#outcome.clientWidth - 34));
  }

  #progress({ stage, done, total }: Progress): void {
    this.#bar.max = total;
    this.#bar.value = done;
    this.#status.textContent = `${STAGES[stage] ?? stage}: ${done} of ${total}`;
  }

  /** Runs one piece of work at a time, with its state on the page. */
  async #work(name: string, work: () => Promise<string>): Promise<void> {
    if (this.#busy) return;
    this.#busy = true;
    this.#fault.textContent = "";
    this.#status.textContent = `${name} …`;
    this.#bar.removeAttribute("value");
    this.#working.hidden = false;
    this.#run.disabled =
      this.#all.disabled =
      this.#embedded.disabled =
      this.#target.disabled =
        true;
    try {
      this.#status.textContent = await work();
    } catch (error) {
      this.#failed(error);
    } finally {
      this.#busy = false;
      this.#working.hidden = true;
      this.#run.disabled =
        this.#all.disabled =
        this.#embedded.disabled =
        this.#target.disabled =
          false;
    }
  }

  #failed(error: unknown): void {
    if (error instanceof Cancelled) {
      this.#status.textContent = "Cancelled; nothing was kept of it.";
      return;
    }
    this.#status.textContent = "";
    this.#fault.textContent = faultText(error);
  }

  /** Ends the worker, with all that it was doing, and opens the model in a new one. */
  async #stop(): Promise<void> {
    const engine = await this.#engine;
    const ready = this.#model !== undefined;
    this.#engine = ready ? this.#restored() : undefined;
    engine?.end();
    await this.#engine?.catch((error) => this.#failed(error));
  }

  /**
   * A worker for heavy work: with a large model always another one, as the memory of WebAssembly
   * never shrinks.
   */
  async #fresh(): Promise<Engine> {
    const engine = await this.#started();
    if (this.#used && this.#model!.parameters > LARGE) {
      engine.end();
      this.#engine = this.#restored();
    }
    this.#used = true;
    return await this.#started();
  }

  async #restored(): Promise<Engine> {
    const engine = await Engine.start();
    await engine.call("open", { files: this.#sources! });
    const [last] = this.#results;
    if (last) await engine.call("reopen", { files: last.files });
    return engine;
  }
}

/** The stages of a run, in words. */
const STAGES: Record<string, string> = {
  load: "Loading blocks",
  calibrate: "Calibrating",
  quantize: "Quantising",
  evaluate: "Scoring",
};
