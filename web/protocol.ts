/**
 * What page and worker say to each other. The page asks, the worker answers once, and may send
 * events before.
 *
 * @module
 */

/** A number format, scheme or vector format, and what it is tried on. */
export interface Trial {
  /** The YAML. */
  yaml: string;
  /** Numbers to round: of a distribution, or these. */
  on: "gaussian" | "laplace" | "student_t" | "uniform" | Float32Array;
  /** Neighbours that share a scale, for a number format; 0 for all of them. */
  group: number;
  /** Numbers in a row of the matrix that they are of, if they are of one. */
  columns?: number;
}

/** What is wrong, and where. */
export interface Fault {
  /** The code of the error. */
  code: string;
  /** What is wrong, and what to do. */
  message: string;
  /** The line of the YAML, from 1. */
  line?: number;
}

/** All that the explorer shows of a number format, scheme or vector format. */
export interface FormatView {
  /** Which of these it is. */
  kind: "number format" | "scheme" | "vector format";
  /** The id. */
  id: string;
  /** One line. */
  summary: string;
  /** Bits of a code; of schemes and vector formats bits a number, scales and tables included. */
  bits: number;
  /** What every code means, before the scale; empty for vector formats. */
  values: Float32Array;
  /** Facts as pairs of a name and a number. */
  facts: [name: string, value: number][];
  /** The error of the trial. */
  error: {
    /** Signal to quantisation noise, dB. */
    sqnr_db: number;
    /** Root of the mean squared error, over the root of the mean square. */
    relative: number;
    /** Entropy of the codes, bits; absent for vector formats. */
    entropy?: number;
  };
  /** The largest relative error near a magnitude, which is a fraction of the largest value. */
  curve: [magnitude: number, error: number][];
  /** Neighbouring numbers as points, for vector formats. */
  pairs?: { before: [x: number, y: number][]; after: [x: number, y: number][] };
}

/** A tensor of a checkpoint. */
export interface TensorView {
  /** Its name. */
  name: string;
  /** Its shape. */
  shape: number[];
  /** How it is stored. */
  storage: string;
  /** Bytes in the file. */
  bytes: number;
}

/** A checkpoint, as far as its headers tell. */
export interface ModelView {
  /** Its container and dialect. */
  kind: string;
  /** The tensors. */
  tensors: TensorView[];
  /** Bytes of the tensors. */
  bytes: number;
  /** Numbers in the tensors. */
  parameters: number;
  /** The architecture, if lowbit knows it. */
  architecture?: string;
  /** Why it cannot be quantised as a model, if it cannot. */
  problem?: string;
  /** Whether texts can be tokenised. */
  tokenizer: boolean;
}

/** The plan of a recipe, for the table of sizes. */
export interface PlanView {
  /** The recipe. */
  recipe: string;
  /** What it does. */
  summary: string;
  /** Bytes of tensors in the output. */
  bytes: number;
  /** Bits a weight over all parameters. */
  bits: number;
  /** Whether it calibrates. */
  calibrated: boolean;
  /** Why it cannot be done. */
  conflict?: string;
}

/** A quantised model. */
export interface ResultView {
  /** The recipe. */
  recipe: string;
  /** The target. */
  to: string;
  /** The files. */
  files: { name: string; blob: Blob }[];
  /** Bytes of all files. */
  bytes: number;
  /** Bits a weight. */
  bits: number;
  /** Seconds that it took. */
  seconds: number;
  /** What is worth knowing. */
  warnings: string[];
}

/** Work in progress. */
export interface Progress {
  /** What is being done. */
  stage: string;
  /** How much of it is done. */
  done: number;
  /** How much there is. */
  total: number;
}

/** A piece of text of one of two models. */
export interface Piece {
  /** Whose text it is. */
  of: "original" | "quantised";
  /** The text. */
  text: string;
  /** Tokens so far. */
  tokens: number;
  /** Seconds since the first token. */
  seconds: number;
}

/** Every call: what it is given, what it answers, and what it may say before. */
export interface Calls {
  /** Loads the kernels; `base` is the address of the page. */
  start: { args: { threads: number; base: string }; result: { threads: number }; event: never };
  /** Reads a format and tries it. */
  examine: { args: Trial; result: FormatView; event: never };
  /** Opens the shipped model, or files. */
  open: { args: { files: readonly File[] | "embedded" }; result: ModelView; event: never };
  /** Values of a tensor: whole rows, not too many. */
  sample: { args: { tensor: string }; result: Float32Array; event: never };
  /** Plans presets for a target. */
  plans: { args: { to: string }; result: PlanView[]; event: PlanView };
  /** Quantises; a recipe is a preset's name or YAML. */
  quantize: { args: { recipe: string; to: string }; result: ResultView; event: Progress };
  /** Takes a quantised model that was made before. */
  reopen: { args: { files: { name: string; blob: Blob }[] }; result: null; event: never };
  /**
   * The figures of the last result beside the original, on windows of so many tokens; of the original
   * if there is no result. With the name of a plugin it has that key/value cache.
   */
  evaluate: {
    args: { windows: number; length: number; cache?: string };
    result: { perplexity: number; original: number; kl: number; top1: number; tokens: number };
    event: Progress;
  };
  /** Continues a text with the original and the last result. */
  generate: {
    args: { prompt: string; tokens: number; temperature: number; seed: number };
    result: null;
    event: Piece | Progress;
  };
  /** Bytes that the kernels hold, and the most that they held. */
  memory: {
    args: Record<never, never>;
    result: { bytes: number; peak: number };
    event: never;
  };
  /** Ends a running `generate`. */
  stop: { args: Record<never, never>; result: null; event: never };
}

/** A message to the worker. */
export interface Request<K extends keyof Calls = keyof Calls> {
  /** Its number. */
  id: number;
  /** The call. */
  call: K;
  /** Its arguments. */
  args: Calls[K]["args"];
}

/** A message from the worker. */
export type Answer =
  | { id: number; event: unknown }
  | { id: number; result: unknown }
  | { id: number; fault: Fault };
