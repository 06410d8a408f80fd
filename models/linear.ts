/**
 * Linears and the other parameters of a part of a model, loaded into kernel memory. How a linear is
 * computed (full precision, packed, observed) is decided by a factory that the caller gives.
 *
 * @module
 */

import type { Kernels, LinearInfo, LinearWeight, Node, StoredTensor } from "../spec/mod.ts";
import { type ModelGraph, parameterId } from "./architecture.ts";
import type { Values } from "./interpreter.ts";
import { linearsOf, weightsOf } from "./values.ts";
import { parameterTensor } from "./weights.ts";

/** A linear, ready to be applied. */
export interface LinearExecutor extends Disposable {
  /** Bytes of its weight in kernel memory. */
  readonly bytes: number;
  /** `x W^T` for `x` `[tokens, in]`: a new buffer `[tokens, out]`. */
  apply(x: Values, tokens: number): Values;
  /** Gives the memory back. */
  free(): void;
}

/** Makes the executor of a linear; the tensor has its rows in the order of the graph. */
export type LinearFactory = (linear: LinearInfo, tensor: StoredTensor) => Promise<LinearExecutor>;

/**
 * An executor on a prepared weight, which it owns.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { referenceKernels } from "../kernels-wasm/reference.ts";
 * import { weightExecutor } from "./linear.ts";
 * const kernels = referenceKernels();
 * using linear = weightExecutor(kernels, kernels.denseWeight(Float32Array.of(1, 0, 1, 1), 2, 2));
 * using x = kernels.upload(Float32Array.of(3, 4));
 * using y = linear.apply(x, 1);
 * assertEquals([...y.array], [3, 7]);
 * ```
 */
export function weightExecutor(kernels: Kernels, weight: LinearWeight): LinearExecutor {
  const free = () => weight.free();
  return {
    bytes: weight.bytes,
    apply(x, tokens) {
      const y = kernels.alloc("f32", tokens * weight.rows);
      kernels.linear({ x, y, tokens, weight });
      return y;
    },
    free,
    [Symbol.dispose]: free,
  };
}

/**
 * The factory of full precision: weights are read as f32.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { embeddedPath } from "../embedded/mod.ts";
 * import { openCheckpoint } from "../formats/open.ts";
 * import { referenceKernels } from "../kernels-wasm/reference.ts";
 * import { linearOf, openModel } from "./architecture.ts";
 * import { denseLinears } from "./linear.ts";
 * import { parameterTensor } from "./weights.ts";
 *
 * const checkpoint = await openCheckpoint(embeddedPath("model"));
 * const model = openModel(checkpoint), kernels = referenceKernels();
 * const key = linearOf(model, "blocks.0.attention.key");
 * using executor = await denseLinears(kernels)(key, parameterTensor(model, key.id));
 * using x = kernels.alloc("f32", key.columns);
 * using y = executor.apply(x, 1);
 * assertEquals(y.array, new Float32Array(128)); // of zeros come zeros
 * checkpoint.close();
 * ```
 */
export function denseLinears(kernels: Kernels): LinearFactory {
  return async ({ rows, columns }, tensor) =>
    weightExecutor(kernels, kernels.denseWeight(await tensor.read(), rows, columns));
}

/** The parameters of one part of a model: of a block, or of what comes after the blocks. */
export interface LoadedPart extends Disposable {
  /** Bytes in kernel memory. */
  readonly bytes: number;
  /** A parameter that is no linear, by its name in the graph. */
  parameter(name: string): Values;
  /** Applies a linear, by its role. */
  linear(role: string, x: Values, tokens: number): Values;
  /** Gives the memory back. */
  free(): void;
}

/**
 * Loads the parameters that some operations of the graph use. `block` is the number of the block,
 * absent for the operations after the blocks.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { embeddedPath } from "../embedded/mod.ts";
 * import { openCheckpoint } from "../formats/open.ts";
 * import { loadKernels } from "../kernels-wasm/mod.ts";
 * import { openModel } from "./architecture.ts";
 * import { loadPart } from "./linear.ts";
 *
 * const checkpoint = await openCheckpoint(embeddedPath("model"));
 * const model = openModel(checkpoint), kernels = await loadKernels();
 * const { nodes } = model.blocks[0];
 * using part = await loadPart({ model, kernels, nodes, block: 0 });
 * assertEquals(part.parameter("attention.norm").length, 256);
 * using x = kernels.alloc("f32", 2 * 256);
 * using y = part.linear("mlp.up", x, 2);
 * assertEquals(y.length, 2 * 640);
 * checkpoint.close();
 * ```
 */
export async function loadPart(args: {
  model: ModelGraph;
  kernels: Kernels;
  nodes: readonly Node[];
  block?: number;
  linears?: LinearFactory;
}): Promise<LoadedPart> {
  const { model, kernels, nodes, block, linears = denseLinears(kernels) } = args;
  const { hyperparameters } = model;
  const executors = new Map<string, LinearExecutor>();
  const parameters = new Map<string, Values>();
  const free = () => {
    for (const item of [...executors.values(), ...parameters.values()]) item.free();
  };
  try {
    for (const node of nodes) {
      if (node.op === "embed") continue;
      const multiplied = new Set(linearsOf(node, hyperparameters).map(({ weight }) => weight));
      for (const name of weightsOf(node, hyperparameters)) {
        if (executors.has(name) || parameters.has(name)) continue;
        const id = parameterId(model, name, block);
        const tensor = parameterTensor(model, id);
        if (multiplied.has(name)) {
          const info = model.linears.find((linear) => linear.id === id)!;
          executors.set(name, await linears(info, tensor));
        } else parameters.set(name, kernels.upload(await tensor.read()));
      }
    }
  } catch (error) {
    free();
    throw error;
  }
  const bytes = [...executors.values()].reduce((sum, item) => sum + item.bytes, 0) +
    [...parameters.values()].reduce((sum, buffer) => sum + 4 * buffer.length, 0);
  return {
    bytes,
    parameter: (name) => parameters.get(name)!,
    linear: (role, x, tokens) => executors.get(role)!.apply(x, tokens),
    free,
    [Symbol.dispose]: free,
  };
}
