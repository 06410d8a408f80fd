/**
 * Layer by layer: how error grows through the blocks of a quantised model, and what each linear adds
 * of its own; and outliers of what linears read.
 *
 * @module
 */

import type { Checkpoint, Codecs, Kernels } from "../spec/mod.ts";
import { openModel } from "../models/architecture.ts";
import { embedWindows } from "../models/evaluate.ts";
import { runBlock, type Values } from "../models/interpreter.ts";
import { loadPart } from "../models/linear.ts";
import { checkpointLinears } from "./executor.ts";

/** One block or linear. */
export interface LayerFigures {
  /** `blocks.3`, or `blocks.3.mlp.up`. */
  id: string;
  /** Signal to noise of its output against the reference, dB; absent without one. */
  sqnr_db?: number;
  /** Kurtosis of the inputs of a linear; 3 for a normal distribution. */
  kurtosis?: number;
  /** The largest magnitude of a channel over the median one, of the inputs of a linear. */
  max_over_median?: number;
}

/**
 * Runs windows through a model, and through a reference beside it. A block is compared with all the
 * error that came before it; a linear of the model is given the inputs that the reference has there,
 * so that its error is its own (where the model's activations were not transformed).
 */
export async function layerFigures(args: {
  checkpoint: Checkpoint;
  reference?: Checkpoint;
  windows: readonly Int32Array[];
  kernels: Kernels;
  codecs: Codecs;
}): Promise<LayerFigures[]> {
  const { checkpoint, reference = checkpoint, windows, kernels, codecs } = args;
  const compares = args.reference !== undefined;
  const [base, model] = [openModel(reference), openModel(checkpoint)];
  const parts = [base, model].map((graph) => ({
    graph,
    linears: checkpointLinears(kernels, codecs, graph.checkpoint),
  }));
  const states = [await embedWindows(base, kernels, windows)];
  if (compares) states.push(await embedWindows(model, kernels, windows));
  const figures: LayerFigures[] = [];
  try {
    for (let block = 0; block < base.hyperparameters.blocks; block++) {
      const load = (i: number) => {
        const { graph, linears } = parts[i];
        const nodes = graph.architecture.graph.block;
        return loadPart({ model: graph, kernels, nodes, block, linears });
      };
      using theirs = await load(0);
      using ours = compares ? await load(1) : undefined;
      const outputs = new Map<string, Noise>();
      const inputs = new Map<string, InputOutliers>();
      const whole = new Noise();
      for (const [w, { length: tokens }] of windows.entries()) {
        const run = (i: number, part: typeof theirs, linear: typeof theirs.linear): Values => {
          const { hyperparameters, architecture: { graph } } = parts[i].graph;
          const { parameter } = part;
          const x = states[i][w];
          const y = runBlock({ graph, kernels, hyperparameters, tokens, x, parameter, linear });
          x.free();
          return states[i][w] = y;
        };
        const full = run(0, theirs, (role, x, rows) => {
          const y = theirs.linear(role, x, rows);
          let seen = inputs.get(role);
          if (!seen) inputs.set(role, seen = new InputOutliers(x.length / rows));
          seen.add(x.array);
          if (ours) {
            using z = ours.linear(role, x, rows);
            let noise = outputs.get(role);
            if (!noise) outputs.set(role, noise = new Noise());
            noise.add(y.array, z.array);
          }
          return y;
        });
        if (ours) whole.add(full.array, run(1, ours, ours.linear).array);
      }
      for (const [role, seen] of inputs) {
        const own = outputs.get(role);
        const id = `blocks.${block}.${role}`;
        figures.push({ id, ...(own && { sqnr_db: own.decibels() }), ...seen.result() });
      }
      figures.push({ id: `blocks.${block}`, ...(ours && { sqnr_db: whole.decibels() }) });
    }
  } finally {
    for (const x of states.flat()) x.free();
  }
  return figures;
}

/** Adds up signal and noise. */
class Noise {
  #signal = 0;
  #noise = 0;

  add(reference: Float32Array, values: Float32Array): void {
    for (let i = 0; i < reference.length; i++) {
      this.#signal += reference[i] ** 2;
      this.#noise += (reference[i] - values[i]) ** 2;
    }
  }

  /** 200 dB, which is beyond f32, where there is no noise. */
  decibels(): number {
    return Math.min(200, 10 * Math.log10(this.#signal / this.#noise));
  }
}

/** Moments of values, and the largest magnitude of each channel. */
class InputOutliers {
  readonly #largest: Float32Array;
  readonly #sums = [0, 0, 0, 0, 0];

  constructor(columns: number) {
    this.#largest = new Float32Array(columns);
  }

  add(values: Float32Array): void {
    const [largest, sums] = [this.#largest, this.#sums];
    for (let i = 0, j = 0; i < values.length; i++) {
      const x = values[i], square = x * x, size = Math.abs(x);
      if (size > largest[j]) largest[j] = size;
      if (++j === largest.length) j = 0;
      sums[0]++;
      sums[1] += x;
      sums[2] += square;
      sums[3] += square * x;
      sums[4] += square * square;
    }
  }

  result(): { kurtosis: number; max_over_median: number } {
    const [n, ...sums] = this.#sums;
    const [mean, second, third, fourth] = sums.map((sum) => sum / n);
    const variance = second - mean ** 2;
    const central = fourth - 4 * mean * third + 6 * mean ** 2 * second - 3 * mean ** 4;
    const sorted = this.#largest.toSorted();
    return {
      kurtosis: central / variance ** 2,
      max_over_median: sorted[sorted.length - 1] / sorted[sorted.length >> 1],
    };
  }
}
