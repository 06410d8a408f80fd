/**
 * A key/value cache in 8 bits by static scales, as serving programs have it.
 *
 * @module
 */

import { z } from "zod";
import {
  type CachePolicy,
  type CacheScales,
  definePlugin,
  LowbitError,
  type Plugin,
  PLUGIN_API_VERSION,
  type PluginContext,
  schema,
} from "../../../spec/mod.ts";

/** Options of {@linkcode static8}. */
export interface Static8Options {
  /** What elements are where the checkpoint has no scales. */
  element: CacheScales["element"];
  /** The scale where the checkpoint has none. */
  scale: number;
}

/**
 * Keys and values become FP8 (E4M3) or int8 as they come, `q = cast(x / s)`, and read back as
 * `q * s`. Scales are those that the checkpoint has beside the attention of a block (`k_scale` and
 * `v_scale`; one, or one for each head), and the element is that of its `kv_cache_scheme`. Without
 * them a scale of 1 is taken, which FP8 mostly bears and int8 does not.
 *
 * @example
 * ```ts
 * import { static8 } from "./mod.ts";
 * static8.options.parse({}); // { element: "float8_e4m3fn", scale: 1 }
 * ```
 */
export const static8: Plugin<Static8Options> = definePlugin({
  meta: {
    name: "static8",
    version: "1.0.0",
    apiVersion: PLUGIN_API_VERSION,
    summary: "cache of 8 bits by the k_scale and v_scale of the checkpoint",
    paper: {
      title: "FP8 Formats for Deep Learning",
      id: "arXiv 2209.05433",
    },
    needs: { statistics: [] },
    supports: {},
    determinism: "exact",
  },
  options: schema(
    "options of static8",
    z.strictObject({
      element: z.enum(["float8_e4m3fn", "int8"]).default("float8_e4m3fn").describe(
        "element, where the checkpoint has no scales",
      ),
      scale: z.number().positive().max(1e6).default(1).describe(
        "scale, where the checkpoint has none",
      ),
    }),
  ),
  cache({ context, block, kvHeads, headSize, scales }) {
    const { element, scale } = context.options;
    if (!scales && block === 0) {
      context.warn(`the checkpoint has no k_scale and v_scale, so its cache is scaled by ${scale}`);
    }
    const one = Float32Array.of(scale);
    return policy(context, scales ?? { element, keys: one, values: one }, kvHeads, headSize);
  },
});

function policy(
  { codecs, kernels }: PluginContext,
  { element, keys: keyScales, values: valueScales }: CacheScales,
  kvHeads: number,
  headSize: number,
): CachePolicy {
  const width = kvHeads * headSize;
  const codec = codecs.get(codecs.resolve({
    base: element === "int8" ? "int8_tensor_static" : "fp8_tensor",
    granularity: { kind: "group", size: headSize },
  }));
  const side = (scales: Float32Array) => {
    if (scales.length !== 1 && scales.length !== kvHeads) {
      throw new LowbitError("SHAPE", `has ${scales.length} scales for ${kvHeads} heads`, {
        field: "cache",
      });
    }
    const parameters = (tokens: number) => ({
      scales: Float32Array.from(
        { length: tokens * kvHeads },
        (_, i) => scales[scales.length === 1 ? 0 : i % kvHeads],
      ),
    });
    let codes = new Uint8Array(0);
    return {
      append(rows: Float32Array, tokens: number) {
        using x = kernels.upload(rows);
        using added = codec.encode(x, codec.tiling(tokens, width), parameters(tokens));
        const both = new Uint8Array(codes.length + added.length);
        both.set(codes);
        both.set(added.array, codes.length);
        codes = both;
      },
      read() {
        const tokens = codes.length / width;
        using held = kernels.upload(codes);
        using y = codec.decode(held, codec.tiling(tokens, width), parameters(tokens));
        return y.array.slice();
      },
      truncate: (length: number) => void (codes = codes.slice(0, length * width)),
      get bytes() {
        return codes.length + scales.byteLength;
      },
    };
  };
  const keys = side(keyScales), values = side(valueScales);
  return {
    append(newKeys, newValues, tokens) {
      keys.append(newKeys, tokens);
      values.append(newValues, tokens);
    },
    read() {
      const rows = keys.read();
      return { keys: rows, values: values.read(), length: rows.length / width };
    },
    truncate(length) {
      keys.truncate(length);
      values.truncate(length);
    },
    get bytes() {
      return keys.bytes + values.bytes;
    },
  };
}
