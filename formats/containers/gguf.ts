/**
 * The GGUF container, versions 2 and 3: reading headers strictly.
 *
 * A file is: `GGUF`, the version, the number of tensors and of metadata, the metadata, the tensor
 * infos, and the data, aligned. Everything is little-endian.
 *
 * @module
 */

import type { ByteSource, GgufValue } from "../../spec/checkpoint.ts";
import { LowbitError } from "../../spec/errors.ts";
import {
  DEFAULT_ALIGNMENT,
  GGML_TYPES,
  type GgufTensor,
  VALUE_BYTES,
  VALUE_TYPES,
} from "./gguf_types.ts";

/** Limits of the reader; larger than any file that exists, small enough to fail early. */
export const GGUF_LIMITS = {
  /** Bytes of metadata and tensor infos. */
  header: 512 * 2 ** 20,
  /** Bytes of a key or of the name of a tensor. */
  name: 65_535,
  /** Nesting of arrays. */
  depth: 4,
  /** Dimensions of a tensor; ggml's own limit. */
  dimensions: 4,
} as const;

/** What a GGUF header says. */
export interface GgufHeader {
  /** The version of the container. */
  version: number;
  /** The metadata, in file order. */
  metadata: ReadonlyMap<string, GgufValue>;
  /** The tensors, in the order of their infos. */
  tensors: readonly GgufTensor[];
}

/**
 * Reads and checks the header of a GGUF file.
 *
 * Errors name the file and the key or tensor: `TRUNCATED`, `LIMIT`, `MALFORMED`, `UNSUPPORTED`.
 *
 * @example
 * ```ts
 * import { readGguf } from "./gguf.ts";
 * import { writeGguf } from "./gguf_writer.ts";
 * import { memoryOutput } from "./output.ts";
 * import { memorySource } from "./source.ts";
 *
 * const output = memoryOutput();
 * const metadata = new Map([["general.name", { type: "string" as const, value: "tiny" }]]);
 * const tensors = [{ name: "x", shape: [2, 4], type: "F16" }];
 * const writer = await writeGguf(await output.file("tiny.gguf"), metadata, tensors);
 * await writer.write("x", new Uint8Array(16));
 * await writer.finish();
 * await output.commit();
 * const header = await readGguf(memorySource("tiny.gguf", output.files.get("tiny.gguf")!));
 * header.metadata.get("general.name")?.value; // "tiny"
 * ```
 */
export async function readGguf(source: ByteSource): Promise<GgufHeader> {
  try {
    return await read(new Cursor(source), source.size);
  } catch (error) {
    throw error instanceof LowbitError ? error.in(source.name) : error;
  }
}

async function read(cursor: Cursor, size: number): Promise<GgufHeader> {
  const magic = await cursor.number("uint32");
  if (magic !== 0x46554747) throw new LowbitError("MALFORMED", "does not start with GGUF");
  const version = await cursor.number("uint32") as number;
  if (version !== 2 && version !== 3) {
    const bigEndian = version === 0x02000000 || version === 0x03000000;
    throw new LowbitError(
      "UNSUPPORTED",
      bigEndian ? "is a big-endian GGUF file" : `is of GGUF version ${version}`,
      { advice: "convert it to little-endian GGUF version 3" },
    );
  }
  const tensorCount = await cursor.count("tensors", 24);
  const valueCount = await cursor.count("metadata", 13);
  const metadata = new Map<string, GgufValue>();
  for (let i = 0; i < valueCount; i++) {
    const key = await cursor.string(GGUF_LIMITS.name, `key ${i}`);
    if (metadata.has(key)) throw new LowbitError("MALFORMED", "occurs twice", { field: key });
    const type = await cursor.valueType(key);
    metadata.set(key, await cursor.value(type, key, 0));
  }
  const infos: Info[] = [];
  for (let i = 0; i < tensorCount; i++) infos.push(await info(cursor, i));
  const alignment = readAlignment(metadata);
  const start = Math.ceil(cursor.at / alignment) * alignment;
  return { version, metadata, tensors: place(infos, start, alignment, size) };
}

interface Info {
  name: string;
  shape: number[];
  typeId: number;
  offset: number;
}

