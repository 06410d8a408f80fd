/// <reference lib="dom" />
/**
 * What is in a checkpoint: a line, and a table of tensors folded away.
 *
 * @module
 */

import { bytesText, h, numberText } from "./dom.ts";
import type { ModelView } from "./protocol.ts";

/** The panel of a checkpoint. */
export function modelPanel(model: ModelView): HTMLElement {
  const words = [
    model.kind,
    model.architecture,
    `${numberText(model.parameters / 1e6, 3)} million parameters`,
    bytesText(model.bytes),
    model.tokenizer ? undefined : "no tokenizer: no calibration, no scores, no text",
  ].filter((word) => word !== undefined);
  return h(
    "div",
    { class: "panel", id: "model" },
    h("p", {}, words.join(" · ")),
    h(
      "details",
      {},
      h("summary", {}, `${model.tensors.length} tensors`),
      h(
        "div",
        { class: "scroll tall", tabindex: 0, role: "region", "aria-label": "Tensors" },
        h(
          "table",
          {},
          h(
            "thead",
            {},
            h(
              "tr",
              {},
              ...["tensor", "shape", "stored as", "size"].map((name) =>
                h("th", { scope: "col" }, name)
              ),
            ),
          ),
          h(
            "tbody",
            {},
            ...model.tensors.map((tensor) =>
              h(
                "tr",
                {},
                h("th", { scope: "row" }, tensor.name),
                h("td", {}, tensor.shape.join(" × ")),
                h("td", {}, tensor.storage),
                h("td", {}, bytesText(tensor.bytes)),
              )
            ),
          ),
        ),
      ),
    ),
  );
}
