/**
 * The rules of the linter, as data with a check; what they look at.
 *
 * @module
 */

import type { Checkpoint, LowbitError } from "../../spec/mod.ts";
import type { ModelGraph } from "../../models/architecture.ts";

/** How bad it is: an `error` breaks the model, a `warning` may, a `note` is worth knowing. */
export type Severity = "error" | "warning" | "note";

/** What a tensor of a file is for. */
export type Role = "weight" | "scales" | "words" | "zeros" | "other";

/** What one pass over the values of a tensor found. */
export interface Scan {
  /** Values, or words of 32 bits and bytes for codes. */
  count: number;
  /** Values that are NaN or infinite. */
  notFinite: number;
  /** The first of them. */
  firstNotFinite?: number;
  /** The smallest and largest finite value. */
  min: number;
  max: number;
  /** Whether all values, or all words, are the same. */
  constant: boolean;
}

/** A tensor as it lies in a file. */
export interface LintTensor {
  /** Its name. */
  name: string;
  /** Its type in the container. */
  type: string;
  /** Its shape. */
  shape: readonly number[];
  /** What it is for. */
  role: Role;
  /** The file. */
  file: string;
  /** What was found in its values. */
  scan: Scan;
}

/** A file that was looked at. */
export interface LintFile {
  /** Its name. */
  name: string;
  /** Its size. */
  bytes: number;
  /** Why its header could not be read. */
  error?: LowbitError;
}

/** Everything that rules look at. */
export interface LintInput {
  /** What the user called it. */
  path: string;
  /** config.json, or the metadata of a GGUF file. */
  config: Readonly<Record<string, unknown>>;
  /** Its `quantization_config`. */
  quantization: Readonly<Record<string, unknown>>;
  /** Files with weights. */
  files: readonly LintFile[];
  /** Which file each tensor is in, as the index says; undefined without an index. */
  index?: ReadonlyMap<string, string>;
  /** The tensors as they lie. */
  tensors: ReadonlyMap<string, LintTensor>;
  /** The checkpoint, if it opens. */
  checkpoint?: Checkpoint;
  /** Why it does not. */
  openError?: LowbitError;
  /** The model, if its architecture is known and complete. */
  model?: ModelGraph;
  /** Why it is not. */
  modelError?: LowbitError;
}

/** Something that a rule found. */
export interface Finding {
  /** The file, tensor or setting. */
  where: string;
  /** What is wrong. */
  problem: string;
}

/** A public report of what a rule finds. */
export interface PublicBug {
  /** What happened there, in a few words. */
  what: string;
  /** The link. */
  url: string;
}

/** A rule. */
export interface Rule {
  /** Its code, in kebab case. Codes are stable: they are added, never renamed. */
  code: string;
  /** How bad a finding is. */
  severity: Severity;
  /** One line: what it finds. */
  summary: string;
  /** What goes wrong, and what to do. */
  advice: string;
  /** The bugs that it was made for. */
  bugs: readonly PublicBug[];
  /** What it finds. */
  check(input: LintInput): Iterable<Finding>;
}
