/**
 * Products by look-up, and what is added to a product.
 *
 * @module
 */

import type { LookupKernels, LookupWeight, ProductArguments } from "../spec/kernels_lookup.ts";
import { refuse } from "./checks.ts";
import * as check from "./checks_lookup.ts";
import type { Context } from "./context.ts";
import { WasmLookupWeight } from "./lookup_weights.ts";
import { tokenTiles } from "./ops_linear.ts";
import { PANEL } from "./weights.ts";

type ArgumentsOf<Name extends keyof LookupKernels> = Parameters<LookupKernels[Name]>[0];

/** Panels of a unit of products with bit planes. */
const PLANE_UNIT = 8;
/** Scratch of a table of 4 activations: 16 f32, and their sum. */
const TABLE_BYTES = 68;
/** Scratch of a decoded chunk of a panel: 256 columns of 16 rows. */
const CHUNK_BYTES = 4 * 256 * PANEL;

function own(weight: LookupWeight): WasmLookupWeight {
  if (weight instanceof WasmLookupWeight) return weight;
  refuse("weight", "was not made by these kernels");
}

/** The split of a product by panels of 16 output channels. */
function panels(a: ProductArguments, work = a.tokens * a.weight.rows * a.weight.columns) {
  return { units: Math.ceil(a.weight.rows / PANEL), work };
}

/** Bit planes by tables of 4 activations; split by panels. */
export function linearPlanes(c: Context, a: ProductArguments): void {
  check.product(a, "planes");
  const weight = own(a.weight);
  const [bits, alphas, offsets] = weight.addresses(c.heap);
  const [planes, group, groups, hasAlphas, hasOffsets] = weight.numbers;
  if (!hasAlphas) refuse("weight", "has no alphas");
  const { rows, columns } = weight;
  c.pool.run("linear_planes", [
    c.at("x", a.x),
    c.at("y", a.y),
    a.tokens,
    rows,
    columns,
    bits,
    planes,
    group,
    groups,
    alphas,
    hasOffsets ? offsets : 0,
  ], {
    units: Math.ceil(rows / (PANEL * PLANE_UNIT)),
    work: a.tokens * rows * columns * planes / 4,
    scratch: 2 * Math.ceil(columns / 8) * TABLE_BYTES,
  });
}

/** Exact sums of bit planes and int8 activations; split by panels. */
export function linearPlanesInt(c: Context, a: ArgumentsOf<"linearPlanesInt">): void {
  check.product(a, "planes", { x: "u8", y: "i32" });
  const weight = own(a.weight);
  const [bits] = weight.addresses(c.heap);
  const [planes] = weight.numbers;
  check.factors(a, planes);
  const { rows, columns } = weight;
  const [x, y] = [c.at("x", a.x), c.at("y", a.y)];
  c.heap.with(4 * planes, (factors) => {
    c.heap.view("i32", factors, planes).set(a.factors);
    const args = [x, y, a.tokens, rows, columns, bits, planes, factors, a.offset];
    c.pool.run("linear_planes_int", args, {
      units: Math.ceil(rows / (PANEL * PLANE_UNIT)),
      work: a.tokens * rows * columns * planes / 8,
      scratch: 64 * Math.ceil(columns / 8),
    });
  });
}

/** Operands of +1 and -1; split by rows of the weight. */
export function linearBinary(c: Context, a: ArgumentsOf<"linearBinary">): void {
  check.binary(a);
  c.pool.run("linear_binary", [
    c.at("x", a.x),
    c.at("xScales", a.xScales),
    c.at("w", a.w),
    c.at("wScales", a.wScales),
    c.at("y", a.y),
    a.tokens,
    a.rows,
    a.columns,
  ], { units: a.rows, work: a.tokens * a.rows * a.columns / 16 });
}

/** 6-bit floats in two streams; split by rows. */
export function linearFp6(c: Context, a: ArgumentsOf<"linearFp6">): void {
  check.fp6(a);
  c.pool.run("linear_fp6", [
    c.at("x", a.x),
    c.at("y", a.y),
    a.tokens,
    a.rows,
    a.columns,
    c.at("high", a.high),
    c.at("low", a.low),
    a.format === "e3m2" ? 2 : 3,
    c.at("scales", a.scales),
  ], { units: a.rows, work: a.tokens * a.rows * a.columns, scratch: 4 * a.columns });
}

/** Vector codebooks; split by panels. */
export function linearCodebook(c: Context, a: ProductArguments): void {
  check.product(a, "codebook");
  const weight = own(a.weight);
  const [codes, tables, scales] = weight.addresses(c.heap);
  const [wide, books, entries, dim, groups, group] = weight.numbers;
  c.pool.run("linear_codebook", [
    tokenTiles(c, c.at("x", a.x), a.tokens, weight.columns),
    c.at("y", a.y),
    a.tokens,
    weight.rows,
    weight.columns,
    codes,
    wide,
    books,
    tables,
    entries,
    dim,
    scales,
    groups,
    group,
  ], { ...panels(a), scratch: CHUNK_BYTES });
}

/** Adds the products of a sparse weight; split by its rows. */
export function addSparse(c: Context, a: ProductArguments): void {
  check.product(a, "sparse");
  const weight = own(a.weight);
  const [starts, indices, values] = weight.addresses(c.heap);
  const { rows, columns } = weight;
  const args = [c.at("x", a.x), c.at("y", a.y), a.tokens, rows, columns, starts, indices, values];
  const entries = c.heap.view("u32", starts, rows + 1)[rows];
  c.pool.run("add_sparse", args, { units: rows, work: a.tokens * entries });
}

/** Adds the products of two dense factors; split by panels. */
export function addLowRank(c: Context, a: ProductArguments): void {
  check.product(a, "low_rank");
  const weight = own(a.weight);
  weight.addresses(c.heap);
  const [rank] = weight.numbers;
  const [right, left] = weight.factors;
  const { rows, columns } = weight;
  const [x, y] = [c.at("x", a.x), c.at("y", a.y)];
  c.heap.with(4 * a.tokens * (rank + rows), (inner) => {
    const outer = inner + 4 * a.tokens * rank;
    const [[rightAt], [leftAt]] = [right.addresses(c.heap), left.addresses(c.heap)];
    const inputs = tokenTiles(c, x, a.tokens, columns);
    c.pool.run("linear_dense", [inputs, inner, a.tokens, rank, columns, rightAt], {
      units: Math.ceil(rank / PANEL),
      work: a.tokens * rank * columns,
    });
    const middle = tokenTiles(c, inner, a.tokens, rank);
    c.pool.run("linear_dense", [middle, outer, a.tokens, rows, rank, leftAt], {
      units: Math.ceil(rows / PANEL),
      work: a.tokens * rank * rows,
    });
    c.pool.run("add", [outer, y], { units: a.tokens * rows, work: a.tokens * rows });
  });
}
