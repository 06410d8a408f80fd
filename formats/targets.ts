/**
 * The targets: every container and dialect that quantised models are written in.
 *
 * @module
 */

import type { Target } from "../spec/mod.ts";
import { compressedTensorsTarget } from "./dialects/compressed_tensors.ts";
import { ggufTarget } from "./dialects/gguf.ts";
import { lowbitTarget, type TargetTools } from "./dialects/lowbit.ts";

/**
 * All targets, on these kernels and codecs.
 *
 * @example
 * ```ts
 * import { createTargets } from "./targets.ts";
 * createTargets().map((target) => target.id); // ["lowbit", "compressed-tensors", "gguf"]
 * ```
 */
export function createTargets(tools: TargetTools = {}): Target[] {
  return [lowbitTarget(tools), compressedTensorsTarget(tools), ggufTarget(tools)];
}
