/**
 * The shipped model and texts: a small language model for demonstrations and tests.
 *
 * @module
 */

/** What is shipped: the model's directory, text to calibrate on, and text held out for evaluation. */
export type Embedded = "model" | "calibration.txt" | "evaluation.txt";

/**
 * The path of a shipped file.
 *
 * @example
 * ```ts
 * import { embeddedPath } from "./mod.ts";
 * embeddedPath("model").endsWith("embedded/model"); // true
 * ```
 */
export function embeddedPath(name: Embedded): string {
  return decodeURIComponent(new URL(name, import.meta.url).pathname);
}
