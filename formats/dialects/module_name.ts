/**
 * Modules by their weights, as Hugging Face names them.
 *
 * @module
 */

/** The module of a weight: its name without `.weight`. */
export function moduleName(weight: string): string {
  return weight.replace(/\.weight$/, "");
}
