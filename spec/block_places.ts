/**
 * Which blocks of a model a rule is for, whatever their number.
 *
 * @module
 */

import { z } from "zod";

/**
 * Blocks by their place, among n:
 *
 * - `first`: so many of the first
 * - `first_share`, `last_share`: a share of them, rounded down and up: 0.125 is an eighth
 * - `every`: the last of each so many, counted behind the first `after_share`
 */
export type BlockPlace =
  | { first: number }
  | { first_share: number }
  | { last_share: number }
  | { every: number; after_share?: number };

const share = z.number().min(0).max(1);

/** The zod schema of a list of places. */
export const blockPlacesZod: z.ZodType<BlockPlace[]> = z.array(z.union([
  z.strictObject({ first: z.int().min(1).max(10000) }),
  z.strictObject({ first_share: share }),
  z.strictObject({ last_share: share }),
  z.strictObject({ every: z.int().min(1).max(10000), after_share: share.optional() }),
])).min(1);

/**
 * Whether a block is in any of the places; what is in no block is in none.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { inBlocks } from "./block_places.ts";
 * const blocks = Array.from({ length: 16 }, (_, i) => i);
 * const more = [{ first_share: 0.125 }, { last_share: 0.125 }, { every: 3, after_share: 0.125 }];
 * assertEquals(blocks.filter((i) => inBlocks(more, i, 16)), [0, 1, 4, 7, 10, 13, 14, 15]);
 * ```
 */
export function inBlocks(
  places: readonly BlockPlace[],
  block: number | undefined,
  blocks: number,
): boolean {
  return block !== undefined && places.some((place) => {
    if ("first" in place) return block < place.first;
    if ("first_share" in place) return block < Math.floor(place.first_share * blocks);
    if ("last_share" in place) return block >= Math.floor((1 - place.last_share) * blocks);
    const start = Math.floor((place.after_share ?? 0) * blocks);
    return block >= start && (block - start) % place.every === place.every - 1;
  });
}
