/**
 * Writing GGUF files (version 3) as a stream.
 *
 * @module
 */

import type { FileSink, GgufValue } from "../../spec/checkpoint.ts";
import { LowbitError } from "../../spec/errors.ts";
import { GGUF_LIMITS, readAlignment } from "./gguf.ts";
import { GGML_TYPES_BY_NAME, VALUE_BYTES, VALUE_TYPES } from "./gguf_types.ts";
import { elementCount } from "./stored.ts";

/** A tensor of a file to be written. */
export interface GgufEntry {
  /** Its name. */
  name: string;
  /** Its shape, row-major, slowest dimension first. */
  shape: readonly number[];
  /** The name of its ggml type: `F32`, `F16`, `BF16`, `Q8_0`, ... */
  type: string;
}

/** Writes the data of the entries of a file, in their order. */
export interface GgufWriter {
  /** Appends data of the tensor that is next; a tensor may come in several pieces. */
  write(name: string, bytes: Uint8Array): Promise<void>;
  /** Checks that every tensor was written, and closes the file. */
  finish(): Promise<void>;
}

/** Bytes of the data of an entry. Errors: `UNSUPPORTED` (unknown type), `SHAPE`. */
export function ggufBytes(entry: GgufEntry): number {
  const type = GGML_TYPES_BY_NAME.get(entry.type);
  if (!type) {
    throw new LowbitError("UNSUPPORTED", `has the unknown ggml type ${entry.type}`, {
      field: entry.name,
    });
  }
  const columns = entry.shape[entry.shape.length - 1] ?? 1;
  if (columns % type.block !== 0 || entry.shape.length > GGUF_LIMITS.dimensions) {
    throw new LowbitError("SHAPE", `[${entry.shape}] cannot be stored as ${type.name}`, {
      field: entry.name,
    });
  }
  return elementCount(entry.shape) / type.block * type.bytes;
}

/**
 * Starts a GGUF file whose metadata and tensors are all known; the data follow in the same order.
 * Writing out of order, too much or too little is a `SHAPE` error.
 */
export async function writeGguf(
  sink: FileSink,
  metadata: ReadonlyMap<string, GgufValue>,
  entries: readonly GgufEntry[],
): Promise<GgufWriter> {
  const alignment = readAlignment(metadata);
  const sizes = entries.map(ggufBytes);
  await sink.write(header(metadata, entries, sizes, alignment));
  const pad = async () => {
    const rest = (alignment - sink.size % alignment) % alignment;
    if (rest > 0) await sink.write(new Uint8Array(rest));
  };
  await pad();
  let index = 0;
  let done = 0;
  const next = async () => {
    while (index < entries.length && done === sizes[index]) {
      await pad();
      [index, done] = [index + 1, 0];
    }
  };
  await next();
  return {
    async write(name, bytes) {
      if (bytes.length === 0) return;
      const entry = entries[index];
      if (entry?.name !== name) {
        const expected = entry ? `${JSON.stringify(entry.name)} is next` : "all are written";
        throw new LowbitError("SHAPE", `was written out of order: ${expected}`, { field: name });
      }
      if (done + bytes.length > sizes[index]) {
        throw new LowbitError(
          "SHAPE",
          `got ${done + bytes.length} bytes, but has ${sizes[index]}`,
          {
            field: name,
          },
        );
      }
      await sink.write(bytes);
      done += bytes.length;
      await next();
    },
    async finish() {
      if (index < entries.length) {
        throw new LowbitError("SHAPE", `was not written: ${done} of ${sizes[index]} bytes`, {
          field: entries[index].name,
        });
      }
      await sink.close();
    },
  };
}

