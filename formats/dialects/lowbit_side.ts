/**
 * Writing the side tensors of the dialect "lowbit" into a file of their own, whose header is known
 * last: how many entries a side tensor has comes out of the quantisation itself.
 *
 * @module
 */

import {
  type FileSink,
  LowbitError,
  PLAIN_BYTES,
  type SideTensor,
  type SparsePart,
  type TargetArguments,
} from "../../spec/mod.ts";
import { decodePlain, encodePlain, encodeUint16, encodeUint32 } from "../containers/plain.ts";
import { type SafetensorsEntry, safetensorsHeader } from "../containers/safetensors.ts";
import {
  largestRotation,
  rotationArrays,
  rotationBytes,
  type StoredArray,
} from "./lowbit_rotation.ts";
import { SIDE_FILE } from "./lowbit_metadata.ts";

const METADATA = new Map([["format", "pt"], ["lowbit_side", "1"]]);

/** Appends side tensors; the file is only made if there is one. */
export class SideWriter {
  #sink: FileSink | undefined;
  readonly #entries: SafetensorsEntry[] = [];
  #reserved = 0;
  /** Whether a rotation was written. */
  rotations = false;

  /** Writes into the output of these arguments. */
  constructor(private readonly args: TargetArguments) {}

  /** Whether a side tensor was written. */
  get used(): boolean {
    return this.#sink !== undefined;
  }

  /** Appends one side tensor of the weight `name` `[rows, columns]`. Error: `SHAPE`. */
  async write(name: string, side: SideTensor, shape: [number, number]): Promise<void> {
    const sink = this.#sink ??= await this.#start();
    const arrays = sideArrays(name, side, shape);
    if (side.kind === "rotation") this.rotations = true;
    const entries = arrays.map(({ entry }) => entry);
    if (this.#entries.some((entry) => entry.name === entries[0].name)) {
      throw new LowbitError("FORMAT", `has two side tensors of kind ${side.kind}`, { field: name });
    }
    const data = arrays.map((array) => array.data);
    for (const [i, entry] of entries.entries()) {
      const bytes = PLAIN_BYTES[entry.type] * entry.shape.reduce((product, n) => product * n, 1);
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
        ...sparseEntries(name, large, WIDE),
        ...lowRankEntries(name, [shape[0], shape[1]], 2 ** 20),
        ...largestRotation(name),
      ]);
    this.#reserved = safetensorsHeader(all, METADATA).length;
    const sink = await this.args.output.file(SIDE_FILE);
    await sink.write(new Uint8Array(this.#reserved));
    return sink;
  }
}

/** The arrays that a side tensor is stored as. */
function sideArrays(name: string, side: SideTensor, shape: [number, number]): StoredArray[] {
  if (side.kind === "rotation") return rotationArrays(name, side);
  const together = (entries: SafetensorsEntry[], data: Uint8Array[]) =>
    entries.map((entry, i) => ({ entry, data: data[i] }));
  if (side.kind === "low_rank") {
    const { left, right, rank } = side;
    const data = [left, right].map((values) => encodePlain("float32", values));
    return together(lowRankEntries(name, shape, rank), data);
  }
  const types = sparseTypes(side, shape);
  return together(sparseEntries(name, side.values.length, types), sparseData(side, types));
}

/** The types of a sparse part: 16 bits wherever they lose nothing. */
interface SparseTypes {
  indices: "uint16" | "uint32";
  values: "float16" | "float32";
}

const WIDE: SparseTypes = { indices: "uint32", values: "float32" };

function sparseTypes({ values }: SparsePart, [rows, columns]: [number, number]): SparseTypes {
  const half = decodePlain("float16", encodePlain("float16", values));
  return {
    indices: Math.max(rows, columns) <= 65536 ? "uint16" : "uint32",
    values: half.every((value, i) => value === values[i]) ? "float16" : "float32",
  };
}

function sparseData(side: SparsePart, types: SparseTypes): Uint8Array[] {
  const encode = types.indices === "uint16" ? encodeUint16 : encodeUint32;
  return [encode(side.rows), encode(side.columns), encodePlain(types.values, side.values)];
}

function sparseEntries(name: string, count: number, types: SparseTypes): SafetensorsEntry[] {
  return [
    { name: `${name}.sparse.rows`, type: types.indices, shape: [count] },
    { name: `${name}.sparse.columns`, type: types.indices, shape: [count] },
    { name: `${name}.sparse.values`, type: types.values, shape: [count] },
  ];
}

/**
 * Bytes of a side tensor of a `[rows, columns]` weight, as it is stored.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { sideBytes } from "./lowbit_side.ts";
 * const [rows, columns] = [Uint32Array.of(1), Uint32Array.of(2)];
 * const half = { kind: "sparse" as const, rows, columns, values: Float32Array.of(0.5) };
 * assertEquals(sideBytes(half, [4, 4]), 6);
 * assertEquals(sideBytes({ ...half, values: Float32Array.of(0.1) }, [4, 4]), 8);
 * ```
 */
export function sideBytes(side: SideTensor, shape: [number, number]): number {
  if (side.kind === "rotation") return rotationBytes(side);
  if (side.kind === "low_rank") return 4 * (side.left.length + side.right.length);
  const { indices, values } = sparseTypes(side, shape);
  return side.values.length * (2 * PLAIN_BYTES[indices] + PLAIN_BYTES[values]);
}

function lowRankEntries(name: string, shape: [number, number], rank: number): SafetensorsEntry[] {
  return [
    { name: `${name}.low_rank.left`, type: "float32", shape: [shape[0], rank] },
    { name: `${name}.low_rank.right`, type: "float32", shape: [rank, shape[1]] },
  ];
}
