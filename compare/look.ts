/**
 * Looking into models: a weight and its codes, and the inputs of a linear.
 *
 * @module
 */

import { checkpointLinears } from "../engine/executor.ts";
import { type ModelGraph, openModel } from "../models/architecture.ts";
import { embedWindows } from "../models/evaluate.ts";
import { runBlock } from "../models/interpreter.ts";
import { loadPart } from "../models/linear.ts";
import { parameterTensor } from "../models/weights.ts";
import { type Checkpoint, isVector, type StoredTensor, unknownName } from "../spec/mod.ts";
import type { Workbench } from "../workbench.ts";
import type { Grid, Histogram, TensorView } from "./document.ts";
import { histogram, kurtosis, median, rangeHistogram } from "./statistics.ts";

const BINS = 96;
/** Tokens and groups of channels of a grid. */
const [ROWS, COLUMNS] = [32, 96];

/** The linear whose weights have the heaviest tails, of the first, middle and last block. */
export async function heaviestTails(
  model: ModelGraph,
  name?: string,
): Promise<{ id: string; name: string; kurtosis: number; histogram: Histogram }> {
  const last = model.hyperparameters.blocks - 1;
  const blocks = [0, last >> 1, last];
  const named = ({ id }: { id: string }) => tensorName(model, id) === name || id === name;
  const linears = model.linears.filter((linear) =>
    name === undefined ? blocks.includes(linear.block ?? -1) : named(linear)
  );
  let found: Awaited<ReturnType<typeof heaviestTails>> | undefined;
  for (const { id } of linears) {
    const weight = await parameterTensor(model, id).read();
    const tails = kurtosis(weight);
    if (found && found.kurtosis >= tails) continue;
    found = {
      id,
      name: tensorName(model, id),
      kurtosis: tails,
      histogram: rangeHistogram(weight, BINS),
    };
  }
  if (found) return found;
  throw unknownName("linear", name!, model.linears.map(({ id }) => tensorName(model, id)));
}

function tensorName(model: ModelGraph, id: string): string {
  return parameterTensor(model, id).name;
}

/** A tensor as a quantised checkpoint stores it; `bins` are those of the original. */
export async function viewTensor(
  lowbit: Workbench,
  checkpoint: Checkpoint,
  id: string,
  bins: Histogram,
): Promise<TensorView> {
  const tensor = parameterTensor(openModel(checkpoint), id);
  const { start, width, counts } = bins;
  const weight = await tensor.read();
  const end = start + width * counts.length;
  // A transform may have scaled the weight out of the bins of the original.
  const outside = weight.reduce((n, w) => n + Number(w < start - width || w > end + width), 0);
  const restored = outside * 100 > weight.length
    ? rangeHistogram(weight, BINS)
    : histogram(weight, start, width, counts.length);
  if (tensor.storage.kind !== "coded") return { scheme: label(tensor), restored };
  const coded = await tensor.quantized();
  if (isVector(coded)) return { scheme: coded.format.id, restored };
  const { scheme, codes, parameters } = coded;
  const scales = rangeHistogram(
    [...parameters.scales].filter((scale) => scale !== 0).map((s) => Math.log2(Math.abs(s))),
    48,
  );
  const { table } = lowbit.codecs.get(scheme);
  const view = { scheme: scheme.id, element: scheme.element.id, scales, restored };
  if (scheme.element.bits > 8) return view;
  const occurring = new Array<number>(table.length).fill(0);
  for (const code of codes) occurring[code]++;
  const values = Array.from(table, (value) => Number.isFinite(value) ? value : null);
  return { ...view, values, counts: occurring };
}

function label(tensor: StoredTensor): string {
  return tensor.storage.kind === "plain" ? tensor.storage.type : tensor.storage.kind;
}

/** The inputs of linears behind a norm, of one window: by block and role. */
export async function captureInputs(
  lowbit: Workbench,
  checkpoint: Checkpoint,
  window: Int32Array,
  wanted: (block: number, role: string) => boolean,
  lastBlock = Infinity,
): Promise<Map<string, Grid>> {
  const model = openModel(checkpoint);
  const { kernels, codecs } = lowbit;
  const { hyperparameters, architecture: { graph } } = model;
  const linears = checkpointLinears(kernels, codecs, checkpoint);
  let [x] = await embedWindows(model, kernels, [window]);
  const grids = new Map<string, Grid>();
  const tokens = window.length;
  try {
    for (let block = 0; block < Math.min(hyperparameters.blocks, lastBlock + 1); block++) {
      using part = await loadPart({ model, kernels, nodes: graph.block, block, linears });
      const y = runBlock({
        graph,
        kernels,
        hyperparameters,
        tokens,
        x,
        parameter: part.parameter,
        linear(role, input) {
          if (wanted(block, role)) grids.set(`${block} ${role}`, gridOf(input.array, tokens));
          return part.linear(role, input, tokens);
        },
      });
      x.free();
      x = y;
    }
  } finally {
    x.free();
  }
  return grids;
}

/** Linears that read what a norm makes: where outliers of the residual stream meet weights. */
export function rolesBehindNorms(model: ModelGraph): string[] {
  const linears = new Set(model.linears.map(({ role }) => role));
  return model.architecture.edges.filter(({ from }) => !linears.has(from)).map(({ to }) => to[0]);
}

/** The inputs `[tokens, channels]` as a grid of magnitudes. */
export function gridOf(values: Float32Array, tokens: number): Grid {
  const channels = values.length / tokens;
  const largest = new Float32Array(channels);
  values.forEach((value, i) => {
    const j = i % channels;
    largest[j] = Math.max(largest[j], Math.abs(value));
  });
  const rows = Math.min(ROWS, tokens), columns = Math.min(COLUMNS, channels);
  const grid = new Array<number>(rows * columns).fill(0);
  // The last tokens: the first ones have little to look back at.
  for (let row = 0; row < rows; row++) {
    for (let j = 0; j < channels; j++) {
      const at = row * columns + Math.floor(j * columns / channels);
      grid[at] = Math.max(grid[at], Math.abs(values[(tokens - rows + row) * channels + j]));
    }
  }
  return {
    rows,
    columns,
    channels,
    values: grid.map((value) => Number(value.toPrecision(3))),
    max_over_median: Math.max(...largest) / median(largest),
    kurtosis: kurtosis(values),
  };
}
