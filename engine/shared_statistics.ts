/**
 * Statistics that several runs share: recipes that are calibrated on the same windows see the same
 * inputs of the same original blocks, so one of them collects and the others are given a copy.
 *
 * @module
 */

import type { Buffer, Checkpoint, InputStatistics, Kernels, StatisticName } from "../spec/mod.ts";

/** What was collected over one block. */
interface Collected {
  statistics: ReadonlyMap<string, InputStatistics>;
  outputs: Float32Array[];
}

/**
 * Statistics and outputs of the original blocks of one model, up to a number of bytes. Whoever
 * makes it sees to it that all runs have the same calibration. What does not fit is collected again.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { memoryOutput } from "../formats/containers/output.ts";
 * import { createWorkbench } from "../workbench.ts";
 * import { SharedStatistics } from "./shared_statistics.ts";
 * using lowbit = await createWorkbench();
 * const model = await lowbit.open("embedded");
 * const shared = new SharedStatistics(model, ["gram"]);
 * const calibration = [Int32Array.of(1, 2, 3, 4)];
 * for (const recipe of ["gptq-w4g64", "gptq-w3g64"]) {
 *   await lowbit.quantize({ model, recipe, calibration, shared, out: memoryOutput() });
 * }
 * assertEquals(shared.hits, 4); // the blocks, for the second recipe
 * model.close();
 * ```
 */
export class SharedStatistics {
  /** What any of the runs will want. */
  readonly needs: ReadonlySet<StatisticName>;
  readonly #checkpoint: Checkpoint;
  readonly #kept = new Map<number, Collected>();
  #room: number;
  /** Blocks that were not collected again. */
  hits = 0;

  /** Collects `needs` of `checkpoint` for everybody; keeps at most `bytes`. */
  constructor(checkpoint: Checkpoint, needs: Iterable<StatisticName>, bytes = 2 ** 30) {
    this.#checkpoint = checkpoint;
    this.needs = new Set(needs);
    this.#room = bytes;
  }

  /** What another run has collected over this block; outputs are the caller's to free. */
  get(
    block: { index: number; model: { checkpoint: Checkpoint } },
    kernels: Kernels,
  ): { statistics: ReadonlyMap<string, InputStatistics>; outputs: Buffer<"f32">[] } | undefined {
    const found = this.#kept.get(block.index);
    if (!found || block.model.checkpoint !== this.#checkpoint) return undefined;
    this.hits++;
    const outputs = found.outputs.map((output) => kernels.upload(output));
    return { statistics: copies(found.statistics), outputs };
  }

  /** Keeps what was collected, if there is room. */
  set(
    block: { index: number; model: { checkpoint: Checkpoint } },
    statistics: ReadonlyMap<string, InputStatistics>,
    outputs: {
      readonly bytes: number;
      readonly count: number;
      borrow(i: number): { readonly buffer: Buffer<"f32"> } & Disposable;
    },
  ): void {
    // A model that was rewritten is another one.
    if (block.model.checkpoint !== this.#checkpoint) return;
    const bytes = [...statistics.values()].flatMap((value) => Object.values(value))
      .reduce((sum, array) => sum + (ArrayBuffer.isView(array) ? array.byteLength : 0), 0) +
      outputs.bytes;
    if (bytes > this.#room) return;
    this.#room -= bytes;
    this.#kept.set(block.index, {
      statistics: copies(statistics),
      outputs: Array.from({ length: outputs.count }, (_, i) => {
        using output = outputs.borrow(i);
        return output.buffer.array.slice();
      }),
    });
  }
}

/** Copies, since whoever transforms a block changes its statistics. */
function copies(
  statistics: ReadonlyMap<string, InputStatistics>,
): ReadonlyMap<string, InputStatistics> {
  return new Map([...statistics].map(([input, value]) => [input, structuredClone(value)]));
}
