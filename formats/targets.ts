/**
 * The targets: every container and dialect that quantised models are written in.
 *
 * @module
 */

import type { Target } from "../spec/mod.ts";
import { bitsandbytesTarget } from "./dialects/bitsandbytes.ts";
import { compressedTensorsTarget } from "./dialects/compressed_tensors.ts";
import { fp8Target } from "./dialects/fp8.ts";
import { ggufTarget } from "./dialects/gguf.ts";
import { awqTarget, gptqTarget } from "./dialects/gptq.ts";
import { hqqTarget } from "./dialects/hqq.ts";
import { marlinTarget } from "./dialects/marlin.ts";
import { quantoTarget } from "./dialects/quanto.ts";
import { safetensorsTarget } from "./dialects/safetensors_target.ts";
import { onnxTarget } from "./dialects/onnx.ts";
import { lowbitTarget, type TargetTools } from "./dialects/lowbit.ts";

/**
 * All targets, on these kernels and codecs.
 *
 * @example
 * ```ts
 * import { createTargets } from "./targets.ts";
 * createTargets().map((target) => target.id); // ["lowbit", "compressed-tensors", ...]
 * ```
 */
export function createTargets(tools: TargetTools = {}): Target[] {
  return [
    lowbitTarget(tools),
    compressedTensorsTarget(tools),
    gptqTarget(tools),
    awqTarget(tools),
    marlinTarget(tools),
    bitsandbytesTarget(tools),
    hqqTarget(tools),
    quantoTarget(tools),
    fp8Target(tools),
    ggufTarget(tools),
    safetensorsTarget(),
    onnxTarget(tools),
  ];
}
