/**
 * Writing the side tensors of the dialect "lowbit" into a file of their own, whose header is known
 * last: how many entries a side tensor has comes out of the quantisation itself.
 *
 * @module
 */

import {
  type FileSink,
  LowbitError,
  type SideTensor,
  type TargetArguments,
} from "../../spec/mod.ts";
import { encodePlain, encodeUint32 } from "../containers/plain.ts";
import { type SafetensorsEntry, safetensorsHeader } from "../containers/safetensors.ts";
import { SIDE_FILE } from "./lowbit_metadata.ts";

const METADATA = new Map([["format", "pt"], ["lowbit_side", "1"]]);

/** Appends side tensors; the file is only made if there is one. */
export class SideWriter {
  #sink: FileSink | undefined;
  readonly #entries: SafetensorsEntry[] = [];
  #reserved = 0;

  /** Writes into the output of these arguments. */
  constructor(private readonly args: TargetArguments) {}

  /** Whether a side tensor was written. */
  get used(): boolean {
    return this.#sink !== undefined;
  }

  /** Appends one side tensor of the weight `name` `[rows, columns]`. Error: `SHAPE`. */
  async write(name: string, side: SideTensor, shape: [number, number]): Promise<void> {
    const sink = this.#sink ??= await this.#start();
    const entries = side.kind === "sparse"
      ? sparseEntries(name, side.values.length)
      : lowRankEntries(name, shape, side.rank);
    if (this.#entries.some((entry) => entry.name === entries[0].name)) {
      throw new LowbitError("FORMAT", `has two side tensors of kind ${side.kind}`, { field: name });
    }
    const data = side.kind === "sparse"
      ? [encodeUint32(side.rows), encodeUint32(side.columns), encodePlain("float32", side.values)]
      : [encodePlain("float32", side.left), encodePlain("float32", side.right)];
    for (const [i, entry] of entries.entries()) {
      const bytes = 4 * entry.shape.reduce((product, n) => product * n, 1);
      if (data[i].length !== bytes) {
        throw new LowbitError("SHAPE", `has ${data[i].length} bytes, expected ${bytes}`, {
          field: entry.name,
        });
      }
      await sink.write(data[i]);
      this.#entries.push(entry);
    }
  }

  /** Puts the header into the room kept for it, and closes the file. */
  async finish(): Promise<void> {
    if (!this.#sink) return;
    const header = safetensorsHeader(this.#entries, METADATA);
    const padded = new Uint8Array(this.#reserved).fill(0x20);
    padded.set(header);
    new DataView(padded.buffer).setBigUint64(0, BigInt(this.#reserved - 8), true);
    await this.#sink.patch(0, padded);
    await this.#sink.close();
  }

  /** Starts the file with room for the largest header that the plan allows. */
  async #start(): Promise<FileSink> {
    // The largest numbers that can occur: each entry less than 2^40 elements.
    const large = 2 ** 40;
    const all = this.args.tensors.filter((tensor) => tensor.storage.kind !== "plain")
      .flatMap(({ name, shape }) => [
        ...sparseEntries(name, large),
        ...lowRankEntries(name, [shape[0], shape[1]], 2 ** 20),
      ]);
    this.#reserved = safetensorsHeader(all, METADATA).length;
    const sink = await this.args.output.file(SIDE_FILE);
    await sink.write(new Uint8Array(this.#reserved));
    return sink;
  }
}

function sparseEntries(name: string, count: number): SafetensorsEntry[] {
  return [
    { name: `${name}.sparse.rows`, type: "uint32", shape: [count] },
    { name: `${name}.sparse.columns`, type: "uint32", shape: [count] },
    { name: `${name}.sparse.values`, type: "float32", shape: [count] },
  ];
}

function lowRankEntries(name: string, shape: [number, number], rank: number): SafetensorsEntry[] {
  return [
    { name: `${name}.low_rank.left`, type: "float32", shape: [shape[0], rank] },
    { name: `${name}.low_rank.right`, type: "float32", shape: [rank, shape[1]] },
  ];
}
