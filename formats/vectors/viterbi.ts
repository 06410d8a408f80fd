/**
 * Viterbi's algorithm on a bit-shift trellis.
 *
 * @module
 */

/** A sequence and the trellis that it is coded by. */
export interface TrellisArguments {
  /** The elements. */
  sequence: Float32Array;
  /** Weights of squared errors, one an element. */
  weights?: Float32Array;
  /** What states mean: `[2^state, V]`. */
  values: Float32Array;
  /** Bits of a state. */
  state: number;
  /** Bits that a step shifts in. */
  step: number;
  /** The low `state - step` bits of the state before the first step; any if absent. */
  start?: number;
  /** The low `state - step` bits of the last state; any if absent. */
  end?: number;
}

/** The codes of a sequence. */
export interface TrellisCodes {
  /** One a step. */
  codes: Uint32Array;
  /** The states that they lead to. */
  states: Uint32Array;
  /** The sum of (weighted) squared errors. */
  error: number;
}

/**
 * The codes of least squared error (Viterbi 1967; Tseng et al. 2024, arXiv 2406.11235, section 2.3).
 * States that share their low `state - step` bits have the same successors, so that only the best
 * of them goes on. Exact; of equal paths the one from the lower state is taken.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { viterbi } from "./viterbi.ts";
 * const values = Float32Array.of(-3, -1, 1, 3); // a state is the last two bits
 * const sequence = Float32Array.of(-0.9, 1.2, 2.8);
 * const { codes, error } = viterbi({ sequence, values, state: 2, step: 1, start: 0 });
 * assertEquals([[...codes], Math.round(error * 100)], [[1, 1, 1], 329]);
 * ```
 */
export function viterbi(args: TrellisArguments): TrellisCodes {
  const { sequence, weights, values, state, step, start, end } = args;
  const states = 2 ** state;
  const overlaps = 2 ** (state - step);
  const fan = 2 ** step;
  const vector = values.length / states;
  const steps = sequence.length / vector;
  let cost = new Float64Array(states);
  let next = new Float64Array(states);
  // best[o]: the least cost of a path to a state with the low bits o.
  const best = new Float64Array(overlaps);
  const from = new Uint32Array(steps * overlaps);
  if (start !== undefined) best.fill(Infinity)[start] = 0;
  for (let t = 0; t < steps; t++) {
    if (t > 0) {
      for (let o = 0; o < overlaps; o++) {
        let [least, origin] = [cost[o], o];
        for (let j = 1, s = o + overlaps; j < fan; j++, s += overlaps) {
          if (cost[s] < least) [least, origin] = [cost[s], s];
        }
        best[o] = least;
        from[t * overlaps + o] = origin;
      }
    }
    for (let s = 0; s < states; s++) {
      let error = 0;
      for (let v = 0; v < vector; v++) {
        const difference = sequence[t * vector + v] - values[s * vector + v];
        const square = difference * difference;
        error += weights ? weights[t * vector + v] * square : square;
      }
      next[s] = best[s >>> step] + error;
    }
    [cost, next] = [next, cost];
  }
  let last = -1;
  for (let s = 0; s < states; s++) {
    if (end !== undefined && s % overlaps !== end) continue;
    if (last < 0 || cost[s] < cost[last]) last = s;
  }
  const found = {
    codes: new Uint32Array(steps),
    states: new Uint32Array(steps),
    error: cost[last],
  };
  for (let t = steps - 1, s = last; t >= 0; t--) {
    found.states[t] = s;
    found.codes[t] = s % fan;
    s = from[t * overlaps + (s >>> step)];
  }
  return found;
}

/**
 * Codes whose last state is the one before the first step, so that no start has to be stored: QTIP
 * (arXiv 2406.11235, algorithm 4). The sequence is coded from its middle, round the end to the
 * middle again; where this path crosses the end gives the state to start and to end with. Not
 * always the best such path; `exact` tries all of them, which takes `2^(state - step)` times as
 * long.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { tailBiting } from "./viterbi.ts";
 * const values = Float32Array.of(-3, -1, 1, 3);
 * const sequence = Float32Array.of(1, 2.8, 3.1, -1);
 * const { states } = tailBiting({ sequence, values, state: 2, step: 1 });
 * assertEquals(states[0] >> 1, states[3] & 1);
 * ```
 */
export function tailBiting(args: TrellisArguments, exact = false): TrellisCodes {
  const { sequence, weights, values, state, step } = args;
  const overlaps = 2 ** (state - step);
  if (exact) {
    let best: TrellisCodes | undefined;
    for (let overlap = 0; overlap < overlaps; overlap++) {
      const found = viterbi({ ...args, start: overlap, end: overlap });
      if (!best || found.error < best.error) best = found;
    }
    return best!;
  }
  const vector = values.length / 2 ** state;
  const steps = sequence.length / vector;
  const half = Math.floor(steps / 2) * vector;
  const rotate = (x: Float32Array) => {
    const out = new Float32Array(x.length);
    out.set(x.subarray(half));
    out.set(x.subarray(0, half), x.length - half);
    return out;
  };
  const turned = viterbi({
    ...args,
    sequence: rotate(sequence),
    weights: weights && rotate(weights),
  });
  const seam = turned.states[steps - Math.floor(steps / 2) - 1] % overlaps;
  return viterbi({ ...args, start: seam, end: seam });
}
