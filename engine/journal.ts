/**
 * The journal of a run: what was written for each finished block, and the activations behind it, so
 * that the next run goes on there and ends with the same bytes.
 *
 * A block counts when its line is in `journal.ndjson`, which is written after everything that the
 * line speaks of is on the disk. What comes behind the last whole line is forgotten.
 *
 * @module
 */

import {
  type CodedTensor,
  isVector,
  type PlannedTensor,
  type TargetWriter,
  type TensorReport,
  type WorkFile,
  type WorkFolder,
} from "../spec/mod.ts";
import type { SeenSquares } from "./importance.ts";
import { decodeRecord, encodeRecord } from "./records.ts";

const LINES = "journal.ndjson";
const NEWLINE = 10;

/** What a block has given. */
export interface BlockEntry {
  /** The index of the block. */
  block: number;
  /** Its tensors in the output. */
  reports: TensorReport[];
  /** What was warned of while it was made. */
  warnings: string[];
  /** The mean squares that were collected of its inputs. */
  importance?: SeenSquares;
  /** Bytes of each record of `block-N.bin`. */
  records: number[];
  /** Bytes of the activations behind it, if there are any. */
  activations: number;
}

/** A call of the writer. */
type Call = { name: string; bytes: Uint8Array } | { name: string; tensor: Partial<CodedTensor> };

/** Finished blocks on disk. */
export class Journal {
  /** The blocks that are done, in order. */
  readonly entries: BlockEntry[] = [];
  readonly #work: WorkFolder;
  readonly #lines: WorkFile;
  #file?: WorkFile;
  #records: number[] = [];

  /** Opens the journal of a run; one of another run (by `key`) is thrown away. */
  constructor(work: WorkFolder, key: string) {
    this.#work = work;
    this.#lines = work.open(LINES);
    const bytes = new Uint8Array(this.#lines.size);
    this.#lines.read(0, bytes);
    const end = this.#read(bytes, key);
    this.#lines.truncate(end);
    if (end === 0) this.#append({ journal: 1, key });
  }

  /** How many blocks are done. */
  get done(): number {
    return this.entries.length;
  }

  /** The file of the activations in front of a block. */
  activations(block: number): WorkFile {
    return this.#work.open(activationsName(block));
  }

  /** A writer that notes what goes through it. */
  recording(writer: TargetWriter): TargetWriter {
    const note = (call: Call) => {
      const file = this.#file;
      if (!file) return;
      const start = this.#records.reduce((a, b) => a + b, 0);
      let at = start;
      for (const piece of encodeRecord(call)) {
        file.write(at, piece);
        at += piece.length;
      }
      this.#records.push(at - start);
    };
    return {
      async plain(name, bytes) {
        note({ name, bytes });
        await writer.plain(name, bytes);
      },
      async coded(name, tensor) {
        note({ name, tensor: { ...tensor, scheme: undefined } });
        await writer.coded(name, tensor);
      },
      ...(writer.vector && {
        async vector(name, tensor) {
          note({ name, tensor: { ...tensor, format: undefined } });
          await writer.vector!(name, tensor);
        },
      }),
      finish: () => writer.finish(),
    };
  }

  /** Begins to note a block. */
  begin(block: number): void {
    const name = blockName(block);
    this.#work.remove(name);
    this.#file = this.#work.open(name);
    this.#records = [];
  }

  /** Ends a block: from here on it is done. `activations` are those behind it. */
  end(
    entry: Omit<BlockEntry, "records" | "activations">,
    activations?: { file: WorkFile; bytes: number },
  ): void {
    const file = this.#file!;
    file.sync();
    file.close();
    this.#file = undefined;
    activations?.file.sync();
    const done = { ...entry, records: this.#records, activations: activations?.bytes ?? 0 };
    this.#append(done);
    this.entries.push(done);
    this.#work.remove(activationsName(entry.block));
  }

  /** Hands what a finished block has written to a writer. */
  async replay(
    entry: BlockEntry,
    planned: ReadonlyMap<string, PlannedTensor>,
    writer: TargetWriter,
  ): Promise<void> {
    const file = this.#work.open(blockName(entry.block));
    try {
      let at = 0;
      for (const size of entry.records) {
        const bytes = new Uint8Array(size);
        file.read(at, bytes);
        at += size;
        const call = decodeRecord(bytes) as Call;
        if ("bytes" in call) await writer.plain(call.name, call.bytes);
        else {
          const tensor = withStorage(call.tensor, planned.get(call.name)!);
          if (isVector(tensor)) await writer.vector!(call.name, tensor);
          else await writer.coded(call.name, tensor);
        }
      }
    } finally {
      file.close();
    }
  }

  /** Takes the whole lines and returns where they end; 0 if the journal is of another run. */
  #read(bytes: Uint8Array, key: string): number {
    let end = 0;
    for (let stop; (stop = bytes.indexOf(NEWLINE, end)) >= 0; end = stop + 1) {
      const line = parse(new TextDecoder().decode(bytes.subarray(end, stop)));
      if (line === undefined) break;
      if (end === 0) {
        if ((line as { key?: string }).key !== key) return 0;
        continue;
      }
      const entry = line as unknown as BlockEntry;
      if (entry.block !== this.done || !this.#isThere(entry)) break;
      this.entries.push(entry);
    }
    // Only the activations behind the last block are kept, so that they decide what counts.
    const last = this.entries.at(-1);
    if (!last || this.#hasActivations(last)) return end;
    this.entries.length = 0;
    return 0;
  }

  #isThere({ block, records }: BlockEntry): boolean {
    return this.#size(blockName(block)) >= records.reduce((a, b) => a + b, 0);
  }

  #hasActivations({ block, activations }: BlockEntry): boolean {
    return activations === 0 || this.#size(activationsName(block + 1)) >= activations;
  }

  #size(name: string): number {
    if (!this.#work.has(name)) return -1;
    const file = this.#work.open(name);
    const { size } = file;
    file.close();
    return size;
  }

  #append(line: unknown): void {
    this.#lines.write(this.#lines.size, new TextEncoder().encode(JSON.stringify(line) + "\n"));
    this.#lines.sync();
  }
}

/** Whether a work folder holds a block that the next run need not make again. */
export function hasProgress(work: WorkFolder): boolean {
  if (!work.has(LINES)) return false;
  const lines = work.open(LINES);
  const bytes = new Uint8Array(lines.size);
  lines.read(0, bytes);
  lines.close();
  return bytes.filter((byte) => byte === NEWLINE).length > 1;
}

const blockName = (block: number) => `block-${block}.bin`;
const activationsName = (block: number) => `activations-${block}.bin`;

function parse(text: string): Record<string, unknown> | undefined {
  try {
    const value = JSON.parse(text);
    return typeof value === "object" && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}

/** A tensor with the scheme or the format that the plan has for it. */
function withStorage(tensor: Partial<CodedTensor>, { storage }: PlannedTensor): CodedTensor {
  if (storage.kind === "coded") return { ...tensor, scheme: storage.scheme } as CodedTensor;
  if (storage.kind === "vector") return { ...tensor, format: storage.format } as CodedTensor;
  return tensor as CodedTensor;
}
