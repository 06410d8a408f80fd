/**
 * A number format, scheme or vector format in YAML, tried on numbers: what the explorer shows.
 *
 * @module
 */

import { readYaml } from "../../formats/yaml.ts";
import { type Codecs, VECTOR_FAMILIES } from "../../spec/mod.ts";
import type { FormatView, Trial } from "../protocol.ts";
import { examineNumbers } from "./examine_numbers.ts";
import { examineScheme } from "./examine_scheme.ts";
import { examineVector } from "./examine_vector.ts";

/**
 * Reads and tries a document: a scheme if it has a granularity, else a vector format or a number
 * format by its family. Errors name the line, as those of `parseYaml` do.
 *
 * @example
 * ```ts
 * import { assert, assertEquals } from "@std/assert";
 * import { createWorkbench } from "../../workbench.ts";
 * import { examine } from "./examine.ts";
 * using lowbit = await createWorkbench();
 * const scheme = "id: mine\nsummary: s\nelement: int4\ngranularity: { kind: group, size: 32 }\n" +
 *   "scale: { rule: absmax, format: float16 }\n";
 * const view = examine({ yaml: scheme, on: "gaussian", group: 64 }, lowbit.codecs);
 * assertEquals([view.kind, view.bits], ["scheme", 4.5]); // 16 bits of scale for 32 numbers
 * assert(view.error.sqnr_db > 18 && view.error.sqnr_db < 21);
 * ```
 */
export function examine(trial: Trial, codecs: Codecs): FormatView {
  const { document } = readYaml(trial.yaml, "format");
  const { granularity, family } = (document ?? {}) as Record<string, unknown>;
  if (granularity !== undefined) return examineScheme(trial, codecs);
  if ((VECTOR_FAMILIES as readonly unknown[]).includes(family)) return examineVector(trial, codecs);
  return examineNumbers(trial);
}