async function info(cursor: Cursor, index: number): Promise<Info> {
  const name = await cursor.string(GGUF_LIMITS.name, `tensor ${index}`);
  const dimensions = await cursor.number("uint32") as number;
  if (dimensions > GGUF_LIMITS.dimensions) {
    throw new LowbitError(
      "LIMIT",
      `has ${dimensions} dimensions, more than ${GGUF_LIMITS.dimensions}`,
      { field: name },
    );
  }
  const shape: number[] = [];
  for (let i = 0; i < dimensions; i++) shape.unshift(await cursor.size(name, "dimension"));
  const typeId = await cursor.number("uint32") as number;
  return { name, shape, typeId, offset: await cursor.size(name, "offset") };
}

/** The alignment that the metadata state: a power of two from 8 to 65536. */
export function readAlignment(metadata: ReadonlyMap<string, GgufValue>): number {
  const stated = metadata.get("general.alignment");
  if (!stated) return DEFAULT_ALIGNMENT;
  const value = stated.value;
  const fine = stated.type === "uint32" && typeof value === "number" && value >= 8 &&
    value <= 65536 && Number.isInteger(Math.log2(value));
  if (!fine) {
    throw new LowbitError("MALFORMED", "must be a uint32 power of two from 8 to 65536", {
      field: "general.alignment",
    });
  }
  return value;
}

/** Holds the infos against types, alignment, each other and the size of the file. */
function place(infos: Info[], start: number, alignment: number, size: number): GgufTensor[] {
  const names = new Set<string>();
  const tensors = infos.map(({ name, shape, typeId, offset }): GgufTensor => {
    const fail = (code: "MALFORMED" | "UNSUPPORTED" | "TRUNCATED" | "LIMIT", problem: string) =>
      new LowbitError(code, problem, { field: name });
    if (names.has(name)) throw fail("MALFORMED", "the tensor occurs twice");
    names.add(name);
    const type = GGML_TYPES.get(typeId);
    if (!type) throw fail("UNSUPPORTED", `has the unknown ggml type ${typeId}`);
    const columns = shape[shape.length - 1] ?? 1;
    if (columns % type.block !== 0) {
      throw fail("MALFORMED", `its rows of ${columns} are not whole ${type.name} blocks`);
    }
    let bytes = type.bytes / type.block;
    for (const dimension of shape) {
      bytes *= dimension;
      if (bytes > Number.MAX_SAFE_INTEGER) throw fail("LIMIT", `its shape [${shape}] is too large`);
    }
    bytes = Math.round(bytes);
    if (offset % alignment !== 0) {
      throw fail("MALFORMED", `its offset ${offset} is not a multiple of ${alignment}`);
    }
    if (start + offset + bytes > size) {
      throw new LowbitError(
        "TRUNCATED",
        `its data ends at byte ${start + offset + bytes}, but the file has ${size}`,
        { field: name, advice: "copy or download the file again" },
      );
    }
    return { name, shape, type, offset: start + offset, bytes };
  });
  const sorted = [...tensors].sort((a, b) => a.offset - b.offset || a.bytes - b.bytes);
  for (let i = 1; i < sorted.length; i++) {
    if (sorted[i - 1].offset + sorted[i - 1].bytes > sorted[i].offset) {
      throw new LowbitError("MALFORMED", `its data overlaps ${sorted[i - 1].name}`, {
        field: sorted[i].name,
      });
    }
  }
  return tensors;
}

const CHUNK = 1 << 20;
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Reads a header front to back, in chunks; knows how much of the file is left. */
class Cursor {
  /** The next byte. */
  at = 0;
  #chunk = new Uint8Array(0);
  #chunkAt = 0;

  constructor(private readonly source: ByteSource) {}

  /** The next `length` bytes, valid until the next call. */
  async bytes(length: number, field?: string): Promise<Uint8Array> {
    if (length > this.source.size - this.at) {
      throw new LowbitError("TRUNCATED", `the header goes on after byte ${this.source.size}`, {
        field,
        advice: "copy or download the file again",
      });
    }
    if (this.at + length > GGUF_LIMITS.header) {
      throw new LowbitError("LIMIT", `the header is longer than ${GGUF_LIMITS.header} bytes`, {
        field,
      });
    }
    const inside = this.at - this.#chunkAt;
    if (inside + length > this.#chunk.length) {
      const wanted = Math.min(Math.max(length, CHUNK), this.source.size - this.at);
      this.#chunk = await this.source.read(this.at, wanted);
      this.#chunkAt = this.at;
    }
    const begin = this.at - this.#chunkAt;
    this.at += length;
    return this.#chunk.subarray(begin, begin + length);
  }

