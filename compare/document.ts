/**
 * What a comparison is: the document that `--json` prints and that tables and the page are made of.
 *
 * @module
 */

import type { FileHash, Receipt } from "../spec/mod.ts";

/** How windows are cut and scored. */
export interface Protocol {
  /** Its name: `lowbit`, `gptq`, `llama.cpp` or `custom`. */
  name: string;
  /** Tokens of the longest window. */
  context: number;
  /** Tokens from the start of a window to that of the next. */
  stride: number;
  /** Whether each window begins with BOS in place of its first token. */
  bos: boolean;
  /** Windows. */
  windows: number;
  /** The place of the first token of a window that is scored, in windows after the first one. */
  scored_from: number;
}

/** Counts over bins of equal width. */
export interface Histogram {
  /** The left end of the first bin. */
  start: number;
  /** The width of a bin. */
  width: number;
  /** How many values fall into each. */
  counts: number[];
}

/** What became of one linear. */
export interface LinearError {
  /** The number of the block. */
  block: number;
  /** The role in the block. */
  role: string;
  /** Signal to quantisation noise of the weight, dB. */
  sqnr_db: number;
  /** Bits a weight, parameters included. */
  bits: number;
}

/** A tensor as one recipe stores it. */
export interface TensorView {
  /** The scheme or vector format. */
  scheme: string;
  /** The number format of a code; absent for vector formats. */
  element?: string;
  /** What each code stands for before the scale; null where it is no number. */
  values?: (number | null)[];
  /** How often each code occurs. */
  counts?: number[];
  /** The scales: binary logarithms of their magnitudes. */
  scales?: Histogram;
  /** The weights as they come back, in the bins of the original. */
  restored: Histogram;
}

/** Magnitudes of the inputs of a linear. */
export interface Grid {
  /** Tokens. */
  rows: number;
  /** Groups of neighbouring channels; of each the largest magnitude. */
  columns: number;
  /** Channels. */
  channels: number;
  /** The magnitudes, row by row. */
  values: number[];
  /** The largest magnitude of a channel over the median of these. */
  max_over_median: number;
  /** Kurtosis of the values; 3 for a normal distribution. */
  kurtosis: number;
}

/** A moment of a run. */
export interface Moment {
  /** Seconds since its start. */
  seconds: number;
  /** What was done until then. */
  stage: string;
  /** Resident memory of the process, bytes. */
  rss_bytes: number;
}

/** What one recipe gives. */
export interface Entry {
  /** The name of the recipe, with the calibration set where there are several. */
  name: string;
  /** The hash that it is kept under. */
  key: string;
  /** Whether it was kept from an earlier comparison. */
  cached: boolean;
  /** Bits a weight over all parameters. */
  bits_per_weight: number;
  /** Bytes of the output. */
  bytes: number;
  /** The figures of the evaluators. */
  figures: Record<string, number>;
  /** Seconds to quantise, and to evaluate. */
  seconds: { quantize: number; evaluate: number };
  /** The most memory seen while it was quantised, bytes; of the whole process. */
  peak_rss_bytes: number;
  /** Predictions a second while it was evaluated. */
  tokens_per_second: number;
  /** Recipes that ran side by side while it was measured, if more than one: times and memory are theirs. */
  jobs?: number;
  /** Joules, where the machine counts them and the process may read it. */
  energy_joules?: number;
  /** Error by block and role. */
  linears: LinearError[];
  /** The tensor that is looked at. */
  tensor?: TensorView;
  /** Inputs of the linear that is looked at, where the recipe transforms them. */
  activations?: Grid;
  /** Moments of the run. */
  timeline: Moment[];
  /** The receipt. */
  receipt: Receipt;
  /** Whether no other entry is both smaller and closer, by figure. */
  pareto: { kl: boolean; perplexity: boolean };
}

/** The difference of two models on the same tokens. */
export interface Difference {
  /** The first one. */
  a: string;
  /** The second one. */
  b: string;
  /** Mean over tokens of the negative log-likelihood of `a` less that of `b`, nats. */
  nll: number;
  /** Its standard error, tokens as if they were independent. */
  standard_error: number;
  /** Its standard error over windows, which need not agree among themselves; absent below 2. */
  standard_error_windows?: number;
}

/** Everything about a comparison. */
export interface Comparison {
  /** Version of this document. */
  comparison: 1;
  /** Version of lowbit. */
  lowbit: string;
  /** The kernel implementation. */
  kernels: string;
  /** Threads of each job. */
  threads: number;
  /** The model. */
  model: {
    name: string;
    architecture: string;
    files: FileHash[];
    parameters: number;
    bytes: number;
    bits_per_weight: number;
  };
  /** The text: its name, and the hash of the windows. */
  text: { name: string; tokens: number; sha256: string };
  /** How it was scored. */
  protocol: Protocol;
  /** The figures of the model itself. */
  reference: Record<string, number>;
  /** The recipes, in the order in which they were asked for. */
  entries: Entry[];
  /** What could not be done, and why. */
  failures: { name: string; error: string }[];
  /** Paired differences: each recipe against the model, and each against every later one. */
  differences: Difference[];
  /** Spread over calibration sets, where there are several. */
  calibration?: {
    recipe: string;
    sets: number;
    mean_kl: number;
    sd_kl: number;
    range_kl: number;
  }[];
  /** The tensor that is looked at, in full precision. */
  tensor: { name: string; kurtosis: number; histogram: Histogram };
  /** The inputs that are looked at, of the model itself. */
  activations: { block: number; role: string; grid: Grid };
}
