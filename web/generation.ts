/// <reference lib="dom" />
/**
 * Text by the original and by the quantised model, side by side, as it comes.
 *
 * @module
 */

import { field, h, numberText } from "./dom.ts";
import type { Engine } from "./engine.ts";
import type { Piece } from "./protocol.ts";

/** The panel that generates. */
export class Generation {
  /** What the page shows. */
  readonly element: HTMLElement;
  #engine?: Engine;
  readonly #prompt = h("textarea", { id: "prompt", rows: 2 });
  readonly #tokens = h("input", { type: "number", id: "tokens", min: 1, max: 400, value: 60 });
  readonly #temperature = h("input", {
    type: "number",
    id: "temperature",
    min: 0,
    max: 2,
    step: 0.1,
    value: 0,
  });
  readonly #start = h("button", { type: "button", id: "generate", class: "main" }, "Generate");
  readonly #stop = h("button", { type: "button", id: "stop", disabled: true }, "Stop");
  readonly #texts = { original: output("original"), quantised: output("quantised") };

  /** Makes the panel; it asks for the worker when it is used. */
  constructor(engine: () => Promise<Engine>, failed: (error: unknown) => void) {
    this.#prompt.value = "Once upon a time there was";
    this.#start.addEventListener("click", async () => {
      try {
        await this.#generate(await engine());
      } catch (error) {
        failed(error);
      } finally {
        this.#start.disabled = false;
        this.#stop.disabled = true;
      }
    });
    this.#stop.addEventListener("click", () => void this.#engine?.call("stop", {}));
    this.element = h(
      "div",
      {},
      h(
        "div",
        { class: "controls" },
        field("Text to continue", this.#prompt),
        field("Tokens", this.#tokens),
        field("Temperature", this.#temperature, "0 takes the likeliest"),
      ),
      h("div", { class: "row" }, this.#start, this.#stop),
      h(
        "div",
        { class: "beside" },
        ...Object.values(this.#texts).map(({ element }) => element),
      ),
    );
  }

  async #generate(engine: Engine): Promise<void> {
    this.#engine = engine;
    const prompt = this.#prompt.value;
    this.#start.disabled = true;
    this.#stop.disabled = false;
    for (const { text, rate } of Object.values(this.#texts)) {
      text.replaceChildren(h("span", { class: "prompt" }, prompt));
      rate.textContent = "loading";
    }
    await engine.call("generate", {
      prompt,
      tokens: Number(this.#tokens.value),
      temperature: Number(this.#temperature.value),
      seed: 0,
    }, (event) => {
      if ("of" in event) this.#piece(event);
    });
    for (const { rate } of Object.values(this.#texts)) {
      if (rate.textContent === "loading") rate.textContent = "";
    }
  }

  #piece({ of, text, tokens, seconds }: Piece): void {
    const { text: element, rate } = this.#texts[of];
    element.append(text);
    rate.textContent = tokens > 1
      ? `${tokens} tokens, ${numberText((tokens - 1) / seconds, 3)} a second`
      : "";
  }
}

function output(of: Piece["of"]): { element: HTMLElement; text: HTMLElement; rate: HTMLElement } {
  const text = h("p", { class: "text", id: `text-${of}` });
  const rate = h("small", { id: `rate-${of}` });
  return { element: h("div", { class: "panel" }, h("h3", {}, of), text, rate), text, rate };
}
