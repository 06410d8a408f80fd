/**
 * Checkpoints: bytes somewhere, the tensors in them, and where new ones are written.
 *
 * @module
 */

import type { Layout } from "./layout.ts";
import type { QuantizedTensor, ResolvedScheme, VectorTensor } from "./tensor.ts";
import type { OnlineTransform } from "./transform.ts";
import type { VectorFormat } from "./vector_format.ts";

/** Random access to the bytes of a file, a blob or a URL. */
export interface ByteSource {
  /** What it is called in errors; not necessarily a path. */
  readonly name: string;
  /** Its size in bytes. */
  readonly size: number;
  /** Exactly `length` bytes from `offset`; a {@linkcode LowbitError} `TRUNCATED` if there are fewer. */
  read(offset: number, length: number): Promise<Uint8Array<ArrayBuffer>>;
  /** Closes the file. */
  close(): void;
}

/** Number formats that a tensor can have without scales, by their ids or container names. */
export type PlainType =
  | "float64"
  | "float32"
  | "float16"
  | "bfloat16"
  | "int64"
  | "int32"
  | "int16"
  | "int8"
  | "uint64"
  | "uint32"
  | "uint16"
  | "uint8"
  | "bool"
  | "float8_e4m3fn"
  | "float8_e4m3fnuz"
  | "float8_e5m2"
  | "float8_e5m2fnuz"
  | "float8_e8m0fnu"
  | "float6_e2m3fn"
  | "float6_e3m2fn"
  | "float4_e2m1fn";

/**
 * Bytes of one element of a plain type. Below a byte, elements are a stream of bits, low first:
 * two or four of them fill bytes.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { PLAIN_BYTES } from "./checkpoint.ts";
 * const [rows, columns] = [2048, 256];
 * assertEquals(rows * columns * PLAIN_BYTES.bfloat16, 2 ** 20);
 * ```
 */
export const PLAIN_BYTES: Readonly<Record<PlainType, number>> = {
  float64: 8,
  float32: 4,
  float16: 2,
  bfloat16: 2,
  int64: 8,
  int32: 4,
  int16: 2,
  int8: 1,
  uint64: 8,
  uint32: 4,
  uint16: 2,
  uint8: 1,
  bool: 1,
  float8_e4m3fn: 1,
  float8_e4m3fnuz: 1,
  float8_e5m2: 1,
  float8_e5m2fnuz: 1,
  float8_e8m0fnu: 1,
  float6_e2m3fn: 0.75,
  float6_e3m2fn: 0.75,
  float4_e2m1fn: 0.5,
};

/**
 * How a tensor is stored: plainly, as codes with parameters, in a vector format, or (`foreign`) in
 * a type of the container that has no code for each element, such as `IQ2_XXS`: its values can be
 * read.
 */
export type TensorStorage =
  | { kind: "plain"; type: PlainType }
  | { kind: "coded"; scheme: ResolvedScheme; layout: Layout }
  | { kind: "vector"; format: VectorFormat }
  | { kind: "foreign"; type: string };

/**
 * What a storage is called: the id of its scheme or format, or its type.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { storageLabel } from "./checkpoint.ts";
 * assertEquals(storageLabel({ kind: "plain", type: "float16" }), "float16");
 * ```
 */
export function storageLabel(
  storage:
    | { kind: "plain" | "foreign"; type: string }
    | { kind: "coded"; scheme: { id: string } }
    | { kind: "vector"; format: { id: string } },
): string {
  if (storage.kind === "coded") return storage.scheme.id;
  return storage.kind === "vector" ? storage.format.id : storage.type;
}

