/**
 * Channels of attention heads that share keys and values.
 *
 * @module
 */

import type { Hyperparameters } from "../../spec/mod.ts";

/**
 * Under grouped-query attention several query heads read one value head, so their channels must
 * share a factor: each of `values` `[heads * head_size]` becomes the largest of those that share.
 */
export function shareAmongHeads(values: Float32Array, hyperparameters: Hyperparameters): void {
  const { heads, kv_heads, head_size } = hyperparameters;
  const shared = heads / kv_heads;
  for (let kv = 0; kv < kv_heads; kv++) {
    for (let d = 0; d < head_size; d++) {
      const channels = Array.from({ length: shared }, (_, i) => (kv * shared + i) * head_size + d);
      const largest = Math.max(...channels.map((c) => values[c]));
      for (const c of channels) values[c] = largest;
    }
  }
}
