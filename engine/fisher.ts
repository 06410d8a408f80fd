/**
 * The diagonal of the empirical Fisher information, a statistic that plugins may ask for: mean
 * squares of the gradients of the model's negative log-likelihood, one a calibration window.
 *
 * @module
 */

import {
  type Autodiff,
  type Codecs,
  type Kernels,
  type LinearInfo,
  LowbitError,
} from "../spec/mod.ts";
import type { ModelGraph } from "../models/architecture.ts";
import { embedWindows } from "../models/evaluate.ts";
import { LoadedBlock } from "./block.ts";
import type { AutodiffLoader } from "./differentiate.ts";
import { BlockGradients, headGradients } from "./gradients.ts";
import type { Pipeline } from "./pipeline.ts";

/** Elements of the weights that one program differentiates by; more need another pass. */
const AT_ONCE = 2 ** 25;

/** What {@linkcode fisherDiagonals} needs. */
export interface FisherArguments {
  /** The model, before transforms of its blocks. */
  model: ModelGraph;
  /** The pipeline; its steps say which linears they want it of. */
  pipeline: Pipeline;
  /** The kernels. */
  kernels: Kernels;
  /** The codecs on them. */
  codecs: Codecs;
  /** Windows of token ids. */
  calibration?: readonly Int32Array[];
  /** Loads the autodiff library. */
  autodiff?: AutodiffLoader;
}

/** The linears of blocks that some step wants the Fisher diagonal of. */
export function fisherLinears(model: ModelGraph, pipeline: Pipeline): LinearInfo[] {
  return model.linears.filter((linear) =>
    linear.block !== undefined && pipeline.statistics(linear).has("fisher")
  );
}

/**
 * The Fisher diagonals `[rows, columns]` of the linears that want one, by id. Windows of another length
 * than the first are left out. Holds one block, the inputs of every block, and the diagonals.
 */
export async function fisherDiagonals(args: FisherArguments): Promise<Map<string, Float32Array>> {
  const { model, calibration = [] } = args;
  const linears = fisherLinears(model, args.pipeline);
  if (linears.length === 0) return new Map();
  if (!args.autodiff) {
    throw new LowbitError("UNSUPPORTED", "needs gradients, but this host has no autodiff", {
      file: args.pipeline.recipe.name,
      advice: "give `autodiff` to the engine, as the workbench does",
    });
  }
  const windows = calibration.filter(({ length }) => length === calibration[0].length);
  return await backwards(await args.autodiff(), args, windows, linears);
}

/** Through the blocks and back: the gradient by a block's output is that by the next one's input. */
async function backwards(
  autodiff: Autodiff,
  { model, kernels }: FisherArguments,
  windows: readonly Int32Array[],
  linears: readonly LinearInfo[],
): Promise<Map<string, Float32Array>> {
  const { blocks } = model.hyperparameters;
  const load = (index: number) => LoadedBlock.load(model, kernels, index, new Map());
  const inputs = await blockInputs(model, kernels, windows, load);
  const outputs = inputs.pop()!;
  let gradients = await headGradients({ autodiff, model, kernels, windows, outputs });
  const found = new Map<string, Float32Array>();
  const first = Math.min(...linears.map(({ block }) => block!));
  for (let index = blocks - 1; index >= first; index--) {
    const block = await load(index);
    const own = parts(linears.filter((linear) => linear.block === index));
    const last = gradients;
    for (const [i, part] of (own.length > 0 ? own : [[]]).entries()) {
      using program = new BlockGradients({ autodiff, kernels, block, linears: part });
      const sums = part.map(({ rows, columns }) => new Float64Array(rows * columns));
      const next = windows.map((_, window) => {
        const { x, weights } = program.run(inputs[index][window], last[window]);
        for (const [j, sum] of sums.entries()) {
          for (let k = 0; k < sum.length; k++) sum[k] += weights[j][k] * weights[j][k];
        }
        return x;
      });
      if (i === 0) gradients = next;
      for (const [j, { id }] of part.entries()) {
        found.set(id, Float32Array.from(sums[j], (sum) => sum / windows.length));
      }
    }
    block.free();
    inputs.pop();
  }
  return found;
}

/** The inputs of every block for each window, then the outputs of the last. */
async function blockInputs(
  model: ModelGraph,
  kernels: Kernels,
  windows: readonly Int32Array[],
  load: (index: number) => Promise<LoadedBlock>,
): Promise<Float32Array[][]> {
  let states = await embedWindows(model, kernels, windows);
  const copies = () => states.map((x) => x.array.slice());
  const all = [copies()];
  for (let index = 0; index < model.hyperparameters.blocks; index++) {
    const block = await load(index);
    const before = states;
    states = before.map((x, i) => block.run(x, windows[i].length));
    for (const x of before) x.free();
    block.free();
    all.push(copies());
  }
  for (const x of states) x.free();
  return all;
}

/** Linears in runs of limited size. */
function parts(linears: readonly LinearInfo[]): LinearInfo[][] {
  const all: LinearInfo[][] = [];
  let room = 0;
  for (const linear of linears) {
    const size = linear.rows * linear.columns;
    if (all.length === 0 || size > room) {
      all.push([]);
      room = AT_ONCE;
    }
    all.at(-1)!.push(linear);
    room -= size;
  }
  return all;
}
