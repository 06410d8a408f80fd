/**
 * Statements of the surveys, with the recipes that try them and what decides.
 *
 * @module
 */

import type { Entry } from "../../compare/document.ts";

/** What came of a statement. */
interface Verdict {
  holds: boolean;
  /** The figures that decide. */
  figure: string;
  /** Why it may differ here; shown where it does not hold. */
  why?: string;
}

/** One statement. */
interface Statement {
  text: string;
  source: string;
  recipes: string[];
  judge(at: (name: string) => Entry, reference: Record<string, number>): Verdict;
}

const SURVEY = "survey of low-bit LLMs";
const OVER = "on quantising large models";

/** Perplexity above full precision, percent. */
const loss = (entry: Entry, { perplexity }: Record<string, number>) =>
  100 * (entry.figures.perplexity / perplexity - 1);

/** Whether perplexity stays within some percent. */
function within(recipes: string[], percent: number, why: string): Statement["judge"] {
  return (at, reference) => {
    const losses = recipes.map((name) => loss(at(name), reference));
    return {
      holds: losses.every((value) => value <= percent),
      figure: "perplexity " + losses.map((value) => `${value.toFixed(2)} %`).join(", "),
      why,
    };
  };
}

/** Whether KL rises along a list. */
function rising(recipes: string[], why: string): Statement["judge"] {
  return (at) => {
    const figures = recipes.map((name) => at(name).figures);
    // By two standard errors, as if the models had been scored on different tokens.
    const gaps = figures.slice(1).map((f, i) =>
      (f.kl - figures[i].kl) / Math.hypot(f.kl_standard_error, figures[i].kl_standard_error)
    );
    const least = Math.min(...gaps);
    return {
      holds: least > 2,
      figure: "KL " + figures.map(({ kl }) => kl.toPrecision(3)).join(", then "),
      why: Math.abs(least) <= 2 ? `no difference beyond two standard errors; ${why}` : why,
    };
  };
}

function statement(
  text: string,
  source: string,
  recipes: string[],
  judge: (recipes: string[]) => Statement["judge"],
): Statement {
  return { text, source, recipes, judge: judge(recipes) };
}

/** What is tried. */
export const STATEMENTS: readonly Statement[] = [
  statement(
    "FP8 is near lossless (0.5 % of perplexity)",
    SURVEY,
    ["fp8"],
    (r) => within(r, 0.5, "weights and activations are both in 8 bits"),
  ),
  statement(
    "INT8 costs at most 1 to 3 %",
    SURVEY,
    ["rtn-w8", "rtn-w8a8"],
    (r) => within(r, 3, "small models have less to spare"),
  ),
  statement(
    "4-bit weights stay competitive (3 %)",
    SURVEY,
    ["gptq-w4g128", "nf4-g64"],
    (r) => within(r, 3, "small models have less to spare"),
  ),
  statement(
    "smaller groups have less error",
    SURVEY,
    ["rtn-w4g32", "rtn-w4g64", "rtn-w4g128", "rtn-w4"],
    (r) => rising(r, "channels here have hardly more than one group"),
  ),
  statement(
    "asymmetric scales hold more than symmetric ones at few bits",
    SURVEY,
    ["rtn-w3g64-asym", "rtn-w3g64-sym"],
    (r) => rising(r, "weights here are symmetric around zero"),
  ),
  statement(
    "second-order compensation (GPTQ) beats rounding to nearest",
    OVER,
    ["gptq-w3g64", "rtn-w3g64"],
    (r) => rising(r, "the calibration text is too unlike the one that is scored"),
  ),
  statement(
    "activation-aware scales (AWQ) beat rounding to nearest",
    OVER,
    ["awq-w4g64", "rtn-w4g64"],
    (r) => rising(r, "no input channel stands out, so scaling has little to protect"),
  ),
  statement(
    "moving outliers from activations to weights (SmoothQuant) helps 8-bit activations",
    SURVEY,
    ["smoothquant-w8a8", "rtn-w8a8"],
    (r) =>
      rising(
        r,
        "inputs behind the norms of this model have no outlier channels (largest over median below 3), so " +
          "smoothing only makes weights harder",
      ),
  ),
  statement(
    "rotations (QuaRot) help 4-bit activations",
    OVER,
    ["quarot-online-rtn-w4a4", "rtn-w4a4"],
    (r) => rising(r, "there are no outlier channels to spread"),
  ),
  statement(
    "dynamic scales of activations, by token, hold more than a static one for the tensor",
    SURVEY,
    ["rtn-w8a8", "rtn-w8a8-static"],
    (r) => rising(r, "activations of this model hardly differ between tokens"),
  ),
  statement("each bit less costs more than the one before", SURVEY, [
    "rtn-w8g64",
    "rtn-w6g64",
    "rtn-w4g64",
    "rtn-w3g64",
    "rtn-w2g64",
  ], (r) => rising(r, "")),
];
