/**
 * Protocols of perplexity: how a text becomes windows, and which of their tokens are scored.
 *
 * @module
 */

import { LowbitError } from "../spec/mod.ts";

/** How a text becomes windows. */
export interface WindowProtocol {
  /** Tokens of a window. */
  context: number;
  /** Tokens from the start of a window to the next; `context`, so no overlap, if absent. */
  stride?: number;
  /** At most so many windows, the first ones. */
  count?: number;
  /** The id that takes the place of the first token of each window. */
  bos?: number;
  /** Scores only the second half of each window, whose tokens have a long past. */
  secondHalf?: boolean;
}

/** Windows of token ids, and the place of the first token of each that is scored. */
export interface ScoredWindows {
  /** The windows. */
  windows: Int32Array[];
  /** See {@linkcode windows}. */
  from: number[];
}

/**
 * Cuts a text into windows. Without overlap, a remainder is left out; with overlap, each token is
 * scored once, in the first window that has it, and the last window ends with the text.
 *
 * @example
 * ```ts
 * import { scoredWindows } from "./protocol.ts";
 * const ids = Int32Array.from({ length: 10 }, (_, i) => i);
 * scoredWindows(ids, { context: 4, secondHalf: true }).from; // [3, 3]
 * scoredWindows(ids, { context: 4, stride: 2 }).from; // [1, 2, 2, 2]
 * ```
 */
export function scoredWindows(ids: Int32Array, protocol: WindowProtocol): ScoredWindows {
  const { context, stride = context, count = Infinity, bos, secondHalf } = protocol;
  if (stride < 1 || stride > context) {
    throw new LowbitError("USAGE", `the stride must be 1 to ${context}, not ${stride}`, {
      advice: "change --stride, or leave it out for no overlap",
    });
  }
  const result: ScoredWindows = { windows: [], from: [] };
  for (let start = 0, scored = 1; result.windows.length < count; start += stride) {
    const end = start + context;
    if (stride === context && end > ids.length) break;
    const window = ids.slice(start, Math.min(end, ids.length));
    const from = secondHalf ? (context >> 1) + 1 : Math.max(1, scored - start);
    if (window.length <= from) break;
    if (bos !== undefined) window[0] = bos;
    result.windows.push(window);
    result.from.push(from);
    scored = start + window.length;
    if (scored >= ids.length) break;
  }
  return result;
}
