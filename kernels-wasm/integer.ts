/**
 * Integer products: weights in panels of integers, activations quantised into scratch.
 *
 * @module
 */

import type {
  GroupedLinearArguments,
  IntegerLinearArguments,
  IntegerWeightArguments,
  LinearWeight,
} from "../spec/kernels.ts";
import * as check from "./checks.ts";
import {
  groupedLinear as checkGrouped,
  type IntegerForm,
  integerForm,
  integerLinear as checkLinear,
} from "./checks_integer.ts";
import type { Context } from "./context.ts";
import { layGrid, PANEL, stagedRows, WasmWeight } from "./weights.ts";

/** The most bits of integers that relaxed SIMD multiplies. */
const MAX_RELAXED_BITS = 7;
/** The most columns that `groupedLinear` scales at once; see `segments.rs`. */
const SEGMENT = 256;
/** Bytes of a table that codes are looked up in. */
const TABLE_BYTES = 16;
/** Tokens of a tile of inputs; see `token_tiles.rs`. */
const TOKEN_TILE = 4;

/** A weight of integers: blocks of codes, scales, zero points. */
export class WasmIntegerWeight extends WasmWeight {
  /** Bits of a code as it is stored. */
  readonly bits: number;
  /** Bits of the largest integer. */
  readonly valueBits: number;
  /** Whether integers are looked up. */
  readonly lookup: boolean;
  /** The zero point of all tiles; absent if they have zero points of their own. */
  readonly offset?: number;
  /** Whether tiles have minimums. */
  readonly minimums: boolean;
  /** Columns that share a scale, and how many such groups a row has. */
  readonly group: number;
  /** See {@linkcode group}. */
  readonly groups: number;

  /** A weight that owns the given blocks. */
  constructor(
    args: ConstructorParameters<typeof WasmWeight>,
    form: Pick<
      WasmIntegerWeight,
      "bits" | "valueBits" | "lookup" | "offset" | "minimums" | "group" | "groups"
    >,
  ) {
    super(...args);
    this.bits = form.bits;
    this.valueBits = form.valueBits;
    this.lookup = form.lookup;
    this.offset = form.offset;
    this.minimums = form.minimums;
    this.group = form.group;
    this.groups = form.groups;
  }

  /** Columns with the padding of every group. */
  get padded(): number {
    return paddedColumns(this.columns, this.group, this.groups);
  }
}

function paddedColumns(columns: number, group: number, groups: number): number {
  if (groups === 0) return 0;
  const whole = groups - 1;
  return 8 * (whole * Math.ceil(group / 8) + Math.ceil((columns - whole * group) / 8));
}

/** Prepares packed codes as panels of integers. */
export function integerWeight(c: Context, a: IntegerWeightArguments): WasmIntegerWeight {
  const form = integerForm(a);
  const bits = form.lookup ? a.bits : form.bits;
  const { rows, columns, tileColumns, gridColumns: groups } = a.tiling;
  const group = Math.min(tileColumns, Math.max(1, columns));
  const panels = Math.ceil(rows / PANEL);
  const grid = panels * groups * PANEL;
  const sizes = [
    panels * paddedColumns(columns, group, groups) / 8 * PANEL * bits,
    grid * 4,
    form.zeros ? grid * 2 : 0,
    form.minimums ? grid * 4 : 0,
    form.lookup ? TABLE_BYTES : 0,
  ];
  const blocks: { address: number; bytes: number }[] = [];
  try {
    for (const bytes of sizes) blocks.push({ address: c.heap.take(bytes), bytes });
    const [codes, scales, zeros, minimums, table] = blocks.map((block) => block.address);
    const values = form.lookup ? form.values.map((_, code) => code) : form.values;
    placeCodes(c, a, { values, bits }, group, codes);
    if (form.lookup) c.heap.view("u8", table, TABLE_BYTES).set(form.values);
    layGrid(c.heap.view("f32", scales, grid), form.scales, a.tiling);
    if (form.zeros) layGrid(new Int16Array(c.heap.buffer, zeros, grid), form.zeros, a.tiling);
    if (form.minimums) layGrid(c.heap.view("f32", minimums, grid), form.minimums, a.tiling);
  } catch (error) {
    for (const { address, bytes } of blocks) c.heap.give(address, bytes);
    throw error;
  }
  const offset = form.zeros ? undefined : form.offset;
  return new WasmIntegerWeight([c.heap, { rows, columns }, blocks], {
    bits,
    valueBits: form.bits,
    lookup: form.lookup,
    offset,
    minimums: form.minimums !== undefined,
    group,
    groups,
  });
}

