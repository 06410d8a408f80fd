/**
 * Checks of the hook `collect`: batches may come split in any way, and be merged.
 *
 * @module
 */

import type { Plugin, Statistic } from "../spec/mod.ts";
import { type Bench, contextOf, exactInputs, linearOf } from "./bench.ts";
import type { Findings } from "./report.ts";
import { closeTo } from "./close.ts";

const COLUMNS = 24;
const TOKENS = 60;

/** Runs the checks. */
export function checkStatistics(
  plugin: Plugin,
  options: Record<string, unknown>,
  bench: Bench,
  findings: Findings,
): void {
  if (!plugin.collect) return;
  const context = contextOf(bench, plugin, options);
  const linear = linearOf(16, COLUMNS);
  const inputs = exactInputs(TOKENS, COLUMNS);
  const collect = (...batches: [start: number, end: number][]): Statistic => {
    const statistic = plugin.collect!({ context, linear });
    for (const [start, end] of batches) {
      using x = bench.kernels.upload(inputs.slice(start * COLUMNS, end * COLUMNS));
      statistic.add(x, end - start, COLUMNS);
    }
    return statistic;
  };
  const whole = findings.try("batches", "one batch", () => collect([0, TOKENS]).value());
  const same = (name: string, make: () => Statistic) => {
    const value = findings.try("batches", name, () => make().value());
    const difference = closeTo(whole, value);
    findings.case("batches", difference && `${name}: the statistic differs, ${difference}`);
  };
  same("split in three", () => collect([0, 1], [1, 37], [37, TOKENS]));
  same("shuffled", () => collect([37, TOKENS], [0, 1], [1, 37]));
  same("merged", () => {
    const [left, right] = [collect([0, 20]), collect([20, TOKENS])];
    right.merge(left);
    return right;
  });
}
