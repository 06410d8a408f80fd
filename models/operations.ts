/**
 * What each operation of a graph does, on kernels. Nothing here knows a model family.
 *
 * @module
 */

import {
  type Buffer,
  hadamard,
  type Hyperparameters,
  type Kernels,
  LowbitError,
  type Node,
} from "../spec/mod.ts";
import { alibiSlopes, attend } from "./attention.ts";
import type { AttentionMemory } from "./cache.ts";
import { activate, runExperts } from "./experts.ts";
import { evaluateFactor, evaluateSize } from "./hyperparameters.ts";
import { tanh } from "./real.ts";
import { rotary } from "./rope.ts";
import { route } from "./route.ts";

/** Real numbers in kernel memory. */
export type Values = Buffer<"f32">;

/** What every run of a graph needs. */
export interface RunArguments {
  /** The kernels. */
  kernels: Kernels;
  /** The numbers of the model. */
  hyperparameters: Hyperparameters;
  /** Rows of the values. */
  tokens: number;
  /** The position of the first row in its sequence; 0, or what the memory has seen. */
  position?: number;
  /** A parameter that is no linear, by its name in the graph: a norm. Not freed. */
  parameter(name: string): Values;
  /** What a linear makes of `x` `[tokens, in]`: a new buffer `[tokens, out]`. The caller decides how. */
  linear(role: string, x: Values, tokens: number): Values;
  /** Keys and values of earlier tokens. Without it the rows are one whole sequence. */
  memory?: AttentionMemory;
}

/** The place of an operation: makes a new value, or takes over an input that nobody reads any more. */
export interface Machine {
  /** What the run was given. */
  args: RunArguments;
  /** The value of a name. */
  get(name: string): Values;
  /** A buffer with the value of a name that may be changed: itself, or a copy. */
  take(name: string): Values;
  /** Rows of a value. */
  rows(name: string): number;
  /** Says how many rows a new value has, where that is not as many as the first input. */
  count(value: Values, rows: number): void;
}

type Operations = { [Op in Node["op"]]: (node: Extract<Node, { op: Op }>, m: Machine) => Values };