  /** One number or boolean. */
  async number(type: GgufValue["type"], field?: string): Promise<number | bigint | boolean> {
    const bytes = await this.bytes(VALUE_BYTES[type], field);
    return scalar(type, new DataView(bytes.buffer, bytes.byteOffset, bytes.length), 0, field);
  }

  /** A u64 that must be a safe integer. */
  async size(field: string, what: string): Promise<number> {
    const value = await this.number("uint64", field) as bigint;
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) {
      throw new LowbitError("LIMIT", `its ${what} ${value} is too large`, { field });
    }
    return Number(value);
  }

  /** A count of things of at least `smallest` bytes each, held against the rest of the file. */
  async count(what: string, smallest: number): Promise<number> {
    const value = await this.number("uint64", what) as bigint;
    if (value * BigInt(smallest) > BigInt(this.source.size - this.at)) {
      throw new LowbitError(
        "TRUNCATED",
        `declares ${value} ${what}, more than its ${this.source.size} bytes can hold`,
      );
    }
    return Number(value);
  }

  async string(limit: number, field: string): Promise<string> {
    const length = await this.number("uint64", field) as bigint;
    if (length > BigInt(this.source.size - this.at)) {
      throw new LowbitError("TRUNCATED", `declares ${length} bytes of text`, { field });
    }
    if (length > BigInt(limit)) {
      throw new LowbitError("LIMIT", `has ${length} bytes, more than ${limit}`, { field });
    }
    try {
      return decoder.decode(await this.bytes(Number(length), field));
    } catch (cause) {
      if (cause instanceof LowbitError) throw cause;
      throw new LowbitError("MALFORMED", "is not valid UTF-8", { field, cause });
    }
  }

  async valueType(field: string): Promise<GgufValue["type"]> {
    const id = await this.number("uint32", field) as number;
    const type = VALUE_TYPES[id];
    if (!type) throw new LowbitError("MALFORMED", `has the unknown value type ${id}`, { field });
    return type;
  }

  async value(type: GgufValue["type"], field: string, depth: number): Promise<GgufValue> {
    if (type === "string") return { type, value: await this.string(GGUF_LIMITS.header, field) };
    if (type !== "array") return { type, value: await this.number(type, field) };
    if (depth >= GGUF_LIMITS.depth) {
      throw new LowbitError("LIMIT", `nests arrays deeper than ${GGUF_LIMITS.depth}`, { field });
    }
    const items = await this.valueType(field);
    // A string has at least its length, an array at least its type and length.
    const smallest = VALUE_BYTES[items] || (items === "string" ? 8 : 12);
    const count = await this.number("uint64", field) as bigint;
    if (count * BigInt(smallest) > BigInt(this.source.size - this.at)) {
      throw new LowbitError("TRUNCATED", `declares ${count} items, more than the file can hold`, {
        field,
      });
    }
    const values: unknown[] = [];
    for (let i = 0; i < Number(count);) {
      if (items === "string") values.push(await this.string(GGUF_LIMITS.header, field));
      else if (items === "array") values.push(await this.value(items, field, depth + 1));
      else {
        const run = Math.min(Number(count) - i, CHUNK / 8);
        const bytes = await this.bytes(run * smallest, field);
        const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
        for (let j = 0; j < run; j++) values.push(scalar(items, view, j * smallest, field));
        i += run;
        continue;
      }
      i++;
    }
    return { type, items, value: values };
  }
}

function scalar(type: GgufValue["type"], view: DataView, at: number, field?: string) {
  switch (type) {
    case "uint8":
      return view.getUint8(at);
    case "int8":
      return view.getInt8(at);
    case "uint16":
      return view.getUint16(at, true);
    case "int16":
      return view.getInt16(at, true);
    case "uint32":
      return view.getUint32(at, true);
    case "int32":
      return view.getInt32(at, true);
    case "float32":
      return view.getFloat32(at, true);
    case "float64":
      return view.getFloat64(at, true);
    case "uint64":
      return view.getBigUint64(at, true);
    case "int64":
      return view.getBigInt64(at, true);
    default: {
      const value = view.getUint8(at);
      if (value > 1) throw new LowbitError("MALFORMED", `has the boolean ${value}`, { field });
      return value === 1;
    }
  }
}
