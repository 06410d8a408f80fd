/**
 * The bench that tests of plugins and of the engine share: WASM kernels and their codecs.
 *
 * @module
 */

import { createCodecs } from "../formats/codec.ts";
import { seededRng } from "../engine/rng.ts";
import { loadKernels } from "../kernels-wasm/mod.ts";
import type { TestBench } from "../plugins/_math/testing.ts";

/** Kernels on one thread, codecs, and random numbers. */
export async function openBench(threads = 1): Promise<TestBench> {
  const kernels = await loadKernels({ threads });
  return { kernels, codecs: createCodecs(kernels), rng: seededRng };
}
