/** A cache that keeps the first tokens and the newest ones (StreamingLLM, arXiv 2309.17453). */

import { definePlugin, type Plugin, PLUGIN_API_VERSION, schema } from "@lowbit/lowbit/plugin";
import { z } from "zod";

/** Options of {@linkcode attentionSink}. */
export interface Options {
  /** First tokens that are kept for good. */
  sinks: number;
  /** Newest tokens that are kept. */
  window: number;
}

/** A row of keys and values, with the position of its token. */
interface Row {
  position: number;
  key: Float32Array;
  value: Float32Array;
}

/** Attends over `sinks` first tokens and `window` newest ones; all others are dropped. */
export const attentionSink: Plugin<Options> = definePlugin({
  meta: {
    name: "attention-sink",
    version: "0.1.0",
    apiVersion: PLUGIN_API_VERSION,
    summary: "cache of the first tokens and the newest ones",
    paper: {
      title: "Efficient Streaming Language Models with Attention Sinks",
      id: "arXiv 2309.17453",
    },
    needs: { statistics: [] },
    supports: {},
    determinism: "exact",
  },
  options: schema(
    "options of attention-sink",
    z.strictObject({
      sinks: z.int().min(0).default(4).describe("first tokens that are kept"),
      window: z.int().min(1).default(64).describe("newest tokens that are kept"),
    }),
  ),
  cache({ context: { options: { sinks, window } }, kvHeads, headSize }) {
    const width = kvHeads * headSize;
    let rows: Row[] = [], position = 0;
    const all = (part: "key" | "value") => {
      const values = new Float32Array(rows.length * width);
      rows.forEach((row, i) => values.set(row[part], i * width));
      return values;
    };
    return {
      stepwise: true,
      append(keys, values, tokens) {
        for (let t = 0; t < tokens; t++) {
          const cut = (x: Float32Array) => x.slice(t * width, (t + 1) * width);
          rows.push({ position: position++, key: cut(keys), value: cut(values) });
          if (rows.length > sinks + window) rows.splice(sinks, 1);
        }
      },
      read: () => ({ keys: all("key"), values: all("value"), length: rows.length }),
      truncate(length) {
        rows = rows.filter((row) => row.position < length);
        position = Math.min(position, length);
      },
      get bytes() {
        return 8 * rows.length * width;
      },
    };
  },
});