/** The operations, by name. */
export const OPERATIONS: Operations = {
  embed() {
    throw new LowbitError("UNSUPPORTED", "an embedding is looked up before a graph is run");
  },
  rms_norm(node, { args, get, rows }) {
    const { kernels, hyperparameters } = args;
    const x = get(node.in), weight = args.parameter(node.weight);
    const y = kernels.alloc("f32", x.length);
    const count = rows(node.in) *
      (node.groups === undefined ? 1 : evaluateSize(node.groups, hyperparameters));
    const { epsilon } = hyperparameters;
    kernels.rmsNorm({ x, y, rows: count, columns: x.length / count, weight, epsilon });
    return y;
  },
  layer_norm(node, { args, get, rows }) {
    const { kernels, hyperparameters } = args;
    const x = get(node.in), y = kernels.alloc("f32", x.length);
    const count = rows(node.in) *
      (node.groups === undefined ? 1 : evaluateSize(node.groups, hyperparameters));
    const columns = x.length / count;
    const { epsilon } = hyperparameters;
    if (node.weight !== undefined) {
      const weight = args.parameter(node.weight);
      kernels.layerNorm({ x, y, rows: count, columns, weight, epsilon });
    } else {
      using weight = kernels.upload(new Float32Array(columns).fill(1));
      kernels.layerNorm({ x, y, rows: count, columns, weight, epsilon });
    }
    return y;
  },
  linear(node, { args, get, rows }) {
    return args.linear(node.weight, get(node.in), rows(node.in));
  },
  slice(node, { args, get, rows }) {
    const size = evaluateSize(node.size, args.hyperparameters);
    const start = (node.skip ?? []).reduce((n, s) => n + evaluateSize(s, args.hyperparameters), 0);
    const x = get(node.in), count = rows(node.in), width = x.length / count;
    const y = args.kernels.alloc("f32", count * size);
    const [from, to] = [x.array, y.array];
    for (let row = 0; row < count; row++) {
      const at = row * width + start;
      to.set(from.subarray(at, at + size), row * size);
    }
    return y;
  },
  join(node, { args, get, rows }) {
    const heads = evaluateSize(node.heads, args.hyperparameters), count = rows(node.in[0]);
    const parts = node.in.map((name) => get(name));
    const widths = parts.map(({ length }) => length / count);
    const shared = node.shared?.map((name) => node.in.indexOf(name)) ?? [];
    const sizes = widths.map((width, i) => shared.includes(i) ? width : width / heads);
    const size = sizes.reduce((a, b) => a + b, 0);
    const y = args.kernels.alloc("f32", count * heads * size), to = y.array;
    let offset = 0;
    for (const [i, { array }] of parts.entries()) {
      for (let row = 0; row < count; row++) {
        for (let head = 0; head < heads; head++) {
          const at = row * widths[i] + (shared.includes(i) ? 0 : head * sizes[i]);
          to.set(array.subarray(at, at + sizes[i]), (row * heads + head) * size + offset);
        }
      }
      offset += sizes[i];
    }
    return y;
  },
  rope(node, { args, take, rows }) {
    const { kernels, hyperparameters } = args;
    const headSize = evaluateSize(node.size ?? "head_size", hyperparameters);
    const turning = node.rotary === undefined
      ? headSize
      : evaluateSize(node.rotary, hyperparameters);
    const theta = hyperparameters[node.theta ?? "theta"];
    const magnitude = node.magnitude === undefined ? 1 : hyperparameters[node.magnitude];
    const position = args.position ?? args.memory?.position ?? 0;
    const heads = evaluateSize(node.heads, hyperparameters);
    const x = take(node.in);
    const { factors, pairs = "halves" } = node;
    if (factors === undefined && magnitude === 1 && turning === headSize && pairs === "halves") {
      kernels.rope({ x, rows: rows(node.in), heads, headSize, position, theta });
    } else {
      rotary({
        ...{
          x: x.array,
          heads,
          size: headSize,
          rotary: turning,
          theta,
          magnitude,
          position,
          pairs,
        },
        ...(factors !== undefined && { factors: args.parameter(factors).array }),
      });
    }
    return x;
  },
  attention(node, { args, get, rows }) {
    const { kernels, memory, hyperparameters } = args;
    const { heads, kv_heads: kvHeads } = hyperparameters;
    const size = evaluateSize(node.key_size ?? "head_size", hyperparameters);
    const valueSize = evaluateSize(
      node.value_size ?? node.key_size ?? "head_size",
      hyperparameters,
    );
    const q = get(node.query), key = get(node.key), value = get(node.value);
    const tokens = rows(node.query);
    const scale = evaluateFactor(node.scale ?? { of: String(size), power: -0.5 }, hyperparameters);
    const window = node.window === undefined ? 0 : hyperparameters[node.window];
    const { alibi, causal = true } = node;
    const cap = node.softcap === undefined ? 0 : hyperparameters[node.softcap];
    const plain = cap === 0 && alibi === undefined && causal && size === valueSize;
    /** Some rows of queries over all keys that there are. */
    const over = (q: Values, k: Values, v: Values, tokens: number, length: number): Values => {
      if (plain && (window === 0 || window >= length)) {
        const y = kernels.alloc("f32", q.length);
        const sizes = { heads, kvHeads, headSize: size };
        kernels.attention({ q, k, v, y, tokens, past: length - tokens, ...sizes, scale });
        return y;
      }
      const slopes = alibi && alibiSlopes(heads).map((s) => alibi === "scaled" ? s * scale : s);
      return attend({
        ...{ kernels, q, k, v, tokens, length, heads, kvHeads, size, valueSize, scale, causal },
        ...(cap > 0 && { softcap: cap }),
        ...(window > 0 && { window }),
        slopes,
      });
    };
    if (!memory) return over(q, key, value, tokens, tokens);
    const remember = (q: Values, newKeys: Values, newValues: Values, rows: number): Values => {
      const { keys, values, length, release } = memory.extend(newKeys, newValues, rows);
      try {
        return over(q, keys, values, rows, length);
      } finally {
        release();
      }
    };
    if (!memory.stepwise || tokens === 1) return remember(q, key, value, tokens);
    const y = kernels.alloc("f32", tokens * heads * valueSize);
    for (let t = 0; t < tokens; t++) {
      const row = (x: Values) => x.slice(t * x.length / tokens, x.length / tokens);
      using one = remember(row(q), row(key), row(value), 1);
      y.array.set(one.array, t * one.length);
    }
    return y;
  },
  silu_gate(node, { args, get, take }) {
    const up = get(node.up), y = take(node.gate);
    args.kernels.siluGate({ gate: y, up, y });
    return y;
  },
  activate(node, { args, take }) {
    const x = take(node.in);
    activate(args.kernels, x, node.kind);
    return x;
  },
  mul(node, { get, take, rows }) {
    const y = take(node.in[0]), x = get(node.in[1]);
    const [to, by] = [y.array, x.array];
    if (by.length === to.length) { for (let i = 0; i < to.length; i++) to[i] *= by[i]; }
    else {
      const width = to.length / rows(node.in[0]);
      for (let i = 0; i < to.length; i++) to[i] *= by[Math.floor(i / width)];
    }
    return y;
  },
  add(node, { args, get, take }) {
    const x = get(node.in[0]), y = take(node.in[1]);
    args.kernels.add({ x, y });
    return y;
  },
  scale(node, { args, take }) {
    const x = take(node.in), values = x.array;
    const factor = Math.fround(evaluateFactor(node.factor, args.hyperparameters));
    for (let i = 0; i < values.length; i++) values[i] *= factor;
    return x;
  },
  softcap(node, { args, take }) {
    const x = take(node.in), values = x.array, cap = args.hyperparameters[node.cap];
    if (cap > 0) {
      for (let i = 0; i < values.length; i++) {
        values[i] = cap * tanh(values[i] / cap);
      }
    }
    return x;
  },
  bias(node, { args, take }) {
    const x = take(node.in);
    const [values, bias] = [x.array, args.parameter(node.weight).array];
    for (let i = 0, j = 0; i < values.length; i++) {
      values[i] += bias[j];
      if (++j === bias.length) j = 0;
    }
    return x;
  },
  hadamard(node, { args, take }) {
    const x = take(node.in);
    hadamard(x.array, evaluateSize(node.size, args.hyperparameters));
    return x;
  },
  route(node, { args, get, rows }) {
    const logits = get(node.in);
    const correction = node.correction === undefined
      ? undefined
      : args.parameter(node.correction).array;
    const weights = route(node, logits.array, rows(node.in), args.hyperparameters, correction);
    return args.kernels.upload(weights);
  },
  experts(node, { args, get, rows }) {
    return runExperts(node, get(node.in), get(node.routing), rows(node.in), args);
  },
  pool(node, { args, get, rows, count }) {
    const x = get(node.in), tokens = rows(node.in), width = x.length / tokens;
    const y = args.kernels.alloc("f32", width), [from, to] = [x.array, y.array];
    if (node.kind === "first") to.set(from.subarray(0, width));
    else {
      for (let i = 0; i < width; i++) {
        let sum = 0;
        for (let row = 0; row < tokens; row++) sum += from[row * width + i];
        to[i] = sum / tokens;
      }
    }
    count(y, 1);
    return y;
  },
  unit(node, { take, rows }) {
    const x = take(node.in), values = x.array, width = values.length / rows(node.in);
    for (let start = 0; start < values.length; start += width) {
      let sum = 0;
      for (let i = start; i < start + width; i++) sum += values[i] * values[i];
      const length = Math.max(Math.sqrt(sum), 1e-12);
      for (let i = start; i < start + width; i++) values[i] /= length;
    }
    return x;
  },
  prepend(node, { args, get, rows, count }) {
    const x = get(node.in), first = args.parameter(node.weight);
    const y = args.kernels.alloc("f32", x.length + first.length);
    y.array.set(first.array);
    y.array.set(x.array, first.length);
    count(y, rows(node.in) + 1);
    return y;
  },
  add_rows(node, { args, take }) {
    const x = take(node.in), values = x.array, table = args.parameter(node.weight).array;
    if (values.length > table.length) {
      throw new LowbitError("LIMIT", "the sequence is longer than its table of positions");
    }
    for (let i = 0; i < values.length; i++) values[i] += table[i];
    return x;
  },
};
