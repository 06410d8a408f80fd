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
import type { AutodiffLoader } from "./differentiate.ts";
import { WholeModel } from "./model_view.ts";
import type { Pipeline } from "./pipeline.ts";

/** Elements of the weights that one program differentiates by; more need another pass. */
const AT_ONCE = 2 ** 25;
/** What the values of one window may take, bytes: half of what the autodiff library can hold. */
const MOST_BYTES = 2 ** 31;

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
 * The Fisher diagonals `[rows, columns]` of the linears that want one, by id. Holds the whole model
 * in memory while it works. Windows of another length than the first are left out. Where the values
 * that gradients of a window need would not fit in memory, windows are cut in two, as often as needed.
 */
export async function fisherDiagonals(args: FisherArguments): Promise<Map<string, Float32Array>> {
  const { model, kernels, codecs, calibration: windows = [] } = args;
  const linears = fisherLinears(model, args.pipeline);
  const found = new Map<string, Float32Array>();
  if (linears.length === 0) return found;
  if (!args.autodiff) {
    throw new LowbitError("UNSUPPORTED", "needs gradients, but this host has no autodiff", {
      file: args.pipeline.recipe.name,
      advice: "give `autodiff` to the engine, as the workbench does",
    });
  }
  const autodiff = await args.autodiff();
  using whole = await WholeModel.load({
    model,
    kernels,
    codecs,
    windows: shortWindows(model, windows.filter(({ length }) => length === windows[0].length)),
    candidates: [],
    planned: linears,
  });
  for (const part of parts(linears)) squares(autodiff, whole, part, found);
  return found;
}

/** Windows cut in two until the values of one fit in memory. */
export function shortWindows(model: ModelGraph, windows: readonly Int32Array[]): Int32Array[] {
  let [length] = windows.map((window) => window.length);
  while (length >= 4 && valuesOf(model, length) > MOST_BYTES) length >>= 1;
  return windows.flatMap((window) =>
    Array.from(
      { length: Math.floor(window.length / length) },
      (_, i) => window.subarray(i * length, (i + 1) * length),
    )
  );
}

/**
 * About how many bytes the values of a window and their gradients take: inputs and outputs of
 * linears, scores of attention, and logits, each with what element-wise steps keep of them.
 */
function valuesOf({ linears, hyperparameters }: ModelGraph, length: number): number {
  const { vocab, blocks, heads = 0 } = hyperparameters;
  const wide = linears.reduce(
    (sum, { block, rows, columns }) => block === undefined ? sum : sum + rows + columns,
    0,
  );
  return 4 * length * (3 * wide + 6 * (vocab + blocks * heads * length));
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

function squares(
  autodiff: Autodiff,
  whole: WholeModel,
  linears: readonly LinearInfo[],
  found: Map<string, Float32Array>,
): void {
  const ids = linears.map(({ id }) => id);
  using program = autodiff.compile((scope) =>
    whole.loss(scope, {
      linear(id, x) {
        const weight = scope.inputs[id];
        return weight && x.matmul(weight.transpose());
      },
    }), ids);
  const inputs = Object.fromEntries(
    linears.map(({ id, rows, columns }) =>
      [id, { values: whole.weight(id), shape: [rows, columns] }] as const
    ),
  );
  const sums = new Map(ids.map((id) => [id, new Float64Array(whole.weight(id).length)]));
  for (const window of whole.windows.keys()) {
    const { gradients } = program.run({ ...whole.batch([window]), ...inputs });
    for (const [id, sum] of sums) {
      const gradient = gradients[id];
      for (let i = 0; i < sum.length; i++) sum[i] += gradient[i] * gradient[i];
    }
  }
  for (const [id, sum] of sums) {
    found.set(id, Float32Array.from(sum, (value) => value / whole.windows.length));
  }
}
