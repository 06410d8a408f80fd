/**
 * Range rules: which part of the values of a tile its scale covers.
 *
 * @module
 */

import type {
  Buffer,
  Codec,
  GridParameters,
  Kernels,
  RangeRule,
  Ranges,
  ResolvedScheme,
  Tiling,
} from "../spec/mod.ts";
import { leastSquares } from "./least_squares.ts";
import { forEachElement } from "./reference.ts";

/**
 * The parameters of `x` `[rows, columns]` over the range that a rule says; see `RangeRule`.
 * `importance` weighs the columns of `least_squares`.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { referenceKernels } from "../kernels-wasm/reference.ts";
 * import { createCodecs } from "./codec.ts";
 * import { rangedParameters } from "./range.ts";
 * const kernels = referenceKernels(), codecs = createCodecs(kernels);
 * const codec = codecs.get(codecs.resolve("int8_channel_sym"));
 * const values = Float32Array.from({ length: 100 }, (_, i) => i === 99 ? 1000 : 127 * i / 98);
 * using x = kernels.upload(values);
 * const rule = { rule: "percentile", share: 0.99 } as const;
 * assertEquals([...rangedParameters(kernels, codec, x, codec.tiling(1, 100), rule).scales], [1]);
 * ```
 */
export function rangedParameters(
  kernels: Kernels,
  codec: Codec,
  x: Buffer<"f32">,
  tiling: Tiling,
  range: RangeRule,
  importance?: Float32Array,
): GridParameters {
  if (range.rule === "least_squares") {
    return leastSquares(codec.scheme, x.array, tiling, range, importance);
  }
  const ranges = codec.ranges(x, tiling);
  switch (range.rule) {
    case "percentile":
      return codec.fit(percentileRanges(x.array, tiling, ranges, range.share));
    case "entropy":
      return codec.fit(ranges, entropyFactors(codec, x.array, tiling, ranges, range.bins));
    case "error":
      return codec.fit(ranges, errorFactors(kernels, codec, x, tiling, ranges, range));
  }
}

/**
 * The search for scales where columns have weights and the scheme searches nothing itself: for the
 * schemes whose scale may have any sign, or that store a minimum, as those of ggml.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { resolveScheme } from "./lookup.ts";
 * import { weighedRange } from "./range.ts";
 * assertEquals(weighedRange(resolveScheme("q4_0"))?.rule, "least_squares");
 * assertEquals(weighedRange(resolveScheme("q8_0")), undefined);
 * ```
 */
export function weighedRange({ scale, zero_point }: ResolvedScheme): RangeRule | undefined {
  const free = zero_point ? zero_point.kind === "minimum" : scale.rule === "signed_extreme";
  return free && !scale.second ? { rule: "least_squares", candidates: 20 } : undefined;
}

/** The values of every tile, in row-major order. */
function tileValues(x: Float32Array, tiling: Tiling): Float32Array[] {
  const counts = new Uint32Array(tiling.gridRows * tiling.gridColumns);
  forEachElement(tiling, (_, tile) => counts[tile]++);
  const tiles = Array.from(counts, (count) => new Float32Array(count));
  counts.fill(0);
  forEachElement(tiling, (i, tile) => tiles[tile][counts[tile]++] = x[i]);
  return tiles;
}

/** Ranges that hold a share of the values: `ceil(share n)` of them, nearest rank. */
function percentileRanges(x: Float32Array, tiling: Tiling, ranges: Ranges, share: number): Ranges {
  const [min, max] = [ranges.min.slice(), ranges.max.slice()];
  const extreme = ranges.extreme?.slice();
  tileValues(x, tiling).forEach((values, tile) => {
    if (values.length === 0) return;
    const rank = Math.max(0, Math.ceil(share * values.length) - 1);
    const largest = values.map(Math.abs).sort()[rank];
    values.sort();
    max[tile] = Math.min(max[tile], values[rank]);
    min[tile] = Math.max(min[tile], values[values.length - 1 - rank]);
    if (extreme) extreme[tile] = Math.sign(extreme[tile]) * largest;
    // A symmetric scale covers magnitudes: both ends stand for the larger side.
    const magnitude = Math.max(-ranges.min[tile], ranges.max[tile]);
    if (magnitude > 0 && Math.max(-min[tile], max[tile]) > largest) {
      max[tile] = Math.min(max[tile], largest);
      min[tile] = Math.max(min[tile], -largest);
    }
  });
  return { ...ranges, min, max, ...(extreme && { extreme }) };
}

