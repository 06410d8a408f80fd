/**
 * The wire format of protocol buffers: writing messages, and walking them in a source without holding
 * what is skipped.
 *
 * @module
 */

import type { ByteSource } from "../../spec/checkpoint.ts";
import { LowbitError } from "../../spec/errors.ts";

/** A field to be written: a whole number, bytes, a text, or a message in pieces. */
export type Field = [number: number, value: number | string | Uint8Array | Uint8Array[]];

/** The bytes of a whole number that is not negative. */
export function varint(value: number): Uint8Array {
  const bytes: number[] = [];
  for (; value > 127; value = Math.floor(value / 128)) bytes.push(value % 128 + 128);
  return Uint8Array.from([...bytes, value]);
}

/** Bytes of pieces together. */
export function totalBytes(pieces: readonly Uint8Array[]): number {
  return pieces.reduce((sum, piece) => sum + piece.length, 0);
}

const encoder = new TextEncoder();

/** The start of a field of `length` bytes. */
export function fieldStart(number: number, length: number): Uint8Array[] {
  return [varint(number * 8 + 2), varint(length)];
}

/** The pieces of a message. */
export function message(...fields: readonly Field[]): Uint8Array[] {
  return fields.flatMap(([number, value]) => {
    if (typeof value === "number") return [varint(number * 8), varint(value)];
    const pieces = typeof value === "string"
      ? [encoder.encode(value)]
      : Array.isArray(value)
      ? value
      : [value];
    return [...fieldStart(number, totalBytes(pieces)), ...pieces];
  });
}

/** A field of a message in a source. */
export interface WireField {
  /** Its number. */
  number: number;
  /** A varint, or a fixed number as its bits. */
  value?: bigint;
  /** Where the bytes of a field of bytes begin. */
  start: number;
  /** How many they are. */
  length: number;
}

const CHUNK = 1 << 16;

/** Reads numbers and small pieces of a source, a chunk at a time. */
export class WireReader {
  #chunk = new Uint8Array(0);
  #at = 0;
  #fields = 0;

  /** Reads a source; at most so many fields in all. */
  constructor(readonly source: ByteSource, private readonly maxFields = 20_000_000) {}

  /** The bytes of a range, of at most `limit`. */
  async bytes(start: number, length: number, limit: number): Promise<Uint8Array> {
    if (length > limit) {
      throw new LowbitError("LIMIT", `has a field of ${length} bytes, more than ${limit}`);
    }
    const inside = start - this.#at;
    if (inside < 0 || inside + length > this.#chunk.length) {
      if (length > CHUNK) return await this.source.read(start, length);
      this.#at = start;
      this.#chunk = await this.source.read(start, Math.min(CHUNK, this.source.size - start));
    }
    return this.#chunk.subarray(start - this.#at, start - this.#at + length);
  }

  /** A text of a range. */
  async text({ start, length }: WireField): Promise<string> {
    try {
      return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
        .decode(await this.bytes(start, length, 1 << 20));
    } catch (cause) {
      if (cause instanceof LowbitError) throw cause;
      throw new LowbitError("MALFORMED", "has a text that is not UTF-8", { cause });
    }
  }

  /** The fields of the message between two bytes. */
  async *fields(start: number, end: number): AsyncGenerator<WireField> {
    for (let at = start; at < end;) {
      if (++this.#fields > this.maxFields) {
        throw new LowbitError("LIMIT", `has more than ${this.maxFields} fields`);
      }
      const [key, afterKey] = await this.#varint(at, end);
      const number = Number(key >> 3n);
      const type = Number(key & 7n);
      if (number === 0 || number > 2 ** 29) throw this.#broken(`has the field ${number}`, at);
      if (type === 0) {
        const [value, next] = await this.#varint(afterKey, end);
        yield { number, value, start: afterKey, length: next - afterKey };
        at = next;
      } else if (type === 1 || type === 5) {
        const length = type === 1 ? 8 : 4;
        if (afterKey + length > end) throw this.#broken("ends inside a number", at);
        const bytes = await this.bytes(afterKey, length, 8);
        const view = new DataView(bytes.buffer, bytes.byteOffset, length);
        const value = type === 1 ? view.getBigUint64(0, true) : BigInt(view.getUint32(0, true));
        yield { number, value, start: afterKey, length };
        at = afterKey + length;
      } else if (type === 2) {
        const [length, next] = await this.#varint(afterKey, end);
        if (length > BigInt(end - next)) {
          throw new LowbitError("TRUNCATED", `declares a field of ${length} bytes (at ${at})`, {
            advice: "copy or download the file again",
          });
        }
        yield { number, start: next, length: Number(length) };
        at = next + Number(length);
      } else throw this.#broken(`has a field of the wire type ${type}`, at);
    }
  }

  /** The whole numbers of a field that may be packed. */
  async numbers(field: WireField, limit: number): Promise<bigint[]> {
    if (field.value !== undefined) return [field.value];
    const values: bigint[] = [];
    const end = field.start + field.length;
    for (let at = field.start; at < end;) {
      const [value, next] = await this.#varint(at, end);
      values.push(value);
      if (values.length > limit) throw new LowbitError("LIMIT", `has more than ${limit} numbers`);
      at = next;
    }
    return values;
  }

  #broken(problem: string, at: number): LowbitError {
    return new LowbitError("MALFORMED", `is no protocol buffer: it ${problem} (at ${at})`);
  }

  async #varint(at: number, end: number): Promise<[value: bigint, next: number]> {
    let value = 0n;
    const bytes = await this.bytes(at, Math.min(10, end - at), 10);
    for (let i = 0; i < bytes.length; i++) {
      value |= BigInt(bytes[i] & 127) << BigInt(7 * i);
      if (bytes[i] < 128) return [value & 0xffff_ffff_ffff_ffffn, at + i + 1];
    }
    throw this.#broken("has a number that does not end", at);
  }
}
