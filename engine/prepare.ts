/**
 * A block before it is quantised: transformed step by step, with statistics for whoever asks.
 *
 * @module
 */

import {
  type InputStatistics,
  type Kernels,
  type LinearInfo,
  LowbitError,
  type Statistic,
} from "../spec/mod.ts";
import type { Activations } from "./activations.ts";
import type { LoadedBlock } from "./block.ts";
import { proveEqual } from "./checks.ts";
import type { Pipeline, PipelineStep } from "./pipeline.ts";
import type { SharedStatistics } from "./shared_statistics.ts";
import { byInput, InputCollector, observeInputs } from "./statistics.ts";

/** What {@linkcode prepareBlock} needs. */
export interface PrepareArguments {
  /** The block. */
  block: LoadedBlock;
  /** The pipeline. */
  pipeline: Pipeline;
  /** The inputs of the block, one a window. */
  states: Activations;
  /** The windows. */
  calibration: readonly Int32Array[];
  /** The kernels. */
  kernels: Kernels;
  /** Statistics of the block as it was, which are collected no more. */
  given?: ReadonlyMap<string, InputStatistics>;
  /** Statistics of this model and calibration that other runs have collected, or will want. */
  shared?: SharedStatistics;
  /** Takes what the original block makes of the windows, if that is wanted. */
  outputs?: Activations;
  /** Called after each window; may throw to stop. */
  onWindow(done: number): void;
}

/**
 * Applies the transforms of all steps, in order, and proves each on one window. Statistics are
 * collected before the first step that asks for them, and again where a transform made them wrong.
 */
export async function prepareBlock(asked: PrepareArguments): Promise<void> {
  const args = { ...asked };
  const { block, pipeline, states, outputs } = args;
  const { steps } = pipeline;
  const fresh = async () => {
    if (block.hasStatistics) return;
    if (!args.given) return await collect(args);
    throw new LowbitError("CONFLICT", "no longer hold: a transform changed what they are of", {
      ...{ file: "statistics", field: `blocks.${block.index}` },
      advice: "leave them out, so that the run collects its own",
    });
  };
  const run = () => {
    if (states.count === 0) return undefined;
    using state = states.borrow(0);
    using output = block.run(state.buffer, args.calibration[0].length);
    return output.array.slice();
  };
  if (args.given) block.setStatistics(args.given);
  let before: Float32Array | undefined;
  for (const step of steps) {
    const { plugin, context } = step;
    if (!plugin.transform) continue;
    if (asks(step)) await fresh();
    before ??= run();
    args.shared = undefined; // what is collected from here on is of a changed block
    block.transform(plugin.transform({ context, block }), plugin.meta.name);
    const after = run();
    if (before && after) proveEqual(before, after, plugin.meta.name, `blocks.${block.index}`);
    before = after;
  }
  if (pipeline.hasStatic || pipeline.collectsImportance || steps.some(asks)) await fresh();
  if (outputs && outputs.filled < states.count) await collect(args);
}

/** Whether a step wants statistics of the inputs of linears. */
function asks({ plugin }: PipelineStep): boolean {
  return plugin.meta.needs.statistics.length > 0 || plugin.collect !== undefined;
}

/** Runs the windows through the block, watching the inputs of its linears. */
async function collect(args: PrepareArguments): Promise<void> {
  const { block, pipeline, states, calibration, kernels } = args;
  // What the block makes of the windows is the same before and after transforms: kept once.
  const outputs = args.outputs && args.outputs.filled < states.count ? args.outputs : undefined;
  const asked = [...byInput(block.linears)].map(([input, linears]) => ({
    input,
    columns: linears[0].columns,
    needs: new Set(linears.flatMap((linear) => [...pipeline.statistics(linear)])),
    custom: customStatistics(pipeline, linears[0]),
  }));
  // What others do not collect is no use to them, nor theirs to this run.
  const { shared: offered } = args;
  const covered = offered &&
    asked.every(({ needs, custom }) => needs.isSubsetOf(offered.needs) && custom.size === 0);
  const shared = outputs && covered ? offered : undefined;
  const found = shared?.get(block, kernels);
  if (found) {
    found.outputs.forEach((output, i) => outputs!.put(i, output));
    return block.setStatistics(found.statistics);
  }
  const collectors = new Map<string, InputCollector>();
  for (const { input, columns, needs, custom } of asked) {
    const all = shared ? needs.union(shared.needs) : needs;
    if (args.given || all.size + custom.size === 0) continue;
    collectors.set(input, new InputCollector(kernels, columns, all, custom));
  }
  try {
    for (let i = 0; i < states.count; i++) {
      using state = states.borrow(i);
      const output = block.run(state.buffer, calibration[i].length, {
        observe: observeInputs(collectors),
      });
      if (outputs) outputs.put(i, output);
      else output.free();
      // Lets timers, signals and progress bars have their turn.
      await new Promise((resolve) => setTimeout(resolve, 0));
      args.onWindow(i + 1);
    }
    const statistics = new Map(
      [...collectors].map(([input, collector]) => [input, collector.finish()]),
    );
    if (args.given) return;
    if (outputs) shared?.set(block, statistics, outputs);
    block.setStatistics(statistics);
  } finally {
    for (const collector of collectors.values()) collector.free();
  }
}

function customStatistics(pipeline: Pipeline, linear: LinearInfo): Map<string, Statistic> {
  const custom = new Map<string, Statistic>();
  for (const { plugin, context } of pipeline.steps) {
    if (plugin.collect) custom.set(plugin.meta.name, plugin.collect({ context, linear }));
  }
  return custom;
}