function placeCodes(
  { heap, exports }: Context,
  a: IntegerWeightArguments,
  { values, bits }: Pick<IntegerForm, "values" | "bits">,
  group: number,
  out: number,
): void {
  const { rows, columns, gridColumns: groups } = a.tiling;
  if (rows * columns === 0) return;
  const rowBytes = Math.ceil(columns * a.bits / 8);
  const panelRowBytes = paddedColumns(columns, group, groups) / 8 * bits;
  const step = Math.min(stagedRows(columns), Math.ceil(rows / PANEL) * PANEL);
  heap.with(values.length + step * (rowBytes + columns), (table) => {
    const staging = table + values.length;
    const codes = staging + step * rowBytes;
    heap.view("u8", table, values.length).set(values);
    for (let row = 0; row < rows; row += step) {
      const count = Math.min(step, rows - row);
      const part = a.bytes.subarray(row * rowBytes, (row + count) * rowBytes);
      heap.view("u8", staging, part.length).set(part);
      exports.unpack(codes, staging, a.bits, columns, rowBytes, 0, 0, 0, 0, 0, count);
      const to = out + row * panelRowBytes;
      exports.integer_panels(codes, count, columns, group, groups, bits, table, to);
    }
  });
}

function ownWeight(weight: LinearWeight): WasmIntegerWeight {
  if (weight instanceof WasmIntegerWeight) return weight;
  check.refuse("weight", "was not made by integerWeight of these kernels");
}

/** `y = x W^T` in integers; split by panels of 16 output channels. */
export function integerLinear(c: Context, a: IntegerLinearArguments): void {
  const { tokens } = a;
  const weight = ownWeight(a.weight);
  const { granularity, bits } = checkLinear(a, weight);
  const { rows, columns, group, groups, padded } = weight;
  const [codes, scales, zeros, minimums, table] = weight.addresses(c.heap);
  const wide = !c.relaxed || weight.valueBits > MAX_RELAXED_BITS;
  const [x, y] = [c.at("x", a.x), c.at("y", a.y)];
  if (tokens * rows === 0) return;
  if (columns === 0) return void a.y.array.fill(0);
  const perGroup = granularity === "group" ? 1 : 0;
  const scaleBytes = 4 * tokens * (perGroup ? groups : 1);
  const sumBytes = 4 * tokens * groups;
  const q = c.scratch(tokens * padded * (wide ? 2 : 1) + scaleBytes + sumBytes + 8);
  const xScales = q + Math.ceil(tokens * padded * (wide ? 2 : 1) / 4) * 4;
  const sums = xScales + scaleBytes;
  const largest = sums + sumBytes;
  if (granularity === "tensor") {
    c.heap.view("f32", largest, 1)[0] = c.exports.largest_magnitude(x, tokens * columns);
  }
  c.pool.run("quantize_activations", [
    x,
    q,
    tokens,
    columns,
    group,
    groups,
    perGroup,
    granularity === "tensor" ? largest : 0,
    2 ** (bits - 1) - 1,
    wide ? 1 : 0,
    xScales,
    sums,
    weight.minimums ? 1 : -(weight.offset ?? 1),
  ], { units: tokens, work: tokens * columns });
  c.pool.run(wide ? "linear_integer" : "linear_integer_relaxed", [
    q,
    wide ? 1 : 0,
    xScales,
    perGroup,
    sums,
    y,
    tokens,
    rows,
    columns,
    codes,
    weight.bits,
    weight.lookup ? table : 0,
    scales,
    weight.offset === undefined ? zeros : 0,
    weight.minimums ? minimums : 0,
    group,
    groups,
  ], {
    units: Math.ceil(rows / PANEL),
    work: tokens * rows * columns,
    scratch: padded * PANEL * (wide ? 2 : 1),
  });
}

/** `y = x W^T` with f32 activations, scaled once a segment; split by panels. */
export function groupedLinear(c: Context, a: GroupedLinearArguments): void {
  const { tokens } = a;
  const weight = ownWeight(a.weight);
  checkGrouped(a, weight);
  const { rows, columns, group, groups, padded, bits, offset } = weight;
  const [codes, scales, zeros, minimums] = weight.addresses(c.heap);
  const [x, y] = [c.at("x", a.x), c.at("y", a.y)];
  if (tokens * rows === 0) return;
  if (columns === 0) return void a.y.array.fill(0);
  const last = columns - (groups - 1) * group;
  const segments = (groups - 1) * Math.ceil(group / SEGMENT) + Math.ceil(last / SEGMENT);
  const factor = weight.minimums ? 1 : offset ?? 1;
  const inputs = c.scratch(4 * tokens * (padded + segments));
  const sums = inputs + 4 * tokens * padded;
  c.pool.run("group_activations", [
    x,
    inputs,
    sums,
    tokens,
    columns,
    group,
    groups,
    bits,
    factor,
  ], {
    units: Math.ceil(tokens / TOKEN_TILE),
    work: tokens * columns,
  });
  c.pool.run("linear_grouped", [
    inputs,
    sums,
    y,
    tokens,
    rows,
    columns,
    codes,
    bits,
    scales,
    offset === undefined ? zeros : 0,
    weight.minimums ? minimums : 0,
    group,
    groups,
  ], {
    units: Math.ceil(rows / PANEL),
    work: tokens * rows * columns,
    scratch: 4 * SEGMENT * PANEL,
  });
}
