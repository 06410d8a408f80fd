/**
 * Which of several ways to the same bits is taken: a table that was measured says so.
 *
 * @module
 */

import type { Kernels, PackedWeightArguments } from "../spec/mod.ts";
import type { LinearExecutor } from "../models/linear.ts";
import { FASTEST } from "./dispatch_table.ts";
import { planeExecutor } from "./plane_product.ts";

/** Ways to the product of a weight and int8 activations, one scale a token. */
export type IntegerPath = (typeof FASTEST)[number]["path"];

/** The fastest way: of the row with these bits and the most tokens that are not above. */
export function fastestPath(bits: number, tokens: number): IntegerPath {
  return FASTEST.findLast((row) => row.bits === bits && row.tokens <= tokens)?.path ?? "product";
}

/**
 * The executor of `product`, which it owns, and for tokens where another way is faster, of that. The
 * weight is held in each form that the table names for its bits.
 */
export function dispatched(
  kernels: Kernels,
  packed: PackedWeightArguments,
  product: LinearExecutor,
): LinearExecutor {
  const named = FASTEST.some(({ bits, path }) => bits === packed.bits && path === "planes");
  const planes = named ? planeExecutor(kernels, packed) : undefined;
  if (!planes) return product;
  const free = () => {
    product.free();
    planes.free();
  };
  return {
    bytes: product.bytes + planes.bytes,
    apply(x, tokens) {
      const paths: Record<IntegerPath, LinearExecutor> = { product, planes };
      return paths[fastestPath(packed.bits, tokens)].apply(x, tokens);
    },
    free,
    [Symbol.dispose]: free,
  };
}
