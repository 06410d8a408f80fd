/**
 * The kernels in WebAssembly: the boundary between TypeScript and the Rust crate in `src/`, and the
 * only code that touches WebAssembly memory.
 *
 * Every argument is checked before a call; no trap reaches the caller. Memory is taken with
 * `alloc` and `upload` and given back with `free` or `using`.
 *
 * @example
 * ```ts
 * import { loadKernels } from "./mod.ts";
 *
 * const kernels = await loadKernels();
 * using x = kernels.upload(new Float32Array([1, 2, 3]));
 * using y = kernels.alloc("f32", 2);
 * using weight = kernels.denseWeight(new Float32Array([1, 0, 0, 0, 1, 1]), 2, 3);
 * kernels.linear({ x, y, tokens: 1, weight });
 * y.array; // [1, 5]
 * ```
 *
 * @module
 */

import type { Kernels } from "../spec/kernels.ts";
import * as check from "./checks.ts";
import { Context } from "./context.ts";
import { instantiate, type Modules, modulesFor } from "./instance.ts";
import { WasmKernels } from "./kernels.ts";

export type { Tiling } from "../spec/granularity.ts";
export type * from "../spec/kernels.ts";
export type * from "../spec/kernels_algebra.ts";
export type * from "../spec/kernels_cache.ts";
export * from "../spec/kernels_convert.ts";
export type * from "../spec/kernels_dense.ts";
export type * from "../spec/kernels_lookup.ts";
export * from "../spec/kernel_ops.ts";
export { hadamardMatrix, hadamardOrders } from "./hadamard.ts";
export {
  type IntegerPlanes,
  integerPlanes,
  type IntegerPlanesArguments,
} from "./integer_planes.ts";
export { referenceKernels } from "./reference.ts";

/** Options of {@linkcode loadKernels}. */
export interface LoadOptions {
  /** Threads to split operations among; `"auto"` or 0 for as many as the machine runs at once. */
  threads?: number | "auto";
}

/** The most threads. */
const MAX_THREADS = 64;
/**
 * Loads the kernels. Needs no permission. Where memory cannot be shared or workers cannot be
 * started, they run on the calling thread alone: `kernels.threads` says what it is.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { loadKernels } from "./mod.ts";
 * const kernels = await loadKernels();
 * using x = kernels.upload(Float32Array.of(1, 2));
 * using y = kernels.upload(Float32Array.of(10, 20));
 * kernels.add({ x, y });
 * assertEquals([...y.array], [11, 22]);
 * kernels.close();
 * ```
 */
export async function loadKernels(options: LoadOptions = {}): Promise<Kernels> {
  const threads = threadCount(options.threads ?? 1);
  const context = threads > 1 ? await sharedContext(threads) : undefined;
  return new WasmKernels(context ?? new Context(instantiate(await modulesFor(false), false)));
}

function threadCount(wanted: number | "auto"): number {
  if (wanted !== "auto") check.whole("threads", wanted, 0, MAX_THREADS);
  const hardware = globalThis.navigator?.hardwareConcurrency ?? 1;
  return Math.min(wanted === "auto" || wanted === 0 ? hardware : wanted, MAX_THREADS);
}

async function sharedContext(threads: number): Promise<Context | undefined> {
  if (typeof SharedArrayBuffer === "undefined") return undefined;
  let modules: Modules;
  let context: Context;
  try {
    modules = await modulesFor(true);
    context = new Context(instantiate(modules, true));
  } catch {
    return undefined; // no room for a shared memory, or no atomics
  }
  await context.pool.start(modules, threads - 1);
  return context;
}
