/**
 * KIVI: a key/value cache in few bits, keys by channel and values by token.
 *
 * @module
 */

import { z } from "zod";
import {
  type CachePolicy,
  definePlugin,
  LowbitError,
  type Plugin,
  PLUGIN_API_VERSION,
  schema,
} from "../../../spec/mod.ts";
import { QuantizedRows } from "./rows.ts";

/** Options of {@linkcode kivi}. */
export interface KiviOptions {
  /** Bits of a code. */
  bits: 2 | 4 | 8;
  /** Tokens of a group of keys, and channels of a group of values. */
  group: number;
  /** The newest tokens, which stay in full precision. */
  residual: number;
  /** What keys that share a scale have in common. */
  keys: "channel" | "token";
}

/**
 * KIVI (Liu et al. 2024, arXiv 2402.02750, section 3). Outliers of keys lie in few channels, so keys
 * of one channel over `group` tokens share `s = (max - min) / (2^b - 1)` and `z = min`,
 * `q = rint((x - z) / s)`; values have none, so `group` channels of one token do. The newest tokens
 * stay in full precision: keys become codes whenever there are `residual` of them, values one token
 * at a time as they get older. With `keys: token` and `residual: 0` it is the plain cache in few bits
 * that it is compared with.
 *
 * Scales and minima are float16, as in a model of 16 bits. Nothing is calibrated.
 *
 * @example
 * ```ts
 * import { kivi } from "./mod.ts";
 * kivi.options.parse({}); // { bits: 2, group: 32, residual: 128, keys: "channel" }
 * ```
 */
export const kivi: Plugin<KiviOptions> = definePlugin({
  meta: {
    name: "kivi",
    version: "1.0.0",
    apiVersion: PLUGIN_API_VERSION,
    summary: "cache of 2 bits: keys by channel, values by token, the newest tokens exact",
    paper: {
      title: "KIVI: A Tuning-Free Asymmetric 2bit Quantization for KV Cache",
      id: "arXiv 2402.02750",
      equation: "section 3",
    },
    needs: { statistics: [] },
    supports: {},
    determinism: "exact",
  },
  options: schema(
    "options of kivi",
    z.strictObject({
      bits: z.union([z.literal(2), z.literal(4), z.literal(8)]).default(2).describe(
        "bits of a code",
      ),
      group: z.int().min(1).max(1024).default(32).describe(
        "tokens of a group of keys, channels of a group of values",
      ),
      residual: z.int().min(0).max(1 << 20).default(128).describe(
        "newest tokens in full precision",
      ),
      keys: z.enum(["channel", "token"]).default("channel").describe(
        "what keys of one scale share",
      ),
    }),
  ),
  cache({ context: { options }, kvHeads, headSize }) {
    const { group, residual, keys } = options;
    if (keys === "channel" && residual % group !== 0) {
      throw new LowbitError("CONFLICT", `${residual} tokens are no whole groups of ${group}`, {
        field: "residual",
        advice: "choose a multiple of the group, so that keys become codes in whole groups",
      });
    }
    return policy(options, kvHeads, headSize);
  },
});

function policy(
  { bits, group, residual, keys }: KiviOptions,
  kvHeads: number,
  headSize: number,
): CachePolicy {
  const width = kvHeads * headSize;
  const token = { bits, tokens: 1, channels: Math.min(group, headSize), headSize };
  const old = {
    keys: new QuantizedRows(
      width,
      keys === "token" ? token : { bits, tokens: group, channels: 1, headSize },
    ),
    values: new QuantizedRows(width, token),
  };
  // The newest rows, in full precision.
  const recent = { keys: new Float32Array(0), values: new Float32Array(0) };
  const count = (side: "keys" | "values") => recent[side].length / width;
  const age = (side: "keys" | "values", rows: number) => {
    if (rows <= 0) return;
    old[side].append(recent[side].subarray(0, rows * width), rows);
    recent[side] = recent[side].slice(rows * width);
  };
  const add = (side: "keys" | "values", row: Float32Array) => {
    recent[side] = joined(recent[side], row);
    if (side === "values" || keys === "token") return age(side, count(side) - residual);
    const whole = Math.max(residual, group);
    if (count(side) >= whole) age(side, whole);
  };
  return {
    stepwise: true,
    append(newKeys, newValues, tokens) {
      for (let t = 0; t < tokens; t++) {
        add("keys", newKeys.subarray(t * width, (t + 1) * width));
        add("values", newValues.subarray(t * width, (t + 1) * width));
      }
    },
    read: () => ({
      keys: joined(old.keys.read(), recent.keys),
      values: joined(old.values.read(), recent.values),
      length: old.keys.length + count("keys"),
    }),
    truncate(length) {
      for (const side of ["keys", "values"] as const) {
        const left = Math.max(0, length - old[side].length);
        // Groups that are cut become rows again, as they read.
        const cut = old[side].truncate(length);
        recent[side] = joined(cut, recent[side].slice(0, left * width));
      }
    },
    get bytes() {
      return old.keys.bytes + old.values.bytes + recent.keys.byteLength + recent.values.byteLength;
    },
  };
}

function joined(a: Float32Array, b: Float32Array): Float32Array<ArrayBuffer> {
  const both = new Float32Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}
