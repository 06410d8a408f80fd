/**
 * A number format in YAML, tried on numbers: what the explorer shows.
 *
 * @module
 */

import { type Distribution, formatFacts, INVERSE } from "../../formats/facts.ts";
import { seededRng } from "../../engine/rng.ts";
import { decodeTable, largestFinite } from "../../formats/reference.ts";
import { applyEncoder, elementEncoder } from "../../formats/steps.ts";
import { parseYaml } from "../../formats/yaml.ts";
import { LowbitError, type NumberFormat, numberFormatSchema } from "../../spec/mod.ts";
import type { FormatView, Trial } from "../protocol.ts";

/** Samples of a distribution. */
const SAMPLES = 1 << 15;

const made = new Map<string, Float32Array>();

/** Quantiles of a distribution in a random order that is the same each time. */
export function samples(kind: Distribution | "uniform"): Float32Array {
  let numbers = made.get(kind);
  if (!numbers) {
    const inverse = kind === "uniform" ? (p: number) => 2 * p - 1 : INVERSE[kind];
    numbers = Float32Array.from({ length: SAMPLES }, (_, i) => inverse((i + 0.5) / SAMPLES));
    shuffle(numbers);
    made.set(kind, numbers);
  }
  return numbers;
}

/** Neighbours must be as independent as samples are: the largest of a group sets its scale. */
function shuffle(numbers: Float32Array): void {
  const rng = seededRng("web/samples");
  for (let i = numbers.length - 1; i > 0; i--) {
    const j = Math.floor(rng.uniform() * (i + 1));
    [numbers[i], numbers[j]] = [numbers[j], numbers[i]];
  }
}

/**
 * Reads and tries a number format.
 *
 * @example
 * ```ts
 * import { assertEquals, assertThrows } from "@std/assert";
 * import { LowbitError } from "../../spec/mod.ts";
 * import { examineNumbers } from "./examine_numbers.ts";
 * const yaml = "id: pair\nsummary: two values\nfamily: codebook\nbits: 1\nvalues: [-1, 1]\n";
 * const view = examineNumbers({ yaml, on: Float32Array.of(-2, 2, 2, -2), group: 0 });
 * assertEquals([...view.values], [-1, 1]);
 * assertEquals([view.error.relative, view.error.entropy], [0, 1]);
 * const wrong = yaml.replace("bits: 1", "bits: 99");
 * assertThrows(() => examineNumbers({ yaml: wrong, on: "gaussian", group: 64 }), LowbitError, "format:4");
 * ```
 */
export function examineNumbers({ yaml, on, group }: Trial): FormatView {
  const format = parseYaml(yaml, numberFormatSchema, "format");
  if (format.bits > 8) {
    throw new LowbitError("UNSUPPORTED", "more than 8 bits are too many codes to draw", {
      file: `format:${yaml.split("\n").findIndex((line) => line.startsWith("bits:")) + 1}`,
      field: "bits",
      advice: "choose 8 or fewer",
    });
  }
  const values = decodeTable(format);
  const numbers = numbersOf(on);
  return {
    kind: "number format",
    id: format.id,
    summary: format.summary,
    bits: format.bits,
    values,
    facts: elementFacts(format),
    error: tryOn(format, values, numbers, group),
    curve: errorCurve(format, values),
  };
}

/** Facts of a number format as pairs of a name and a number. */
export function elementFacts(format: NumberFormat): FormatView["facts"] {
  const { values: distinct, largest, smallest, smallest_normal, dynamic_range, lost } = formatFacts(
    format,
  );
  return [
    ["values", distinct],
    ["largest", largest],
    ["smallest above zero", smallest],
    ...(smallest_normal === undefined ? [] : [["smallest normal", smallest_normal]]),
    ["dynamic range, octaves", dynamic_range],
    ...Object.entries(lost).filter(([, count]) => count > 0)
      .map(([what, count]) => [`codes for ${what}`, count]),
  ] as FormatView["facts"];
}

/** The numbers of a trial. */
export function numbersOf(on: Trial["on"]): Float32Array {
  return typeof on === "string" ? samples(on) : on;
}

/** The columns of a matrix of samples. */
const COLUMNS = 256;

/** The numbers of a trial as whole rows of a matrix. */
export function matrixOf(
  on: Trial["on"],
  wanted = COLUMNS,
): { numbers: Float32Array; rows: number; columns: number } {
  const all = numbersOf(on);
  const columns = Math.min(wanted, all.length);
  const rows = Math.max(1, Math.floor(all.length / columns));
  return { numbers: all.subarray(0, rows * columns), rows, columns };
}

/** Rounds numbers in groups that are scaled so that their largest magnitude fits. */
function tryOn(
  format: NumberFormat,
  table: Float32Array,
  numbers: Float32Array,
  group: number,
): FormatView["error"] {
  const encoder = elementEncoder(format);
  const unsigned = !table.some((value) => value < 0);
  const largest = largestFinite(format);
  const counts = new Float64Array(table.length);
  const size = group === 0 ? numbers.length : group;
  let [signal, noise] = [0, 0];
  for (let start = 0; start < numbers.length; start += size) {
    const part = numbers.subarray(start, start + size);
    const peak = part.reduce((max, value) => Math.max(max, Math.abs(value)), 0);
    const scale = peak === 0 ? 1 : peak / largest;
    for (const number of part) {
      const value = unsigned ? Math.abs(number) : number;
      const code = applyEncoder(encoder, Math.fround(value / scale));
      counts[code]++;
      signal += value * value;
      noise += (value - table[code] * scale) ** 2;
    }
  }
  return errorOf(signal, noise, counts);
}

/** The figures of a matrix and of what came back of it. */
export function errorBetween(
  numbers: Float32Array,
  back: Float32Array,
  counts?: Float64Array,
): FormatView["error"] {
  let [signal, noise] = [0, 0];
  for (let i = 0; i < numbers.length; i++) {
    signal += numbers[i] ** 2;
    noise += (numbers[i] - back[i]) ** 2;
  }
  return errorOf(signal, noise, counts);
}

/** What came back, as figures; counts of codes give their entropy. */
function errorOf(signal: number, noise: number, counts?: Float64Array): FormatView["error"] {
  const total = counts?.reduce((sum, count) => sum + count, 0) ?? 0;
  const entropy = counts?.reduce((sum, count) => {
    return count === 0 ? sum : sum - count / total * Math.log2(count / total);
  }, 0);
  return {
    sqnr_db: noise === 0 ? Infinity : 10 * Math.log10(signal / noise),
    relative: signal === 0 ? 0 : Math.sqrt(noise / signal),
    ...(entropy !== undefined && { entropy }),
  };
}

/** Octaves below the largest value that the curve shows, and its points an octave. */
const OCTAVES = 12;
const POINTS = 12;

/** The largest relative error around each magnitude. */
export function errorCurve(format: NumberFormat, table: Float32Array): [number, number][] {
  const encoder = elementEncoder(format);
  const largest = largestFinite(format);
  return Array.from({ length: OCTAVES * POINTS }, (_, i) => {
    const from = -OCTAVES + i / POINTS;
    let worst = 0;
    for (let step = 0; step < 16; step++) {
      const x = Math.fround(largest * 2 ** (from + (step + 0.5) / 16 / POINTS));
      worst = Math.max(worst, relativeError(encoder, table, x));
    }
    return [2 ** (from + 0.5 / POINTS), worst];
  });
}

function relativeError(
  encoder: ReturnType<typeof elementEncoder>,
  table: Float32Array,
  x: number,
): number {
  return Math.abs(table[applyEncoder(encoder, x)] - x) / x;
}
