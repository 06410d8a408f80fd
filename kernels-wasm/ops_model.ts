/**
 * Operations of a transformer's forward pass and of its evaluation.
 *
 * @module
 */

import type { AttentionArguments, Kernels } from "../spec/kernels.ts";
import * as check from "./checks.ts";
import type { Context } from "./context.ts";

type ArgumentsOf<
  Name extends
    | "rmsNorm"
    | "rope"
    | "siluGate"
    | "add"
    | "scaleColumns"
    | "logSoftmax"
    | "divergence",
> = Parameters<Kernels[Name]>[0];

/** Queries of a unit of attention. */
const QUERY_BLOCK = 32;
/** Exponentials count as this many products. */
const EXP_WORK = 8;

/** RMS normalisation of `[rows, columns]`; split by rows. */
export function rmsNorm(c: Context, a: ArgumentsOf<"rmsNorm">): void {
  check.matrix("x", a.x, a.rows, a.columns);
  check.buffer("y", a.y, "f32", a.rows * a.columns);
  check.buffer("weight", a.weight, "f32", a.columns);
  check.finite("epsilon", a.epsilon);
  c.pool.run("rms_norm", [
    c.at("x", a.x),
    c.at("y", a.y),
    a.columns,
    c.at("weight", a.weight),
    a.epsilon,
  ], { units: a.rows, work: 2 * a.rows * a.columns });
}

/** Rotary position embedding of `[rows, heads, headSize]`; split by rows. */
export function rope(c: Context, a: ArgumentsOf<"rope">): void {
  check.whole("rows", a.rows);
  check.whole("heads", a.heads);
  check.whole("headSize", a.headSize, 2);
  if (a.headSize % 2) check.refuse("headSize", `must be even, not ${a.headSize}`);
  check.whole("position", a.position);
  check.finite("theta", a.theta);
  if (a.theta <= 0) check.refuse("theta", `must be above 0, not ${a.theta}`);
  check.buffer("x", a.x, "f32", a.rows * a.heads * a.headSize);
  const args = [c.at("x", a.x), a.heads, a.headSize, a.position, a.theta];
  const work = a.rows * a.headSize * (a.heads + 2 * EXP_WORK);
  c.pool.run("rope", args, { units: a.rows, work, scratch: 8 * a.headSize });
}

/** Causal attention; split by heads and blocks of 32 queries. */
export function attention(c: Context, a: AttentionArguments): void {
  check.attention(a);
  const keys = a.past + a.tokens;
  const padded = Math.ceil(keys / 16) * 16;
  c.pool.run("attention", [
    c.at("q", a.q),
    c.at("k", a.k),
    c.at("v", a.v),
    c.at("y", a.y),
    a.tokens,
    a.past,
    a.heads,
    a.kvHeads,
    a.headSize,
    a.scale,
  ], {
    units: a.heads * Math.ceil(a.tokens / QUERY_BLOCK),
    work: 2 * a.heads * a.tokens * keys * a.headSize,
    scratch: 4 * (QUERY_BLOCK * padded + 16 * a.headSize),
  });
}

/** `y = silu(gate) * up`; split by elements. */
export function siluGate(c: Context, a: ArgumentsOf<"siluGate">): void {
  const length = a.gate?.length;
  check.buffer("gate", a.gate, "f32", length);
  check.buffer("up", a.up, "f32", length);
  check.buffer("y", a.y, "f32", length);
  const args = [c.at("gate", a.gate), c.at("up", a.up), c.at("y", a.y)];
  c.pool.run("silu_gate", args, { units: length, work: length * EXP_WORK });
}

/** `y += x`; split by elements. */
export function add(c: Context, a: ArgumentsOf<"add">): void {
  check.buffer("x", a.x, "f32", a.x?.length);
  check.buffer("y", a.y, "f32", a.x.length);
  const args = [c.at("x", a.x), c.at("y", a.y)];
  c.pool.run("add", args, { units: a.x.length, work: a.x.length });
}

/** `x[r, c] *= factors[c]`; split by rows. */
export function scaleColumns(c: Context, a: ArgumentsOf<"scaleColumns">): void {
  check.matrix("x", a.x, a.rows, a.columns);
  check.buffer("factors", a.factors, "f32", a.columns);
  const args = [c.at("x", a.x), a.columns, c.at("factors", a.factors)];
  c.pool.run("scale_columns", args, { units: a.rows, work: a.rows * a.columns });
}

/** Rows to log-probabilities; split by rows. */
export function logSoftmax(c: Context, a: ArgumentsOf<"logSoftmax">): void {
  check.matrix("x", a.x, a.rows, a.columns);
  const work = a.rows * a.columns * EXP_WORK;
  c.pool.run("log_softmax", [c.at("x", a.x), a.columns], { units: a.rows, work });
}

/** Kullback-Leibler divergence in nats, and agreement, a row; split by rows. */
export function divergence(c: Context, a: ArgumentsOf<"divergence">): void {
  check.matrix("p", a.p, a.rows, a.columns);
  check.buffer("q", a.q, "f32", a.rows * a.columns);
  check.buffer("kl", a.kl, "f64", a.rows);
  check.buffer("agree", a.agree, "u8", a.rows);
  c.pool.run("divergence", [
    c.at("p", a.p),
    c.at("q", a.q),
    a.columns,
    c.at("kl", a.kl),
    c.at("agree", a.agree),
  ], { units: a.rows, work: a.rows * a.columns * EXP_WORK });
}
