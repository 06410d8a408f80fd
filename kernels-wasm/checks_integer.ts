/**
 * The checks of integer products, and what they compile a weight and activations to.
 *
 * @module
 */

import type {
  ActivationQuantization,
  GroupedLinearArguments,
  IntegerLinearArguments,
  IntegerWeightArguments,
  LinearWeight,
} from "../spec/kernels.ts";
import * as check from "./checks.ts";

/** A weight on a grid of integers: `table[code] - zero = (value - zero) * step`. */
export interface IntegerForm {
  /** The unsigned integer of every code, `2^bits` entries. */
  values: Uint8Array;
  /** Bits of the largest integer. */
  bits: number;
  /** Whether codes are kept, and `values` looked up. */
  lookup: boolean;
  /** The zero point of tiles without one of their own: the integer of the value 0. */
  offset: number;
  /** Zero points of tiles, as integers of the grid. */
  zeros?: Int16Array;
  /** Minimums of tiles. */
  minimums?: Float32Array;
  /** Scales of tiles, with the step in them: one f32 product. */
  scales: Float32Array;
}

/** The most columns that share a scale: sums stay below 2^31. */
const MAX_INTEGER_GROUP = 65536;
/** The most points of a grid, less one. */
const MAX_VALUE = 255;

/** The most bits of codes that are looked up: a vector of 16 bytes is the table. */
const MAX_LOOKUP_BITS = 4;
/** The largest magnitude of a rounded table: with both signs, what 7 bits hold. */
const ROUNDED = 63;

/** Checks the arguments of `integerWeight` and finds the grid. */
export function integerForm(a: IntegerWeightArguments): IntegerForm {
  check.packed(a);
  if (Math.min(a.tiling.tileColumns, a.tiling.columns) > MAX_INTEGER_GROUP) {
    check.refuse("tiling", `more than ${MAX_INTEGER_GROUP} columns share a scale`);
  }
  if (!a.table.every(Number.isFinite)) check.refuse("table", "has entries that are not finite");
  const lookup = a.lookup === true && a.bits <= MAX_LOOKUP_BITS;
  let step = gridStep(a.table);
  if (!onGrid(a.table, step)) {
    if (!lookup) check.refuse("table", "does not lie on an evenly spaced grid of 256 points");
    step = Math.max(...a.table.map(Math.abs)) / ROUNDED;
  }
  const points = Array.from(a.table, (value) => toEven(value / step));
  const low = Math.min(0, ...points);
  if (a.minimums && low < 0) check.refuse("table", "has negative entries beside minimums");
  const zeros = a.zeros && Int16Array.from(a.zeros, (zero) => {
    const point = zero / step - low;
    if (!Number.isInteger(point) || point < 0 || point > MAX_VALUE) {
      check.refuse("zeros", `${zero} is not on the grid of the table`);
    }
    return point;
  });
  const bits = Math.max(1, 32 - Math.clz32(Math.max(...points) - low));
  return {
    values: Uint8Array.from(points, (point) => point - low),
    bits,
    lookup: lookup && bits > a.bits,
    offset: a.minimums ? 0 : -low,
    zeros,
    minimums: a.minimums,
    scales: step === 1 ? a.scales : a.scales.map((scale) => scale * step),
  };
}

/** The smallest magnitude of a table that is not 0; 1 for a table of zeros. */
function gridStep(table: Float32Array): number {
  const sizes = Array.from(table, Math.abs).filter((size) => size > 0);
  const integers = sizes.every(Number.isInteger);
  return sizes.length === 0 || integers ? 1 : Math.min(...sizes);
}

/** Whether a table lies on a grid of 256 points through 0. */
function onGrid(table: Float32Array, step: number): boolean {
  const points = Array.from(table, (value) => value / step);
  return points.every(Number.isInteger) &&
    Math.max(0, ...points) - Math.min(0, ...points) <= MAX_VALUE;
}

/** The nearest integer, ties to even. */
export function toEven(v: number): number {
  const down = Math.floor(v);
  const rest = v - down;
  return rest > 0.5 || (rest === 0.5 && down % 2 !== 0) ? down + 1 : down;
}

/** Checks the arguments of `groupedLinear`. */
export function groupedLinear(
  a: GroupedLinearArguments,
  weight: LinearWeight & { lookup: boolean },
): void {
  if (weight.lookup) check.refuse("weight", "has integers that are looked up");
  product(a, weight);
}

/** Checks inputs and outputs of a product. */
function product(a: GroupedLinearArguments, weight: LinearWeight): void {
  check.whole("tokens", a.tokens);
  check.buffer("x", a.x, "f32", a.tokens * weight.columns);
  check.buffer("y", a.y, "f32", a.tokens * weight.rows);
}

/** Checks the arguments of `integerLinear`; its activations with nothing left out. */
export function integerLinear(
  a: IntegerLinearArguments,
  weight: LinearWeight,
): Required<ActivationQuantization> {
  const { granularity = "token", bits = 8 } = a.activations ?? {};
  product(a, weight);
  check.oneOf("granularity", granularity, ["token", "group", "tensor"]);
  check.whole("bits", bits, 2, 8);
  return { granularity, bits };
}
