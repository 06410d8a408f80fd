/**
 * For tests: kernels whose operations run by their scalar definitions, which the SIMD versions must
 * equal bit for bit, kernels of hosts that have less, and of a memory that ends early.
 *
 * @module
 */

import type { Kernels } from "../spec/kernels.ts";
import { Context } from "./context.ts";
import { instantiate, modulesFor } from "./instance.ts";
import { WasmKernels } from "./kernels.ts";

/** Kernels of one thread, by the scalar definitions. */
export async function loadScalarKernels(): Promise<Kernels> {
  const context = new Context(instantiate({ simd128: (await modulesFor(false)).simd128 }, false));
  context.pool.useScalar();
  return new WasmKernels(context);
}

/** Kernels of one thread without relaxed SIMD, as on hosts that lack it. */
export async function loadBaselineKernels(): Promise<Kernels> {
  const { simd128 } = await modulesFor(false);
  return new WasmKernels(new Context(instantiate({ simd128 }, false)));
}

/** Kernels of one thread whose memory ends at so many MiB, as every memory does at 4096. */
export async function loadSmallKernels(mebibytes: number): Promise<Kernels> {
  return new WasmKernels(new Context(instantiate(await modulesFor(false), false, 16 * mebibytes)));
}
