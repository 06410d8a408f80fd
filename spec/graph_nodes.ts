/**
 * Operations of model graphs. Names of values are free; each operation makes one value.
 *
 * @module
 */

import { z } from "zod";

/** A size, as a sum of products or quotients of hyperparameters and numbers: `heads*head_size`. */
export type Size = string;

/** A number, `of` raised to `power` (1 if absent): the scale of an attention is `head_size` to -0.5. */
export interface Factor {
  /** A size, or a hyperparameter that is any number. */
  of: Size;
  /** The exponent. */
  power?: number;
}

/** Functions of one number that graphs use. */
export type Nonlinearity =
  | "relu"
  | "silu"
  | "gelu"
  | "gelu_tanh"
  | "sigmoid"
  | "tanh";

/**
 * Conditions under which an operation, a parameter or an edge is there: names of boolean
 * hyperparameters or of block flags; `!` before a name turns it round. All must hold.
 */
export type When = string | string[];

/** What an operation does. */
export type NodeKind =
  /** Rows of a table: by token ids, by positions (with an offset), or of row 0 (`types`). */
  | {
    op: "embed";
    weight: string;
    out: string;
    index?: "tokens" | "positions" | "types";
    offset?: number;
  }
  /** `x / sqrt(mean(x^2) + epsilon) * weight`; over `groups` runs of channels with one weight. */
  | { op: "rms_norm"; weight: string; in: string; out: string; groups?: Size }
  /** `(x - mean) / sqrt(var + epsilon) * weight`; without a weight if there is none. */
  | { op: "layer_norm"; weight?: string; in: string; out: string; groups?: Size }
  | { op: "linear"; weight: string; in: string; out: string }
  /** Channels `skip` (summed) to `skip + size` of a value. */
  | { op: "slice"; in: string; out: string; skip?: Size[]; size: Size }
  /**
   * For each of `heads` heads, the channels of all inputs one after the other; those that are
   * `shared` have the channels of one head, for all.
   */
  | { op: "join"; in: string[]; out: string; heads: Size; shared?: string[] }
  /**
   * Rotary positions of heads of `size` channels (`head_size`), of which the first `rotary` (all)
   * turn. `theta` names the hyperparameter, `factors` a parameter that divides the frequencies,
   * `magnitude` a hyperparameter that scales the result. Pairs are the halves of the turning channels,
   * or neighbours.
   */
  | {
    op: "rope";
    in: string;
    out: string;
    heads: Size;
    size?: Size;
    rotary?: Size;
    theta?: string;
    factors?: string;
    magnitude?: string;
    pairs?: "halves" | "neighbours";
  }
  /**
   * Attention of `heads` over `kv_heads`. Scores are multiplied by `scale` (head size to -0.5),
   * squashed to `cap * tanh(score / cap)`, biased by ALiBi; keys are those up to the query's position
   * (all, if not `causal`), at most `window` of them.
   */
  | {
    op: "attention";
    query: string;
    key: string;
    value: string;
    out: string;
    scale?: Factor;
    softcap?: string;
    window?: string;
    causal?: boolean;
    alibi?: "added" | "scaled";
    value_size?: Size;
    key_size?: Size;
  }
  /** `silu(gate) * up`. */
  | { op: "silu_gate"; gate: string; up: string; out: string }
  | { op: "activate"; kind: Nonlinearity; in: string; out: string }
  /** The product; a second value of one channel multiplies every channel of the first. */
  | { op: "mul"; in: [string, string]; out: string }
  | { op: "add"; in: [string, string]; out: string }
  | { op: "scale"; in: string; out: string; factor: Factor }
  /** `cap * tanh(x / cap)`. */
  | { op: "softcap"; in: string; out: string; cap: string }
  | { op: "bias"; weight: string; in: string; out: string }
  | { op: "hadamard"; in: string; out: string; size: Size }
  /**
   * Weights of experts from the outputs of a router: `[tokens, experts]`, zero for those that are not
   * among the `top`. With `groups`, only experts of the best `top_groups` groups are candidates, a
   * group counting as its best `group_best` experts. `correction` names a vector that is added to the
   * scores for the choice alone.
   */
  | {
    op: "route";
    in: string;
    out: string;
    top: string;
    scores: "softmax" | "sigmoid";
    normalize?: string;
    factor?: string;
    correction?: string;
    groups?: string;
    top_groups?: string;
    group_best?: number;
  }
  /** The sum over experts of `down(activate(gate(x)) * up(x))`, weighted; `{e}` is the expert. */
  | {
    op: "experts";
    in: string;
    routing: string;
    out: string;
    gate: string;
    up: string;
    down: string;
    activation: Nonlinearity;
    count: string;
  }
  /** One row of a sequence: the mean of all, or the first. */
  | { op: "pool"; kind: "mean" | "first"; in: string; out: string }
  /** `x / |x|`, a row at a time. */
  | { op: "unit"; in: string; out: string }
  /** A learned row in front of a sequence. */
  | { op: "prepend"; weight: string; in: string; out: string }
  /** Adds the rows of a table, the first to the first. */
  | { op: "add_rows"; weight: string; in: string; out: string };

