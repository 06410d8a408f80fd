/**
 * The integer program of a plan: one scheme for each weight, at the least loss within a budget.
 *
 * @module
 */

import type { Highs } from "highs";

/** A weight's choices: what each costs, and what it is predicted to lose. */
export interface Choices {
  /** Bytes. */
  costs: readonly number[];
  /** Predicted losses, at least 0. */
  losses: readonly number[];
}

/** Losses are scaled to this, so that the solver's tolerances are small beside them. */
const LARGEST = 1e6;

/** Solves for one budget after the other: the choice of each weight, or undefined where none fits. */
export async function leastLoss(
  weights: readonly Choices[],
  budgets: readonly number[],
): Promise<(number[] | undefined)[]> {
  // Loaded when a plan is asked for; the types declare the default export as the whole module.
  const { default: load } = await import("highs");
  const highs = await (load as unknown as () => Promise<Highs>)();
  const largest = Math.max(...weights.flatMap(({ losses }) => losses));
  const factor = largest > 0 ? LARGEST / largest : 1;
  const sum = (value: (choices: Choices, k: number) => number) =>
    weights.flatMap((choices, i) =>
      choices.costs.map((_, k) => `${value(choices, k).toExponential(12)} x${i}_${k}`)
    ).join("\n + ");
  const names = weights.map(({ costs }, i) => costs.map((_, k) => `x${i}_${k}`));
  return budgets.map((budget) => {
    const { Status, Columns } = highs.solve(
      [
        "Minimize",
        ` loss: ${sum(({ losses }, k) => factor * losses[k])}`,
        "Subject To",
        ...names.map((row, i) => ` one${i}: ${row.join(" + ")} = 1`),
        ` budget: ${sum(({ costs }, k) => costs[k])} <= ${budget}`,
        "Binary",
        ...names.map((row) => ` ${row.join(" ")}`),
        "End",
      ].join("\n"),
      { mip_rel_gap: 0, output_flag: false, random_seed: 0 },
    );
    if (Status !== "Optimal") return undefined;
    return names.map((row) =>
      row.findIndex((name) => (Columns[name] as { Primal: number }).Primal > 0.5)
    );
  });
}
