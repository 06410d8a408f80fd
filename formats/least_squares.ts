/**
 * The range rule `least_squares`: scales and minima of least weighted squared error.
 *
 * The search goes back and forth: codes from candidates of scales, the sums of `code_sums.ts` from
 * codes, and scales and minima from sums, rounded to what is stored of them. All in f64.
 *
 * @module
 */

import type {
  GridParameters,
  RangeRule,
  ResolvedScheme,
  SecondLevel,
  StoredScales,
  Tiling,
} from "../spec/mod.ts";
import {
  bestMinimum,
  errorOf,
  Levels,
  minimumFor,
  scaleFor,
  SUMS,
  type Sums,
} from "./code_sums.ts";
import { numberFormat } from "./lookup.ts";
import { scaleOverflow, scaleStorage } from "./scale_storage.ts";
import { readScales } from "./second_level.ts";

/** How often codes, and rounded scales and minima, are adjusted to each other. */
const ROUNDS = 3;

/**
 * The parameters of least weighted squared error; see `RangeRule`. `importance` has one weight a
 * column.
 *
 * @example
 * ```ts
 * import { assert } from "@std/assert";
 * import { tiling } from "../spec/mod.ts";
 * import { leastSquares } from "./least_squares.ts";
 * import { resolveScheme } from "./lookup.ts";
 * const scheme = resolveScheme("iq4_nl"), tiles = tiling(scheme.granularity, 1, 32);
 * const x = Float32Array.from({ length: 32 }, (_, i) => Math.sin(i));
 * const { scales } = leastSquares(scheme, x, tiles, { rule: "least_squares", candidates: 16 });
 * assert(Math.abs(Math.abs(scales[0]) - 1 / 120) < 0.002);
 * ```
 */
export function leastSquares(
  scheme: ResolvedScheme,
  x: Float32Array,
  tiling: Tiling,
  { candidates }: RangeRule & { rule: "least_squares" },
  importance?: Float32Array,
): GridParameters {
  const { second } = scheme.scale;
  const count = tiling.gridRows * tiling.gridColumns;
  const run = second?.kind === "super_block" ? second.tiles : 1;
  const search = new Search(scheme, tiling, run, candidates);
  const stored = emptyScales(scheme, count, run);
  for (let first = 0; first < count; first += run) {
    search.load(x, first, Math.min(run, count - first), importance);
    search.write(stored, first);
  }
  if (second) return { ...readScales(second, stored), second: stored, ...divisors(scheme, stored) };
  const { scales, minima } = stored;
  const zeros = scales.includes(0) && { unrounded: scales.map((s) => s === 0 ? Infinity : s) };
  return { scales, ...(minima && { zeros: minima }), ...zeros };
}

function divisors(scheme: ResolvedScheme, stored: StoredScales): { unrounded?: Float32Array } {
  const { scales } = readScales(scheme.scale.second!, stored);
  // Where a scale is zero every code is that of zero.
  return scales.includes(0) ? { unrounded: scales.map((s) => s === 0 ? Infinity : s) } : {};
}

function emptyScales(scheme: ResolvedScheme, count: number, run: number): StoredScales {
  const minima = scheme.zero_point !== undefined;
  const over = new Float32Array(scheme.scale.second ? Math.ceil(count / run) : 0);
  return {
    scales: new Float32Array(count),
    over,
    ...(minima && { minima: new Float32Array(count), overMinima: new Float32Array(over.length) }),
  };
}

/** What is stored of the tiles of a run: whole numbers of the scale's format, and what scales them. */
class Rounded {
  readonly scales: Float64Array;
  readonly minima: Float64Array;
  over = 1;
  overMinima = 1;

  constructor(run: number) {
    this.scales = new Float64Array(run);
    this.minima = new Float64Array(run);
  }

  set({ scales, minima, over, overMinima }: Rounded): void {
    this.scales.set(scales);
    this.minima.set(minima);
    [this.over, this.overMinima] = [over, overMinima];
  }
}

/** The search for the tiles of one run after the other; its buffers are used again. */
class Search {
  readonly #levels: Levels;
  readonly #shifted: boolean;
  /** The largest minimum: zero where only its magnitude is stored. */
  readonly #largest: number;
  readonly #values: Float64Array;
  readonly #weights: Float64Array;
  /** The end of each tile in the two. */
  readonly #ends: number[] = [];
  readonly #sums: Sums[];
  readonly #now: Rounded;
  readonly #best: Rounded;
  readonly #trial = new Float64Array(SUMS);
  #least = Infinity;
  readonly #round: (tiles: number, sums: readonly Sums[], out: Rounded) => void;

