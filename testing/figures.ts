/**
 * Checks of the hook `evaluate`: figures must not depend on how positions are split.
 *
 * @module
 */

import { seededRng } from "../engine/rng.ts";
import type { Plugin } from "../spec/mod.ts";
import { type Bench, contextOf } from "./bench.ts";
import { closeTo } from "./close.ts";
import type { Findings } from "./report.ts";

const ROWS = 30;
const VOCABULARY = 12;

/** Runs the checks. */
export function checkFigures(
  plugin: Plugin,
  options: Record<string, unknown>,
  bench: Bench,
  findings: Findings,
): void {
  if (!plugin.evaluate) return;
  const rng = seededRng("testing/figures");
  const scores = () => {
    const values = Float32Array.from({ length: ROWS * VOCABULARY }, () => rng.normal());
    for (let row = 0; row < ROWS; row++) {
      const part = values.subarray(row * VOCABULARY, (row + 1) * VOCABULARY);
      const log = Math.log(part.reduce((sum, value) => sum + Math.exp(value), 0));
      part.forEach((value, i) => part[i] = value - log);
    }
    return values;
  };
  const [model, reference] = [scores(), scores()];
  const targets = Int32Array.from({ length: ROWS }, () => rng.uint32() % VOCABULARY);
  const figures = (...starts: number[]) => {
    const evaluator = plugin.evaluate!({ context: contextOf(bench, plugin, options) });
    for (const [i, start] of starts.entries()) {
      const end = starts[i + 1] ?? ROWS;
      const cut = (values: Float32Array) =>
        bench.kernels.upload(values.slice(start * VOCABULARY, end * VOCABULARY));
      using logProbabilities = cut(model);
      using other = cut(reference);
      const before = [logProbabilities.array.slice(), other.array.slice()];
      evaluator.add({
        rows: end - start,
        vocabulary: VOCABULARY,
        logProbabilities,
        reference: other,
        targets: targets.slice(start, end),
      });
      const changed = closeTo(before, [logProbabilities.array, other.array], 0);
      findings.case("inputs", changed && "evaluate changed its log-probabilities");
    }
    return evaluator.result();
  };
  const whole = findings.try("figures", "all positions at once", () => figures(0));
  if (!whole) return;
  for (const [name, value] of Object.entries(whole)) {
    findings.case("figures", Number.isFinite(value) ? undefined : `${name} is ${value}`);
  }
  for (const starts of [[0, 1, 17], [0, 10, 20]]) {
    const place = `split at ${starts.slice(1).join(" and ")}`;
    const split = findings.try("figures", place, () => figures(...starts));
    const difference = closeTo(whole, split, 1e-6);
    findings.case("figures", difference && `${place}: ${difference}`);
  }
}
