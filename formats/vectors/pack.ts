/**
 * Dense streams of codes of any width up to 32 bits, as in the layout `lowbit_dense`: the codes of
 * a row follow each other from the lowest bit of its first byte on.
 *
 * @module
 */

import { streamBytes } from "../../spec/mod.ts";

/**
 * Packs `[rows, columns]` codes; every row starts a byte of its own.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { packCodes, unpackCodes } from "./pack.ts";
 * const codes = Uint32Array.of(0xabc, 0x123);
 * const bytes = packCodes(codes, 1, 2, 12);
 * assertEquals([...bytes], [0xbc, 0x3a, 0x12]);
 * assertEquals(unpackCodes(bytes, 1, 2, 12), codes);
 * ```
 */
export function packCodes(
  codes: Uint32Array,
  rows: number,
  columns: number,
  bits: number,
): Uint8Array<ArrayBuffer> {
  const stride = streamBytes(columns, bits);
  const bytes = new Uint8Array(rows * stride);
  for (let row = 0; row < rows; row++) {
    for (let column = 0, bit = 0; column < columns; column++) {
      let code = codes[row * columns + column];
      for (let left = bits; left > 0;) {
        const room = Math.min(8 - (bit & 7), left);
        bytes[row * stride + (bit >>> 3)] |= (code & (2 ** room - 1)) << (bit & 7);
        code = Math.floor(code / 2 ** room);
        left -= room;
        bit += room;
      }
    }
  }
  return bytes;
}

/**
 * Unpacks what {@linkcode packCodes} packed.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { unpackCodes } from "./pack.ts";
 * assertEquals([...unpackCodes(Uint8Array.of(0xbc, 0x3a, 0x12), 1, 2, 12)], [0xabc, 0x123]);
 * ```
 */
export function unpackCodes(
  bytes: Uint8Array,
  rows: number,
  columns: number,
  bits: number,
): Uint32Array {
  const stride = streamBytes(columns, bits);
  const codes = new Uint32Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    for (let column = 0, bit = 0; column < columns; column++) {
      let code = 0;
      for (let have = 0; have < bits;) {
        const room = Math.min(8 - (bit & 7), bits - have);
        const part = (bytes[row * stride + (bit >>> 3)] >>> (bit & 7)) & (2 ** room - 1);
        code += part * 2 ** have;
        have += room;
        bit += room;
      }
      codes[row * columns + column] = code;
    }
  }
  return codes;
}
