/**
 * What plugins add to the outputs of a quantised linear.
 *
 * @module
 */

import { type LinearInfo, LowbitError, type Plugin } from "../spec/mod.ts";
import { nodeWith } from "../models/values.ts";
import type { LoadedBlock } from "./block.ts";

/** Adds a vector to the outputs of a linear; it must lie in a block that has such a parameter. */
export function addBias(
  linear: LinearInfo,
  bias: Float32Array,
  plugin: Plugin,
  block?: LoadedBlock,
): void {
  const { name } = plugin.meta;
  const fail = (problem: string) =>
    new LowbitError("PLUGIN", problem, {
      file: name,
      field: linear.id,
      advice: "report it to the author of the plugin",
    });
  if (!block) throw fail("has no bias outside the blocks");
  if (bias.length !== linear.rows || !bias.every(Number.isFinite)) {
    throw fail(`needs a finite bias of ${linear.rows} values`);
  }
  const node = nodeWith(block.graph, linear.role);
  if (!node) throw fail("has no bias inside an expert");
  block.addBias(node.out, bias, name);
}