function header(
  metadata: ReadonlyMap<string, GgufValue>,
  entries: readonly GgufEntry[],
  sizes: readonly number[],
  alignment: number,
): Uint8Array {
  const out = new Bytes();
  out.scalar("uint32", 0x46554747, "magic");
  out.scalar("uint32", 3, "version");
  out.scalar("uint64", BigInt(entries.length), "tensors");
  out.scalar("uint64", BigInt(metadata.size), "metadata");
  for (const [key, value] of metadata) {
    out.string(key);
    out.scalar("uint32", VALUE_TYPES.indexOf(value.type), key);
    out.value(value, key);
  }
  const names = new Set<string>();
  let at = 0;
  entries.forEach((entry, i) => {
    if (names.has(entry.name)) {
      throw new LowbitError("CONFLICT", "two tensors have this name", { field: entry.name });
    }
    names.add(entry.name);
    out.string(entry.name);
    out.scalar("uint32", entry.shape.length, entry.name);
    for (const size of [...entry.shape].reverse()) out.scalar("uint64", BigInt(size), entry.name);
    out.scalar("uint32", GGML_TYPES_BY_NAME.get(entry.type)!.id, entry.name);
    out.scalar("uint64", BigInt(at), entry.name);
    at += Math.ceil(sizes[i] / alignment) * alignment;
  });
  return out.bytes();
}

const encoder = new TextEncoder();

/** Bytes that grow. */
class Bytes {
  #buffer = new Uint8Array(4096);
  #size = 0;

  bytes(): Uint8Array {
    return this.#buffer.subarray(0, this.#size);
  }

  #grow(length: number): DataView {
    if (this.#size + length > this.#buffer.length) {
      const larger = new Uint8Array(Math.max(2 * this.#buffer.length, this.#size + length));
      larger.set(this.bytes());
      this.#buffer = larger;
    }
    const view = new DataView(this.#buffer.buffer, this.#size, length);
    this.#size += length;
    return view;
  }

  string(text: string): void {
    const bytes = encoder.encode(text);
    this.scalar("uint64", BigInt(bytes.length), "length");
    this.#grow(bytes.length);
    this.#buffer.set(bytes, this.#size - bytes.length);
  }

  value(value: GgufValue, key: string): void {
    if (value.type === "string") return this.string(text(value.value, key));
    if (value.type !== "array") return this.scalar(value.type, value.value, key);
    const items = value.items;
    if (!items || !Array.isArray(value.value)) {
      throw new LowbitError("FORMAT", "is an array without items", { field: key });
    }
    this.scalar("uint32", VALUE_TYPES.indexOf(items), key);
    this.scalar("uint64", BigInt(value.value.length), key);
    for (const item of value.value) {
      if (items === "string") this.string(text(item, key));
      else if (items === "array") this.value(item as GgufValue, key);
      else this.scalar(items, item, key);
    }
  }

  scalar(type: GgufValue["type"], value: unknown, key: string): void {
    const wrong = () =>
      new LowbitError("FORMAT", `${JSON.stringify(String(value))} is not a ${type}`, {
        field: key,
      });
    const view = this.#grow(VALUE_BYTES[type]);
    if (type === "bool") {
      if (typeof value !== "boolean") throw wrong();
      return view.setUint8(0, value ? 1 : 0);
    }
    if (type === "uint64" || type === "int64") {
      const whole = typeof value === "bigint" || Number.isSafeInteger(value);
      const big = whole ? BigInt(value as number | bigint) : 0n;
      const wrapped = type === "uint64" ? BigInt.asUintN(64, big) : BigInt.asIntN(64, big);
      if (!whole || wrapped !== big) throw wrong();
      return type === "uint64" ? view.setBigUint64(0, big, true) : view.setBigInt64(0, big, true);
    }
    if (typeof value !== "number") throw wrong();
    if (type === "float32") return view.setFloat32(0, value, true);
    if (type === "float64") return view.setFloat64(0, value, true);
    const bits = VALUE_BYTES[type] * 8;
    const signed = type.startsWith("int");
    const low = signed ? -(2 ** (bits - 1)) : 0;
    if (!Number.isInteger(value) || value < low || value >= low + 2 ** bits) throw wrong();
    if (bits === 8) view.setUint8(0, value & 0xff);
    else if (bits === 16) view.setUint16(0, value & 0xffff, true);
    else view.setUint32(0, value >>> 0, true);
  }
}

function text(value: unknown, key: string): string {
  if (typeof value === "string") return value;
  throw new LowbitError("FORMAT", "is not a string", { field: key });
}