/** One logical tensor of a checkpoint; nothing is read before it is asked for. */
export interface StoredTensor {
  /** The name in the checkpoint, of the tensor as the model knows it. */
  readonly name: string;
  /** The shape, row-major, slowest dimension first. */
  readonly shape: readonly number[];
  /** How it is stored. */
  readonly storage: TensorStorage;
  /** Bytes in the file, parameters included. */
  readonly bytes: number;
  /** The values as f32, exactly; of rows `start` to `end` of the first dimension, if given. */
  read(rows?: { start: number; end: number }): Promise<Float32Array>;
  /** The stored bytes of a plain tensor, or of a coded one whose parameters lie in its blocks. */
  raw(): Promise<Uint8Array>;
  /** Bytes of a plain tensor whose elements lie in order, from a byte on. */
  bytesAt?(start: number, length: number): Promise<Uint8Array>;
  /** Values of such a tensor, from an element on. */
  decodeAt?(start: number, count: number): Promise<Float32Array>;
  /** Codes and parameters; only for coded tensors. Of rows of the matrix, if given. */
  quantized(rows?: { start: number; end: number }): Promise<QuantizedTensor>;
  /** Codes, tables and scales; only for tensors in a vector format. */
  vector?(): Promise<VectorTensor>;
}

/** How tensors and settings are named: as in `transformers`, or as in GGUF. */
export type Naming = "huggingface" | "gguf";

/** The files of a tokenizer, as in a Hugging Face directory. */
export interface TokenizerFiles {
  /** The parsed tokenizer.json. */
  tokenizer: Record<string, unknown>;
  /** The parsed tokenizer_config.json. */
  config: Record<string, unknown>;
}

/** A metadata value of a GGUF file, with its type. */
export interface GgufValue {
  /** The type. */
  type:
    | "uint8"
    | "int8"
    | "uint16"
    | "int16"
    | "uint32"
    | "int32"
    | "float32"
    | "bool"
    | "string"
    | "uint64"
    | "int64"
    | "float64"
    | "array";
  /** For arrays: the type of the items. */
  items?: GgufValue["type"];
  /** The value: number, bigint for 64 bits, boolean, string, or an array of them. */
  value: unknown;
}

/** An opened checkpoint. */
export interface Checkpoint {
  /** What the user called it. */
  readonly name: string;
  /** The container and dialect, for people: "safetensors", "gguf", "lowbit", "compressed-tensors". */
  readonly kind: string;
  /** The naming of tensors and settings. */
  readonly naming: Naming;
  /** config.json, or the metadata of a GGUF file (without its large arrays). */
  readonly config: Readonly<Record<string, unknown>>;
  /** The tensors by name, in file order. */
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  /** The files that it is made of, for hashing: name and source. */
  readonly files: readonly ByteSource[];
  /** Small text files to copy into a converted directory (tokenizer.json, ...), by name. */
  readonly sidecars: ReadonlyMap<string, string>;
  /** The whole metadata of a GGUF file, arrays included; undefined for other containers. */
  readonly gguf?: ReadonlyMap<string, GgufValue>;
  /** The pieces of a SentencePiece model, as GGUF metadata, where nothing else is a tokenizer. */
  readonly pieces?: ReadonlyMap<string, GgufValue>;
  /** The schemes of the inputs of linears, by the names of their weights. */
  readonly activations?: ReadonlyMap<string, ResolvedScheme>;
  /** What its blocks do beyond the architecture, in order. */
  readonly transforms?: readonly OnlineTransform[];
  /** Closes the files. */
  close(): void;
}

/** A file being written; it gets its name when the whole output is complete. */
export interface FileSink {
  /** Appends bytes. */
  write(bytes: Uint8Array): Promise<void>;
  /** Overwrites bytes written before, for headers that are known late. */
  patch(offset: number, bytes: Uint8Array): Promise<void>;
  /** Bytes appended so far. */
  readonly size: number;
  /** Flushes and closes. */
  close(): Promise<void>;
}

/** An output that appears as a whole, by rename, or not at all. */
export interface Output {
  /** What the user called it. */
  readonly name: string;
  /** Starts a file of the output. */
  file(name: string): Promise<FileSink>;
  /** The files so far, closed by now, to be read back before `commit`; the caller closes them. */
  written(): Promise<ByteSource[]>;
  /** Puts everything under its final name. */
  commit(): Promise<void>;
  /** Removes everything. Does nothing after `commit`. */
  abort(): Promise<void>;
}