  constructor(
    private readonly scheme: ResolvedScheme,
    private readonly tiling: Tiling,
    run: number,
    private readonly candidates: number,
  ) {
    const { second } = scheme.scale;
    this.#levels = new Levels(scheme.element);
    this.#shifted = scheme.zero_point !== undefined;
    this.#largest = second ? 0 : Infinity;
    const size = run * Math.min(tiling.rows, tiling.tileRows) *
      Math.min(tiling.columns, tiling.tileColumns);
    this.#values = new Float64Array(size);
    this.#weights = new Float64Array(size);
    this.#sums = Array.from({ length: run }, () => new Float64Array(SUMS));
    [this.#now, this.#best] = [new Rounded(run), new Rounded(run)];
    this.#round = second?.kind === "super_block"
      ? superBlockRounding(scheme, second, this.#shifted, candidates)
      : plainRounding(scheme, this.#shifted);
  }

  /** Takes the values of `tiles` tiles from `first` on. */
  load(x: Float32Array, first: number, tiles: number, importance?: Float32Array): void {
    const { rows, columns, tileRows, tileColumns, gridColumns } = this.tiling;
    const [values, weights] = [this.#values, this.#weights];
    let to = 0;
    this.#ends.length = 0;
    for (let tile = first; tile < first + tiles; tile++) {
      const top = Math.floor(tile / gridColumns) * tileRows;
      const left = (tile % gridColumns) * tileColumns;
      for (let r = top; r < Math.min(rows, top + tileRows); r++) {
        for (let c = left; c < Math.min(columns, left + tileColumns); c++) {
          values[to] = x[r * columns + c];
          weights[to++] = importance ? importance[c] : 1;
        }
      }
      this.#ends.push(to);
    }
  }

  /** Searches, and writes what is stored of the tiles. */
  write(stored: StoredScales, first: number): void {
    const tiles = this.#ends.length;
    let from = 0;
    for (let tile = 0; tile < tiles; tile++) {
      this.#firstCodes(from, this.#ends[tile], this.#sums[tile]);
      from = this.#ends[tile];
    }
    let least = Infinity;
    for (let round = 0; round < ROUNDS; round++) {
      this.#round(tiles, this.#sums, this.#now);
      const error = this.#encode(tiles);
      if (error < least) {
        least = error;
        this.#best.set(this.#now);
      } else break;
    }
    const { scales, minima, over, overMinima } = this.#best;
    const run = first / this.#sums.length;
    for (let tile = 0; tile < tiles; tile++) {
      stored.scales[first + tile] = scales[tile];
      if (stored.minima) stored.minima[first + tile] = minima[tile];
    }
    if (!this.scheme.scale.second) return;
    stored.over[run] = over;
    if (stored.overMinima) stored.overMinima[run] = overMinima;
  }

  /** The sums of the codes under the rounded scales; the error of these. */
  #encode(tiles: number): number {
    const { scales, minima, over, overMinima } = this.#now;
    const sign = this.scheme.scale.second ? -1 : 1;
    let [error, from] = [0, 0];
    for (let tile = 0; tile < tiles; tile++) {
      const sums = this.#sums[tile];
      const s = scales[tile] * over;
      const m = sign * minima[tile] * overMinima;
      this.#levels.add(this.#values, this.#weights, from, this.#ends[tile], s, m, sums);
      error += errorOf(sums, s, m);
      from = this.#ends[tile];
    }
    return error;
  }

  /** The sums of the best codes of a tile, whatever its scale and minimum are rounded to. */
  #firstCodes(from: number, to: number, sums: Sums): void {
    const [levels, x, trial] = [this.#levels, this.#values, this.#trial];
    let [min, max] = [this.#largest === 0 || !this.#shifted ? 0 : Infinity, -Infinity];
    for (let i = from; i < to; i++) {
      if (x[i] < min) min = x[i];
      if (x[i] > max) max = x[i];
    }
    levels.begin(x, this.#weights, from, to, trial);
    sums.set(trial);
    this.#least = Infinity;
    const n = this.candidates;
    if (this.#shifted) {
      const span = max - min;
      for (let k = 0; k <= n; k++) {
        const t = levels.high + levels.step[1] * (2 * k / n - 1) * REACH;
        this.#take(from, to, span / t, min, sums);
      }
    } else {
      const extreme = -min > max ? min : max;
      const half = Math.ceil(n / 2);
      for (let k = 0; k <= half; k++) {
        const t = (2 * k / half - 1) * REACH;
        this.#take(from, to, extreme / (levels.low - levels.step[0] * t), 0, sums);
        this.#take(from, to, extreme / (levels.high + levels.step[1] * t), 0, sums);
      }
    }
    for (let round = 0; round < 2; round++) {
      const m = this.#shifted ? bestMinimum(sums, this.#largest) : 0;
      this.#take(from, to, scaleFor(sums, m), m, sums);
    }
  }

  /** Keeps the sums of the codes of a scale and a minimum if they are better than those so far. */
  #take(from: number, to: number, s: number, m: number, sums: Sums): void {
    const trial = this.#trial;
    this.#levels.add(this.#values, this.#weights, from, to, s, m, trial);
    const minimum = this.#shifted ? bestMinimum(trial, this.#largest) : 0;
    const error = errorOf(trial, scaleFor(trial, minimum), minimum);
    if (error >= this.#least) return;
    this.#least = error;
    for (let i = 3; i < SUMS; i++) sums[i] = trial[i];
  }
}

/** How far candidates go around the scale of the rule, in steps at the end of the codes. */
const REACH = 0.9;

/** Rounds the best scale and minimum of a tile to the format of scales. */
function plainRounding(scheme: ResolvedScheme, shifted: boolean) {
  const store = scaleStorage(scheme.scale.format);
  return (tiles: number, sums: readonly Sums[], out: Rounded) => {
    for (let tile = 0; tile < tiles; tile++) {
      out.minima[tile] = shifted ? store(bestMinimum(sums[tile], Infinity)) : 0;
      const s = scaleFor(sums[tile], out.minima[tile]);
      out.scales[tile] = store(s);
      if (!Number.isFinite(out.scales[tile])) throw scaleOverflow(scheme, s);
    }
  };
}

/** Rounds the best scales and minima of a super-block to multiples of two numbers. */
function superBlockRounding(
  scheme: ResolvedScheme,
  second: SecondLevel & { kind: "super_block" },
  shifted: boolean,
  candidates: number,
) {
  const store = scaleStorage(second.format);
  const levels = new Levels(numberFormat(scheme.scale.format));
  const [low, high] = [levels.low, levels.high];
  const nearest = (v: number) => Math.min(high, Math.max(low, Math.floor(v + 0.5)));
  const wanted = new Float64Array(second.tiles);
  const weight = new Float64Array(second.tiles);
  /** The number whose multiples are nearest to what is wanted, by weighted squares. */
  const common = (tiles: number): number => {
    let extreme = 0;
    for (let i = 0; i < tiles; i++) {
      if (Math.abs(wanted[i]) > Math.abs(extreme)) extreme = wanted[i];
    }
    if (extreme === 0) return 0;
    let [best, least] = [0, Infinity];
    const consider = (target: number) => {
      const d = extreme / target;
      let [error, up, down] = [0, 0, 0];
      for (let i = 0; i < tiles; i++) {
        const k = nearest(wanted[i] / d);
        const distance = wanted[i] - d * k;
        error += weight[i] * distance * distance;
        up += weight[i] * wanted[i] * k;
        down += weight[i] * k * k;
      }
      if (error < least) [best, least] = [down > 0 ? up / down : d, error];
    };
    for (let k = 0; k <= candidates; k++) {
      const t = 1 + (2 * k / candidates - 1) * 0.25;
      consider(high * t);
      if (second.signed) consider(low * t);
    }
    const d = store(Math.fround(best));
    if (!Number.isFinite(d)) throw scaleOverflow(scheme, best);
    return d;
  };
  return (tiles: number, sums: readonly Sums[], out: Rounded) => {
    for (let i = 0; i < tiles; i++) {
      const sum = sums[i];
      wanted[i] = scaleFor(sum, shifted ? bestMinimum(sum, 0) : 0);
      // How much the error grows beside the best scale, the minimum following it.
      weight[i] = sum[4] - (shifted && sum[0] > 0 ? sum[3] * sum[3] / sum[0] : 0);
    }
    out.over = common(tiles);
    for (let i = 0; i < tiles; i++) {
      out.scales[i] = out.over === 0 ? 0 : nearest(wanted[i] / out.over);
    }
    if (!shifted) return;
    for (let i = 0; i < tiles; i++) {
      wanted[i] = Math.max(0, -minimumFor(sums[i], out.scales[i] * out.over));
      weight[i] = sums[i][0];
    }
    out.overMinima = common(tiles);
    for (let i = 0; i < tiles; i++) {
      const d = out.overMinima;
      out.minima[i] = d === 0 ? 0 : nearest(wanted[i] / d);
      if (out.over === 0) continue;
      // The scale once more, now that the minimum is rounded.
      out.scales[i] = nearest(scaleFor(sums[i], -out.minima[i] * d) / out.over);
    }
  };
}
