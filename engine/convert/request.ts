/**
 * What a conversion is asked for.
 *
 * @module
 */

import type { Checkpoint, ImportanceMatrix, Output } from "../../spec/mod.ts";

/** What `Workbench.convert` needs. */
export interface ConvertOptions {
  /** What is converted. */
  checkpoint: Checkpoint;
  /** The id of a target, and behind a colon a scheme or a plain type: `gguf:q8_0`. */
  to: string;
  /** Where it is written: a path, or an output; absent for a plan. */
  out?: string | Output;
  /** The importance of input channels, for what is quantised anew. */
  importance?: ImportanceMatrix;
  /** Whether values may change. */
  lossy?: boolean;
  /** Replaces what is already at `out`. */
  overwrite?: boolean;
  /** Stops the conversion; nothing is left at `out`. */
  signal?: AbortSignal;
}
