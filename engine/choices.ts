/**
 * Zero-shot multiple choice by likelihood: which continuation a model finds most likely.
 *
 * @module
 */

import { type Evaluator, LowbitError } from "../spec/mod.ts";

/** One question. */
export interface ChoiceItem {
  /** The text before the choices. */
  context: string;
  /** The continuations, with what stands between them and the context. */
  choices: string[];
  /** What the lengths of choices are counted of, for normalisation. */
  lengths: number[];
  /** The number of the right one. */
  gold: number;
}

/** What a task gives. */
export interface ChoiceScore {
  /** Questions. */
  items: number;
  /** Share whose right choice has the greatest likelihood, and its standard error. */
  acc: number;
  /** See {@linkcode acc}. */
  acc_stderr: number;
  /** The same for the likelihood over the number of characters of the choice. */
  acc_norm: number;
  /** See {@linkcode acc_norm}. */
  acc_norm_stderr: number;
  /** Log-likelihoods of the choices, by item. */
  loglikelihoods: number[][];
}

/** What makes ids of texts. */
interface Encoder {
  encode(text: string): Int32Array;
  bos?: number;
  eos?: number;
}

/**
 * The window of a context with a continuation, and the first token of it that is scored. Both are
 * tokenised together; blanks at the end of the context count to the continuation. What does not fit
 * the model is cut off at the front.
 */
export function choiceWindow(
  tokenizer: Encoder,
  context: string,
  continuation: string,
  limit: number,
): { window: Int32Array; from: number } {
  const trimmed = context.trimEnd();
  const blanks = context.slice(trimmed.length);
  const start = tokenizer.bos ?? tokenizer.eos;
  if (trimmed === "" && start === undefined) {
    throw new LowbitError("UNSUPPORTED", "the model has no token to begin an empty context with", {
      advice: "begin each query with a word",
    });
  }
  const whole = trimmed === ""
    ? Int32Array.of(start!, ...tokenizer.encode(context + continuation))
    : tokenizer.encode(trimmed + blanks + continuation);
  const before = trimmed === "" ? 1 : tokenizer.encode(trimmed).length;
  const cut = Math.max(0, whole.length - limit);
  if (before - cut < 1 || whole.length <= before) {
    throw new LowbitError("LIMIT", "a choice is empty, or longer than the model's context", {
      field: continuation.slice(0, 40),
      advice: "shorten the query or the choice",
    });
  }
  return { window: whole.slice(cut), from: before - cut };
}

/** Tokens that go through the blocks at a time. */
const BATCH = 1 << 14;

/**
 * Scores a task. `evaluate` shows evaluators the scored tokens of windows, as a workbench does.
 */
export async function scoreChoices(args: {
  items: readonly ChoiceItem[];
  tokenizer: Encoder;
  /** The longest window. */
  context: number;
  evaluate(what: {
    windows: Int32Array[];
    from: number[];
    evaluators: Evaluator[];
  }): Promise<unknown>;
}): Promise<ChoiceScore> {
  const { items, tokenizer, context, evaluate } = args;
  const asked = items.flatMap((item) =>
    item.choices.map((choice) => choiceWindow(tokenizer, item.context, choice, context))
  );
  const likelihoods: number[] = [];
  for (let at = 0; at < asked.length;) {
    const first = at;
    let tokens = 0;
    while (at < asked.length && (at === first || tokens + asked[at].window.length <= BATCH)) {
      tokens += asked[at++].window.length;
    }
    const batch = asked.slice(first, at);
    const sums = new Array<number>(batch.length).fill(0);
    await evaluate({
      windows: batch.map(({ window }) => window),
      from: batch.map(({ from }) => from),
      evaluators: [{
        add({ window, targets, logProbabilities: { array }, vocabulary }) {
          targets.forEach((target, row) => sums[window!] += array[row * vocabulary + target]);
        },
        result: () => ({}),
      }],
    });
    likelihoods.push(...sums);
  }
  let at = 0;
  const loglikelihoods = items.map(({ choices }) => likelihoods.slice(at, at += choices.length));
  const right = items.map(({ gold }, i) => Number(best(loglikelihoods[i]) === gold));
  const rightByLength = items.map(({ gold, lengths }, i) =>
    Number(best(loglikelihoods[i].map((x, j) => x / lengths[j])) === gold)
  );
  const [acc, acc_stderr] = meanAndError(right);
  const [acc_norm, acc_norm_stderr] = meanAndError(rightByLength);
  return { items: items.length, acc, acc_stderr, acc_norm, acc_norm_stderr, loglikelihoods };
}

function best(values: readonly number[]): number {
  return values.indexOf(Math.max(...values));
}

/** The mean, and its standard error; 0 of a single value. */
export function meanAndError(values: readonly number[]): [mean: number, error: number] {
  const n = values.length;
  const mean = values.reduce((a, b) => a + b, 0) / n;
  const squares = values.reduce((sum, x) => sum + (x - mean) ** 2, 0);
  return [mean, n > 1 ? Math.sqrt(squares / (n - 1) / n) : 0];
}
