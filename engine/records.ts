/**
 * Records of a journal: JSON whose typed arrays follow as bytes. Codes of 4 bits or fewer take half
 * a byte.
 *
 * @module
 */

const ARRAYS = { Uint8Array, Uint32Array, Int32Array, Float32Array, Float64Array } as const;
/** Whether the first byte of a word is its lowest. */
const LITTLE = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1;

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

/**
 * The bytes of a value of plain objects, arrays, numbers, strings and typed arrays, in pieces, so that
 * large arrays are not copied.
 */
export function encodeRecord(value: unknown): Uint8Array[] {
  const parts: Uint8Array[] = [];
  const json = JSON.stringify(value, (_, item) => {
    if (!ArrayBuffer.isView(item)) return item;
    const array = item as AnyArray;
    const name = array.constructor.name as ArrayName;
    const nibbles = array instanceof Uint8Array && allNibbles(array);
    parts.push(
      nibbles
        ? packNibbles(array as Uint8Array)
        : new Uint8Array(array.buffer, array.byteOffset, array.byteLength),
    );
    return { $array: name, length: array.length, ...(nibbles && { nibbles }) };
  });
  const text = new TextEncoder().encode(json);
  const head = new Uint8Array(4 + text.length);
  new DataView(head.buffer).setUint32(0, text.length, true);
  head.set(text, 4);
  return [head, ...parts];
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

/** The bytes of an array as words of 32 bits, as far as they are whole words at a place for them. */
function wordsOf(bytes: Uint8Array): Uint32Array {
  const count = bytes.byteOffset % 4 === 0 ? bytes.length >> 2 : 0;
  return new Uint32Array(bytes.buffer, count === 0 ? 0 : bytes.byteOffset, count);
}

function allNibbles(codes: Uint8Array): boolean {
  const words = wordsOf(codes);
  let seen = 0;
  for (let i = 0; i < words.length; i++) seen |= words[i];
  for (let i = 4 * words.length; i < codes.length; i++) seen |= codes[i];
  return (seen & 0xf0f0f0f0) === 0;
}

function packNibbles(codes: Uint8Array): Uint8Array {
  const packed = new Uint8Array(Math.ceil(codes.length / 2));
  const words = LITTLE ? wordsOf(codes) : new Uint32Array();
  const pairs = new Uint16Array(packed.buffer, 0, words.length);
  for (let i = 0; i < words.length; i++) {
    const bytes = (words[i] | words[i] >>> 4) & 0x00ff00ff;
    pairs[i] = bytes | bytes >>> 8;
  }
  for (let i = 4 * words.length; i < codes.length; i++) packed[i >> 1] |= codes[i] << (4 * (i & 1));
  return packed;
}

function unpackNibbles(packed: Uint8Array, length: number): Uint8Array {
  const codes = new Uint8Array(length);
  for (let i = 0; i < length; i++) codes[i] = (packed[i >> 1] >> (4 * (i & 1))) & 15;
  return codes;
}
