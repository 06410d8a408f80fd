/**
 * For tests: kernels whose operations run by their scalar definitions, which the SIMD versions must
 * equal bit for bit.
 *
 * @module
 */

import type { Kernels } from "../spec/kernels.ts";
import { Context } from "./context.ts";
import { instantiate, moduleOf } from "./instance.ts";
import { WasmKernels } from "./kernels.ts";

/** Kernels of one thread, by the scalar definitions. */
export async function loadScalarKernels(): Promise<Kernels> {
  const context = new Context(instantiate(await moduleOf("simd128")));
  context.pool.useScalar();
  return new WasmKernels(context);
}
