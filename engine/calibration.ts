/**
 * Windows of tokens: for calibration and for evaluation.
 *
 * @module
 */

import { LowbitError } from "../spec/mod.ts";
import { hashBytes } from "./hash.ts";
import { seededRng } from "./rng.ts";

/**
 * Cuts tokens into windows of `length` without overlap; a remainder is left out. At most `count`
 * windows: drawn by `seed` if there is one, evenly spread over the text if `spread` is set, else the
 * first ones.
 *
 * @example
 * ```ts
 * import { cutWindows } from "./calibration.ts";
 * const ids = Int32Array.from({ length: 10 }, (_, i) => i);
 * cutWindows(ids, { length: 4 }).length; // 2
 * ```
 */
export function cutWindows(
  ids: Int32Array,
  options: { length: number; count?: number; spread?: boolean; seed?: number },
): Int32Array[] {
  const { length, spread, seed } = options;
  const available = Math.floor(ids.length / length);
  const count = Math.min(options.count ?? available, available);
  const drawn = seed === undefined ? undefined : draw(available, count, seed);
  return Array.from({ length: count }, (_, i) => {
    const window = drawn ? drawn[i] : spread ? Math.floor(i * available / count) : i;
    return ids.slice(window * length, (window + 1) * length);
  });
}

/** `count` different numbers below `available`, in ascending order. */
function draw(available: number, count: number, seed: number): number[] {
  const rng = seededRng(`calibration/${seed}`);
  const chosen = new Set<number>();
  // One draw for each number: where it has been taken, the newest candidate comes in its place.
  for (let last = available - count; last < available; last++) {
    const candidate = Math.floor(rng.uniform() * (last + 1));
    chosen.add(chosen.has(candidate) ? last : candidate);
  }
  return [...chosen].sort((a, b) => a - b);
}

/** Checks windows against a model; `file` and `field` name their origin. */
export function checkWindows(
  windows: readonly Int32Array[],
  limits: { vocabulary: number; context: number },
  file: string,
): void {
  if (windows.length === 0) {
    throw new LowbitError("CALIBRATION", "is too short for one window", {
      file,
      advice: "give more text, or shorter windows",
    });
  }
  windows.forEach((window, index) => {
    const place = { file, field: `window ${index}` };
    if (window.length < 2) {
      throw new LowbitError("CALIBRATION", "has fewer than 2 tokens", {
        ...place,
        advice: "give windows of 2 tokens or more",
      });
    }
    if (window.length > limits.context) {
      throw new LowbitError(
        "CALIBRATION",
        `has ${window.length} tokens, but the model's context is ${limits.context}`,
        { ...place, advice: "use shorter windows" },
      );
    }
    const bad = window.findIndex((id) => id < 0 || id >= limits.vocabulary);
    if (bad >= 0) {
      throw new LowbitError(
        "CALIBRATION",
        `token ${bad} is ${window[bad]}, but the vocabulary has ${limits.vocabulary}`,
        { ...place, advice: "use ids of this model's tokenizer" },
      );
    }
  });
}

/** A digest of windows, for the receipt. */
export function hashWindows(windows: readonly Int32Array[]): string {
  const parts = windows.flatMap((window) => [window.length, ...window]);
  return hashBytes(new Uint8Array(Int32Array.from(parts).buffer));
}
