/**
 * Plain tensors of a byte source, read lazily.
 *
 * @module
 */

import {
  type ByteSource,
  PLAIN_BYTES,
  type PlainType,
  type StoredTensor,
} from "../../spec/checkpoint.ts";
import { LowbitError } from "../../spec/errors.ts";
import { decodePlain } from "./plain.ts";

/** Bytes that are read at once: whole elements of every type of whole bytes. */
const PIECE = 2 ** 22;

/** Where a plain tensor lies. */
export interface PlainPlace {
  /** Its name. */
  name: string;
  /** Its type. */
  type: PlainType;
  /** Its shape, slowest dimension first. */
  shape: readonly number[];
  /** The source that holds it. */
  source: ByteSource;
  /** Its first byte in the source. */
  offset: number;
}

/** The number of elements of a shape; 1 for a scalar. */
export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

/**
 * Checks a range of rows against the first dimension (1 for a scalar) and returns it; all rows if
 * it is absent. Error: `SHAPE`.
 */
export function rowRange(
  name: string,
  shape: readonly number[],
  rows?: { start: number; end: number },
): { start: number; end: number } {
  const count = shape[0] ?? 1;
  if (!rows) return { start: 0, end: count };
  const { start, end } = rows;
  const whole = Number.isSafeInteger(start) && Number.isSafeInteger(end);
  if (!whole || start < 0 || start > end || end > count) {
    throw new LowbitError("SHAPE", `rows ${start} to ${end} are not within its ${count} rows`, {
      field: name,
    });
  }
  return { start, end };
}

/**
 * A plain tensor, read when it is asked for. `read` of some rows reads only their bytes.
 *
 * @example
 * ```ts
 * import { memorySource } from "./source.ts";
 * import { plainTensor } from "./stored.ts";
 * const source = memorySource("two.bin", new Uint8Array([0, 0, 0x80, 0x3f, 0, 0, 0, 0x40]));
 * const place = { name: "x", type: "float32" as const, shape: [2], source, offset: 0 };
 * await plainTensor(place).read({ start: 1, end: 2 }); // Float32Array [2]
 * ```
 */
export function plainTensor(place: PlainPlace): StoredTensor {
  const { name, type, shape, source, offset } = place;
  const rowElements = elementCount(shape.slice(1));
  const bytes = elementCount(shape) * PLAIN_BYTES[type];
  const wholeRows = Number.isInteger(rowElements * PLAIN_BYTES[type]);
  return {
    name,
    shape,
    storage: { kind: "plain", type },
    bytes,
    async read(rows) {
      const { start, end } = rowRange(name, shape, rows);
      const stride = rowElements * PLAIN_BYTES[type];
      if (!wholeRows) {
        // Rows of less than whole bytes: the bytes of all of them.
        const all = decodePlain(type, await source.read(offset, bytes));
        return all.slice(start * rowElements, end * rowElements);
      }
      const from = offset + start * stride, length = (end - start) * stride;
      if (length <= PIECE) return decodePlain(type, await source.read(from, length));
      // In pieces, so that stored bytes and values are not both in memory as a whole.
      const values = new Float32Array(length / PLAIN_BYTES[type]);
      for (let at = 0; at < length; at += PIECE) {
        const bytes = await source.read(from + at, Math.min(PIECE, length - at));
        values.set(decodePlain(type, bytes), at / PLAIN_BYTES[type]);
      }
      return values;
    },
    raw: () => source.read(offset, bytes),
    ...(PLAIN_BYTES[type] >= 1 && {
      bytesAt: (start: number, length: number) => source.read(offset + start, length),
      decodeAt: async (start: number, count: number) => {
        const size = PLAIN_BYTES[type];
        return decodePlain(type, await source.read(offset + start * size, count * size));
      },
    }),
    // deno-lint-ignore require-await
    async quantized() {
      throw new LowbitError("FORMAT", "is not quantised", { file: source.name, field: name });
    },
  };
}
