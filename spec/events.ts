/**
 * Events, plans, receipts: what a run says while it works and when it is done.
 *
 * @module
 */

/** One line of `--events` (NDJSON), and what the progress bars are drawn from. */
export type RunEvent =
  | { event: "start"; command: string; model: string; recipe?: string }
  | { event: "progress"; stage: Stage; done: number; total: number; detail?: string }
  | { event: "resume"; blocks: number; total: number }
  | { event: "warning"; message: string; tensor?: string }
  | { event: "tensor"; report: TensorReport }
  | { event: "end"; seconds: number };

/** The stages of a run. */
export type Stage =
  | "load"
  | "calibrate"
  | "quantize"
  | "evaluate"
  | "compare"
  | "write"
  | "prove";

/** Takes the events of a run. */
export type EventSink = (event: RunEvent) => void;

/** What became of one tensor. */
export interface TensorReport {
  /** Its name in the output. */
  name: string;
  /** The shape. */
  shape: number[];
  /** The id of the scheme, or the plain type. */
  scheme: string;
  /** The id of the layout; absent for plain tensors. */
  layout?: string;
  /** The plugin that quantised it; absent for plain tensors. */
  plugin?: string;
  /** Bytes in the output, parameters included. */
  bytes: number;
  /** Bits an element, parameters included. */
  bits_per_weight: number;
  /** Calibration rows that it saw, where that is a part of them only, as for experts. */
  rows?: number;
  /** Error against the full-precision weight (after transforms); absent for plain tensors. */
  error?: {
    /** Mean squared error. */
    mse: number;
    /** Signal to quantisation noise, dB. */
    sqnr_db: number;
    /** Largest absolute error. */
    max: number;
  };
}

/** A file by name, size and hash. */
export interface FileHash {
  /** Its name, without folders. */
  name: string;
  /** Size in bytes. */
  bytes: number;
  /** SHA-256, hexadecimal. */
  sha256: string;
}

/** Where calibration windows are from and how they were drawn. */
export interface CalibrationSource {
  /** How the files hold documents; `shipped` for the text that comes along, `ids` for token ids. */
  kinds: ("text" | "jsonl" | "parquet" | "ids" | "shipped")[];
  /** The files. */
  files: FileHash[];
  /** How many documents were read. */
  documents?: number;
  /** Whether chats were written out by the model's template. */
  template?: true;
  /** How many windows. */
  samples: number;
  /** Tokens of a window; absent for ids, whose windows are given. */
  length?: number;
  /** The seed of windows drawn at random. */
  seed?: number;
}

/** What anyone needs to check a run, or to do it again. No times, no paths: same run, same bytes. */
export interface Receipt {
  /** Version of the receipt. */
  receipt: 1;
  /** Version of lowbit. */
  lowbit: string;
  /** The input. */
  model: { architecture: string; files: FileHash[] };
  /** The recipe as run, and the hash of its canonical JSON. */
  recipe: { name: string; sha256: string; document: unknown };
  /** The plugins of the pipeline. */
  plugins: { name: string; version: string; api: number }[];
  /** The seed. */
  seed: number;
  /** The calibration tokens. */
  calibration?: {
    windows: number;
    tokens: number;
    sha256: string;
    source?: CalibrationSource;
  };
  /** The importance matrix that was given: what it was collected on, and the hash of its values. */
  importance?: { datasets: string[]; sha256: string };
  /** Statistics that were given in place of those of the windows: tokens seen, and their hash. */
  statistics?: { tokens: number; sha256: string };
  /** The target and its kernels. */
  target: string;
  /** The kernel implementation. */
  kernels: string;
  /** Every tensor of the output. */
  tensors: TensorReport[];
  /** What was skipped, fell back, or is worth knowing. */
  warnings: string[];
  /** The output, without the receipt itself. */
  output: FileHash[];
}

/** What `--dry-run` prints. */
export interface Plan {
  /** The recipe. */
  recipe: string;
  /** The target. */
  target: string;
  /** Every tensor of the output, with the scheme and the bytes it will have. */
  tensors: Omit<TensorReport, "error">[];
  /** Bits a weight over all parameters. */
  bits_per_weight: number;
  /** Bytes of tensor data. */
  bytes: number;
  /** Estimate of the memory needed, bytes. */
  memory_bytes: number;
  /** Why it cannot be done; empty if it can. */
  conflicts: { code: string; where: string; problem: string; advice: string }[];
}