/** For every tile the share of its range of least divergence. */
function entropyFactors(
  codec: Codec,
  x: Float32Array,
  tiling: Tiling,
  ranges: Ranges,
  bins: number,
): Float32Array {
  const levels = Math.max(2, 2 ** (codec.scheme.element.bits - 1));
  return Float32Array.from(tileValues(x, tiling), (values, tile) => {
    const largest = Math.max(-ranges.min[tile], ranges.max[tile]);
    if (!(largest > 0)) return 1;
    const histogram = new Float64Array(bins);
    for (const value of values) {
      const bin = Math.floor(Math.abs(value) / largest * bins);
      histogram[Math.min(bins - 1, bin)]++;
    }
    return bestThreshold(histogram, levels) / bins;
  });
}

/** What an empty bin counts where what lies beyond it is moved into it. */
const EMPTY = 1e-4;

/**
 * How many bins of a histogram of magnitudes to keep, so that the kept ones, with all that lies
 * beyond in the last, and the same merged to `levels` values differ least (natural logarithms). An
 * empty last bin counts as 0.0001 values.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { bestThreshold } from "./range.ts";
 * // Magnitudes of a steep slope: levels are better spent where most of them are.
 * const histogram = Float64Array.from({ length: 16 }, (_, i) => 1000 / 4 ** i);
 * assertEquals(bestThreshold(histogram, 4), 4);
 * ```
 */
export function bestThreshold(histogram: Float64Array, levels: number): number {
  const bins = histogram.length;
  let [best, least] = [bins, Infinity];
  const total = histogram.reduce((sum, count) => sum + count, 0);
  let inside = 0;
  for (let i = 0; i < levels - 1; i++) inside += histogram[i];
  for (let kept = levels; kept <= bins; kept++) {
    inside += histogram[kept - 1];
    const beyond = total - inside;
    let divergence = 0;
    for (let level = 0; level < levels; level++) {
      const from = Math.floor(level * kept / levels);
      const to = Math.floor((level + 1) * kept / levels);
      let [sum, filled] = [0, 0];
      for (let i = from; i < to; i++) {
        sum += histogram[i];
        if (histogram[i] > 0) filled++;
      }
      const mean = filled === 0 ? 0 : sum / filled;
      for (let i = from; i < to; i++) {
        if (histogram[i] === 0) continue;
        const p = (histogram[i] + (i === kept - 1 ? beyond : 0)) / total;
        divergence += p * Math.log(p / (mean / Math.max(1, inside)));
      }
    }
    if (beyond > 0 && histogram[kept - 1] === 0) {
      const p = beyond / total;
      divergence += p * Math.log(p / (EMPTY / Math.max(1, inside)));
    }
    if (divergence < least) [best, least] = [kept, divergence];
  }
  return best;
}

function errorFactors(
  kernels: Kernels,
  codec: Codec,
  x: Buffer<"f32">,
  tiling: Tiling,
  ranges: Ranges,
  { norm, candidates, smallest }: RangeRule & { rule: "error" },
): Float32Array {
  const tiles = tiling.gridRows * tiling.gridColumns;
  const best = new Float64Array(tiles).fill(Infinity);
  const factors = new Float32Array(tiles).fill(1);
  using error = kernels.alloc("f64", tiles);
  for (let i = 0; i <= candidates; i++) {
    const factor = 1 - (1 - smallest) * i / candidates;
    const parameters = codec.fit(ranges, factor);
    using codes = codec.encode(x, tiling, parameters);
    using y = codec.decode(codes, tiling, parameters);
    kernels.tileError({ x, y, tiling, exponent: norm, error });
    const errors = error.array;
    for (let tile = 0; tile < tiles; tile++) {
      if (errors[tile] < best[tile]) [best[tile], factors[tile]] = [errors[tile], factor];
    }
  }
  return factors;
}
