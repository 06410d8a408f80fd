/**
 * Facts about number formats, derived from their parameters and never stored.
 *
 * @module
 */

import type { NumberFormat } from "../spec/mod.ts";
import { normalQuantile } from "./generators.ts";
import { decodeTable, largestFinite } from "./reference.ts";
import { applyEncoder, elementEncoder } from "./steps.ts";

/** What can be said of a number format of 8 bits or fewer. */
export interface FormatFacts {
  /** Distinct finite values. */
  values: number;
  /** Largest finite magnitude. */
  largest: number;
  /** Smallest magnitude above zero. */
  smallest: number;
  /** For floats: the smallest magnitude with full precision. */
  smallest_normal?: number;
  /** Codes that mean no number, by what they mean. */
  lost: { nan: number; infinity: number; repeated: number };
  /** Largest over smallest magnitude, in octaves. */
  dynamic_range: number;
  /** Signal to quantisation noise in dB, groups of 64 scaled by their largest magnitude; magnitudes for unsigned formats. */
  sqnr_db: Record<Distribution, number>;
}

/** Distributions that formats are tried on. */
export type Distribution = "gaussian" | "laplace" | "student_t";

/**
 * Derives the facts of a format.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { formatFacts } from "./facts.ts";
 * import { numberFormat } from "./lookup.ts";
 * const { largest, smallest, lost } = formatFacts(numberFormat("float8_e4m3fn"));
 * assertEquals([largest, smallest, lost.nan], [448, 2 ** -9, 2]);
 * ```
 */
export function formatFacts(format: NumberFormat): FormatFacts {
  const table = decodeTable(format);
  const finite = [...table].filter(Number.isFinite);
  const magnitudes = finite.map(Math.abs).filter((value) => value > 0);
  const smallest = Math.min(...magnitudes);
  const largest = largestFinite(format);
  const distinct = new Set(finite.map((value) => value + 0)).size;
  return {
    values: distinct,
    largest,
    smallest,
    ...(format.family === "float" && {
      smallest_normal: 2 ** ((format.subnormals ? 1 : 0) - format.bias),
    }),
    lost: {
      nan: [...table].filter(Number.isNaN).length,
      infinity: [...table].filter((value) => Math.abs(value) === Infinity).length,
      repeated: finite.length - distinct,
    },
    dynamic_range: Number(Math.log2(largest / smallest).toFixed(2)),
    sqnr_db: {
      gaussian: signalToNoise(format, table, "gaussian"),
      laplace: signalToNoise(format, table, "laplace"),
      student_t: signalToNoise(format, table, "student_t"),
    },
  };
}

/** Samples that SQNR is measured on. */
const SAMPLES = 1 << 15;
const GROUP = 64;

/** SQNR in dB of samples in groups that are scaled so that their largest magnitude fits. */
function signalToNoise(format: NumberFormat, table: Float32Array, kind: Distribution): number {
  const encoder = elementEncoder(format);
  const unsigned = !table.some((value) => value < 0);
  const samples = unsigned ? quantiles(kind).map(Math.abs) : quantiles(kind);
  const largest = largestFinite(format);
  let [signal, noise] = [0, 0];
  for (let start = 0; start < SAMPLES; start += GROUP) {
    const group = samples.subarray(start, start + GROUP);
    const scale = group.reduce((max, value) => Math.max(max, Math.abs(value)), 0) / largest;
    for (const value of group) {
      const back = table[applyEncoder(encoder, Math.fround(value / scale))] * scale;
      signal += value * value;
      noise += (value - back) ** 2;
    }
  }
  return Number((10 * Math.log10(signal / noise)).toFixed(2));
}

const made = new Map<Distribution, Float64Array>();

/** Evenly spaced quantiles of a distribution in a random order that is always the same. */
function quantiles(kind: Distribution): Float64Array {
  let samples = made.get(kind);
  if (samples) return samples;
  samples = Float64Array.from({ length: SAMPLES }, (_, i) => INVERSE[kind]((i + 0.5) / SAMPLES));
  // A fixed stride would spread each group evenly, which flatters formats by half a decibel.
  let state = 0x9e3779b9;
  for (let i = SAMPLES - 1; i > 0; i--) {
    state ^= state << 13, state ^= state >>> 17, state ^= state << 5;
    const j = Math.floor((state >>> 0) / 2 ** 32 * (i + 1));
    [samples[i], samples[j]] = [samples[j], samples[i]];
  }
  made.set(kind, samples);
  return samples;
}

/**
 * Inverse distribution functions; Student's t with 4 degrees of freedom has a closed form.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { INVERSE } from "./facts.ts";
 * assertEquals(INVERSE.laplace(0.25), -Math.log(2));
 * ```
 */
export const INVERSE: Record<Distribution, (p: number) => number> = {
  gaussian: normalQuantile,
  laplace: (p) => p < 0.5 ? Math.log(2 * p) : -Math.log(2 * (1 - p)),
  student_t(p) {
    const alpha = 4 * p * (1 - p);
    const root = Math.sqrt(alpha);
    const q = Math.cos(Math.acos(root) / 3) / root;
    return Math.sign(p - 0.5) * 2 * Math.sqrt(Math.max(0, q - 1));
  },
};
