/**
 * Records of a journal: JSON whose typed arrays follow as bytes. Codes of 4 bits or fewer take half
 * a byte.
 *
 * @module
 */

const ARRAYS = { Uint8Array, Uint32Array, Int32Array, Float32Array, Float64Array } as const;
type ArrayName = keyof typeof ARRAYS;
type AnyArray = InstanceType<(typeof ARRAYS)[ArrayName]>;

/** What stands in the JSON for a typed array. */
interface Place {
  $array: ArrayName;
  length: number;
  nibbles?: true;
}

const isPlace = (value: unknown): value is Place =>
  typeof value === "object" && value !== null && "$array" in value;

/** The bytes of a value of plain objects, arrays, numbers, strings and typed arrays. */
export function encodeRecord(value: unknown): Uint8Array<ArrayBuffer> {
  const parts: Uint8Array[] = [];
  const json = JSON.stringify(value, (_, item) => {
    if (!ArrayBuffer.isView(item)) return item;
    const array = item as AnyArray;
    const name = array.constructor.name as ArrayName;
    const nibbles = name === "Uint8Array" && allNibbles(array as Uint8Array);
    parts.push(
      nibbles
        ? packNibbles(array as Uint8Array)
        : new Uint8Array(array.buffer, array.byteOffset, array.byteLength),
    );
    return { $array: name, length: array.length, ...(nibbles && { nibbles }) };
  });
  const head = new TextEncoder().encode(json);
  const size = parts.reduce((sum, part) => sum + part.length, 4 + head.length);
  const bytes = new Uint8Array(size);
  new DataView(bytes.buffer).setUint32(0, head.length, true);
  bytes.set(head, 4);
  let at = 4 + head.length;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** The value of a record. */
export function decodeRecord(bytes: Uint8Array<ArrayBuffer>): unknown {
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  let at = 4 + length;
  const revive = (value: unknown): unknown => {
    if (isPlace(value)) {
      const { $array: name, length, nibbles } = value;
      const size = nibbles ? Math.ceil(length / 2) : length * ARRAYS[name].BYTES_PER_ELEMENT;
      const part = bytes.slice(at, at += size);
      return nibbles ? unpackNibbles(part, length) : new ARRAYS[name](part.buffer);
    }
    if (Array.isArray(value)) return value.map(revive);
    if (typeof value !== "object" || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, revive(item)]));
  };
  return revive(JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length))));
}

function allNibbles(codes: Uint8Array): boolean {
  let bits = 0;
  for (let i = 0; i < codes.length; i++) bits |= codes[i];
  return bits < 16;
}

function packNibbles(codes: Uint8Array): Uint8Array {
  const packed = new Uint8Array(Math.ceil(codes.length / 2));
  const pairs = codes.length >> 1;
  for (let i = 0; i < pairs; i++) packed[i] = codes[2 * i] | codes[2 * i + 1] << 4;
  if (codes.length & 1) packed[pairs] = codes[codes.length - 1];
  return packed;
}

function unpackNibbles(packed: Uint8Array, length: number): Uint8Array {
  const codes = new Uint8Array(length);
  for (let i = 0; i < length; i++) codes[i] = (packed[i >> 1] >> (4 * (i & 1))) & 15;
  return codes;
}
