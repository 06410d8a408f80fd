/**
 * Operations of linear algebra: linear, trailing update, gram, column statistics, Cholesky, and
 * encoding with error feedback.
 *
 * @module
 */

import type { Buffer, FeedbackArguments, Kernels, LinearArguments } from "../spec/kernels.ts";
import * as check from "./checks.ts";
import type { Context } from "./context.ts";
import { PANEL, WasmWeight } from "./weights.ts";

type ArgumentsOf<Name extends "trailingUpdate" | "gram" | "columnStats" | "inverseCholesky"> =
  Parameters<Kernels[Name]>[0];

/** Columns of a block of the Cholesky factorisation. */
const CHOLESKY_BLOCK = 64;
/** Columns of a panel of its update. */
const CHOLESKY_PANEL = 8;

/** `y[tokens, rows] = x[tokens, columns] W^T`; split by panels of 16 output channels. */
export function linear(c: Context, a: LinearArguments): void {
  const { weight } = a;
  if (!(weight instanceof WasmWeight)) check.refuse("weight", "was not made by these kernels");
  const { rows, columns, packed } = weight;
  check.whole("tokens", a.tokens);
  check.buffer("x", a.x, "f32", a.tokens * columns);
  check.buffer("y", a.y, "f32", a.tokens * rows);
  const [data, table, scales, zeros, minimums] = weight.addresses(c.heap);
  const x = tokenTiles(c, c.at("x", a.x), a.tokens, columns);
  const common = [x, c.at("y", a.y), a.tokens, rows, columns, data];
  const split = { units: Math.ceil(rows / PANEL), work: a.tokens * rows * columns };
  if (!packed) return c.pool.run("linear_dense", common, split);
  c.pool.run("linear_packed", [
    ...common,
    packed.bits,
    table,
    packed.base === undefined ? 0 : 1,
    packed.base ?? 0,
    scales,
    packed.zeros ? zeros : 0,
    packed.minimums ? minimums : 0,
    packed.groups,
    packed.group,
  ], split);
}

/** Tokens of a tile; see `token_tiles.rs`. */
const TOKEN_TILE = 4;

/** The inputs in tiles of tokens, in scratch; one token is as it is. */
export function tokenTiles(c: Context, x: number, tokens: number, columns: number): number {
  if (tokens <= 1) return x;
  const tiles = c.scratch(4 * tokens * columns);
  const split = { units: Math.ceil(tokens / TOKEN_TILE), work: tokens * columns };
  c.pool.run("token_tiles", [x, tiles, tokens, columns], split);
  return tiles;
}

/** `w[r, c] -= errors[r, i] * u[start + i, c]`, i ascending; split by panels of 16 columns. */
export function trailingUpdate(c: Context, a: ArgumentsOf<"trailingUpdate">): void {
  check.block(a);
  check.buffer("w", a.w, "f32", a.rows * a.columns);
  check.buffer("errors", a.errors, "f32", a.rows * a.count);
  check.buffer("u", a.u, "f32", a.columns * a.columns);
  const after = a.columns - a.start - a.count;
  c.pool.run("trailing_update", [
    c.at("w", a.w),
    a.rows,
    a.columns,
    a.start,
    a.count,
    c.at("errors", a.errors),
    c.at("u", a.u),
  ], { units: Math.ceil(after / PANEL), work: a.rows * a.count * after });
}

/** `gram[columns, columns] += x^T x`; split by panels of 16 columns, in which
 * the rows are copied first. */
export function gram(c: Context, a: ArgumentsOf<"gram">): void {
  check.matrix("x", a.x, a.rows, a.columns);
  check.buffer("gram", a.gram, "f64", a.columns * a.columns);
  const units = Math.ceil(a.columns / PANEL);
  const panels = c.scratch(4 * units * PANEL * a.rows);
  const packing = { units, work: a.rows * a.columns };
  c.pool.run("column_panels", [c.at("x", a.x), panels, a.rows, a.columns], packing);
  const args = [panels, a.rows, a.columns, c.at("gram", a.gram)];
  c.pool.run("gram", args, { units, work: a.rows * a.columns * a.columns / 2 });
}

