/**
 * Targets: how quantised models are written, in which container and dialect.
 *
 * The engine asks a target first what it can hold (from shapes and schemes alone), plans the whole
 * output, and then streams one tensor after the other in the planned order.
 *
 * @module
 */

import type { Checkpoint, GgufValue, Naming, Output, PlainType } from "./checkpoint.ts";
import type { QuantizedTensor, ResolvedScheme, SideKind, VectorTensor } from "./tensor.ts";
import type { OnlineTransform } from "./transform.ts";
import type { VectorFormat } from "./vector_format.ts";

/** One tensor of a planned output. */
export interface PlannedTensor {
  /** Its name in the naming of the target. */
  name: string;
  /** The shape, row-major. */
  shape: number[];
  /**
   * Where the target stacks several matrices in one tensor of this name, which of them it is. They
   * are written one after the other.
   */
  part?: { index: number; count: number };
  /** How it is stored: plainly, by a scheme, or in a vector format. */
  storage:
    | { kind: "plain"; type: PlainType }
    | { kind: "coded"; scheme: ResolvedScheme }
    | { kind: "vector"; format: VectorFormat };
  /** The scheme of the inputs of this linear, for dialects that can say it. */
  activation?: ResolvedScheme;
  /** Whether its columns are in an order of their own, so that a group is no run of columns. */
  ordered?: boolean;
  /** Whether it is the weight of a linear (and not an embedding or a norm). */
  linear: boolean;
}

/** How a target would store a tensor, or why it cannot. */
export type Fit =
  | { ok: true; layout?: string; bytes: number }
  | { ok: false; problem: string; advice: string };

/** What a target is given before the first tensor. */
export interface TargetArguments {
  /** Where the files go. */
  output: Output;
  /** The checkpoint that the model came from, for settings and tokenizer. */
  source: Checkpoint;
  /** Settings in the naming of Hugging Face: the contents of config.json. */
  config: Record<string, unknown>;
  /** The tokenizer's files, by name (tokenizer.json, tokenizer_config.json, ...). */
  sidecars: ReadonlyMap<string, string>;
  /** For GGUF: metadata of architecture and tokenizer. */
  gguf?: ReadonlyMap<string, GgufValue>;
  /** Every tensor, in the order in which they will be written. */
  tensors: readonly PlannedTensor[];
  /** What the blocks do beyond the architecture; only where the target has `transforms`. */
  transforms?: readonly OnlineTransform[];
  /** The version of lowbit, and the name of the recipe. */
  provenance: { lowbit: string; recipe: string };
}

/** Writes the planned tensors, in order. */
export interface TargetWriter {
  /** Writes a plain tensor: its bytes, little-endian. */
  plain(name: string, bytes: Uint8Array): Promise<void>;
  /** Writes a quantised tensor. */
  coded(name: string, tensor: QuantizedTensor): Promise<void>;
  /** Writes a tensor in a vector format; absent where none fits the target. */
  vector?(name: string, tensor: VectorTensor): Promise<void>;
  /** Writes what comes last and closes the files. The output is not yet committed. */
  finish(): Promise<void>;
}

/** A container and dialect to write. */
export interface Target {
  /** What `--to` calls it. */
  readonly id: string;
  /** One line: who reads it. */
  readonly summary: string;
  /** The naming of its tensors. */
  readonly naming: Naming;
  /** Whether the output is a directory or one file. */
  readonly output: "directory" | "file";
  /** Whether it can say what blocks do beyond their architecture. */
  readonly transforms?: boolean;
  /** The side tensors that it has a place for; none if absent. */
  readonly sides?: readonly SideKind[];
  /** How it would store a tensor. */
  fit(tensor: PlannedTensor): Fit;
  /** Conflicts between tensors that are each fine on their own. */
  conflicts(tensors: readonly PlannedTensor[]): { problem: string; advice: string }[];
  /** Starts writing. */
  create(args: TargetArguments): Promise<TargetWriter>;
}