/** One operation of a graph: `x` is the residual stream, `logits` or `output` the result. */
export type Node = NodeKind & {
  /** When it is there. */
  when?: When;
};

/** A size as YAML writes it. */
export const sizeSchema: z.ZodString = z.string().regex(
  /^[a-z0-9_.]+([*/+][a-z0-9_.]+)*$/,
  "must be a sum of products of names",
);
/** A name of a value, a parameter or a hyperparameter; `{e}` is the number of an expert. */
export const nameSchema: z.ZodString = z.string().regex(/^[a-z][a-z0-9_.{}]*$/);
const condition = z.string().regex(/^!?[a-z][a-z0-9_]*$/, "must be a name, or ! and a name");
/** See {@linkcode When}. */
export const whenSchema: z.ZodType<When> = z.union([condition, z.array(condition)]);

const [size, name, when] = [sizeSchema, nameSchema, whenSchema.optional()];
const factor = z.strictObject({ of: size, power: z.number().optional() });
const nonlinearity = z.enum(["relu", "silu", "gelu", "gelu_tanh", "sigmoid", "tanh"]);
const pair = z.tuple([name, name]);

function operation<Op extends string, Shape extends z.ZodRawShape>(op: Op, shape: Shape) {
  return z.strictObject({ op: z.literal(op), ...shape, out: name, when });
}

/** Checks one operation. */
export const nodeSchema: z.ZodType<Node> = z.discriminatedUnion("op", [
  operation("embed", {
    weight: name,
    index: z.enum(["tokens", "positions", "types"]).optional(),
    offset: z.int().min(0).optional(),
  }),
  operation("rms_norm", { weight: name, in: name, groups: size.optional() }),
  operation("layer_norm", { weight: name.optional(), in: name, groups: size.optional() }),
  operation("linear", { weight: name, in: name }),
  operation("slice", { in: name, skip: z.array(size).optional(), size }),
  operation("join", {
    in: z.array(name).min(1),
    heads: size,
    shared: z.array(name).optional(),
  }),
  operation("rope", {
    in: name,
    heads: size,
    size: size.optional(),
    rotary: size.optional(),
    theta: name.optional(),
    factors: name.optional(),
    magnitude: name.optional(),
    pairs: z.enum(["halves", "neighbours"]).optional(),
  }),
  operation("attention", {
    query: name,
    key: name,
    value: name,
    scale: factor.optional(),
    softcap: name.optional(),
    window: name.optional(),
    causal: z.boolean().optional(),
    alibi: z.enum(["added", "scaled"]).optional(),
    value_size: size.optional(),
    key_size: size.optional(),
  }),
  operation("silu_gate", { gate: name, up: name }),
  operation("activate", { kind: nonlinearity, in: name }),
  operation("mul", { in: pair }),
  operation("add", { in: pair }),
  operation("scale", { in: name, factor }),
  operation("softcap", { in: name, cap: name }),
  operation("bias", { weight: name, in: name }),
  operation("hadamard", { in: name, size }),
  operation("route", {
    in: name,
    top: name,
    scores: z.enum(["softmax", "sigmoid"]),
    normalize: name.optional(),
    factor: name.optional(),
    correction: name.optional(),
    groups: name.optional(),
    top_groups: name.optional(),
    group_best: z.int().min(1).optional(),
  }),
  operation("experts", {
    in: name,
    routing: name,
    gate: name,
    up: name,
    down: name,
    activation: nonlinearity,
    count: name,
  }),
  operation("pool", { kind: z.enum(["mean", "first"]), in: name }),
  operation("unit", { in: name }),
  operation("prepend", { weight: name, in: name }),
  operation("add_rows", { weight: name, in: name }),
]) as z.ZodType<Node>;