/** Largest magnitude and sum of magnitudes of every column; split by columns. */
export function columnStats(c: Context, a: ArgumentsOf<"columnStats">): void {
  check.matrix("x", a.x, a.rows, a.columns);
  check.buffer("absMax", a.absMax, "f32", a.columns);
  check.buffer("absSum", a.absSum, "f64", a.columns);
  c.pool.run("column_stats", [
    c.at("x", a.x),
    a.rows,
    a.columns,
    c.at("absMax", a.absMax),
    c.at("absSum", a.absSum),
  ], { units: a.columns, work: a.rows * a.columns });
}

/** `U[n, n]` with `H^-1 = U^T U`; false if H is not positive definite. */
export function inverseCholesky(c: Context, a: ArgumentsOf<"inverseCholesky">): boolean {
  check.whole("n", a.n);
  check.buffer("h", a.h, "f64", a.n * a.n);
  check.buffer("u", a.u, "f32", a.n * a.n);
  const [h, u, n] = [c.at("h", a.h), c.at("u", a.u), a.n];
  if (!factorUpper(c, h, n)) return false;
  invertUpper(c, h, n);
  c.pool.run("inverse_finish", [h, n, u], { units: n, work: n * n });
  return true;
}

/** `H = R R^T`, R upper triangular, from the last block of columns to the first. */
export function factorUpper(c: Context, h: number, n: number): boolean {
  const last = Math.floor((n - 1) / CHOLESKY_BLOCK) * CHOLESKY_BLOCK;
  for (let first = last; first >= 0; first -= CHOLESKY_BLOCK) {
    const size = Math.min(CHOLESKY_BLOCK, n - first);
    if (c.exports.cholesky_diagonal(h, n, first, size) === 0) return false;
    const args = [h, n, first, size];
    c.pool.run("cholesky_panel", args, { units: first, work: first * size * size });
    const units = first / CHOLESKY_PANEL;
    c.pool.run("cholesky_update", args, { units, work: first * first * size / 2 });
  }
  return true;
}

/** R becomes its inverse, from the first block of columns to the last. */
export function invertUpper(c: Context, h: number, n: number): void {
  c.heap.with(n * CHOLESKY_BLOCK * 8, (t) => {
    for (let first = 0; first < n; first += CHOLESKY_BLOCK) {
      const size = Math.min(CHOLESKY_BLOCK, n - first);
      c.exports.inverse_diagonal(h, n, first, size);
      const args = [h, n, first, size, t];
      c.pool.run("inverse_panel", args, { units: first, work: first * size * size });
      const work = first * first * size / 2;
      c.pool.run("inverse_update", args, { units: first / 4, work });
    }
  });
}

/** Codes of a block of columns with error feedback; split by rows. */
export function encodeFeedback(c: Context, a: FeedbackArguments): void {
  check.feedback(a);
  const e = c.encoder(a.encoder, 0);
  const scales = c.at("scales", a.scales);
  c.pool.run("encode_feedback", [
    c.at("w", a.w),
    a.rows,
    a.columns,
    a.start,
    a.count,
    c.at("u", a.u),
    c.at("groupOf", a.groupOf as Buffer),
    scales,
    c.at("stored", a.stored) || scales,
    c.at("zeros", a.zeros),
    a.groups,
    a.apply === "reciprocal" ? 1 : 0,
    e.kind,
    e.min,
    e.max,
    e.mask,
    e.bias,
    e.shift,
    e.thresholds,
    e.codes,
    e.depth,
    c.at("table", a.table),
    a.table.length - 1,
    c.at("codes", a.codes),
    c.at("errors", a.errors),
  ], { units: a.rows, work: a.rows * a.count * a.count / 2, scratch: a.count * 32 });
}
