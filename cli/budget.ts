/**
 * Budgets from arguments: how many bits or bytes the schemes of a recipe may cost.
 *
 * @module
 */

import { LowbitError, type Recipe } from "../spec/mod.ts";
import type { Arguments, Option } from "./arguments.ts";

/** The options that give a recipe its budget. */
export const BUDGET_OPTIONS: readonly Option[] = [
  {
    name: "bits",
    type: "number",
    value: "BITS",
    help: "choose schemes for so many bits a weight, scales included (see budget in a recipe)",
  },
  {
    name: "target-size",
    type: "bytes",
    value: "SIZE",
    help: "choose schemes so that the tensors and their headers are at most so large",
  },
];

/** What is chosen from, where a recipe does not say: integers of 2 to 8 bits in groups of 64. */
const SCHEMES = [2, 3, 4, 6, 8].map((bits) => ({
  base: "int4_g64_asym",
  element: `uint${bits}`,
}));

/** The recipe with the budget that the arguments give; without any it stays as it is. */
export function withBudget(recipe: Recipe, args: Arguments): Recipe {
  const bits = args.number("bits"), bytes = args.number("target-size");
  if (bits === undefined && bytes === undefined) return recipe;
  if (bits === 0 || bytes === 0) {
    throw new LowbitError("USAGE", "a budget must be above 0", {
      advice: "as in --bits 3.75, or --target-size 2GiB",
    });
  }
  const { schemes } = recipe.budget ?? { schemes: SCHEMES };
  const planners = ["sensitivity", "hawq"];
  const pipeline = recipe.pipeline.some(({ use }) => planners.includes(use))
    ? recipe.pipeline
    : [{ use: planners[0], options: {} }, ...recipe.pipeline];
  const budget = { schemes, ...(bits && { bits }), ...(bytes && { bytes }) };
  return { ...recipe, budget, pipeline };
}
