/**
 * Small files by hand, for the hostile corpus: no writer of the project is used.
 *
 * @module
 */

const encoder = new TextEncoder();

/** Bytes of numbers, texts and bytes, one behind the other. */
export function bytes(...parts: (number | string | Uint8Array | number[])[]): Uint8Array {
  return Uint8Array.from(
    parts.flatMap((part) =>
      typeof part === "number"
        ? [part]
        : typeof part === "string"
        ? [...encoder.encode(part)]
        : [...part]
    ),
  );
}

/** A whole number, little-endian. */
export function le(value: number | bigint, size: number): Uint8Array {
  const out = new Uint8Array(size);
  let rest = BigInt.asUintN(8 * size, BigInt(value));
  for (let i = 0; i < size; i++) {
    out[i] = Number(rest & 255n);
    rest >>= 8n;
  }
  return out;
}

/** A safetensors file of a header and some bytes of data. */
export function safetensors(header: unknown, data = 0, stated?: number | bigint): Uint8Array {
  const text = typeof header === "string"
    ? encoder.encode(header)
    : header instanceof Uint8Array
    ? header
    : encoder.encode(JSON.stringify(header));
  return bytes(le(stated ?? text.length, 8), text, new Uint8Array(data));
}

/** An entry of a safetensors header. */
export const entry = (dtype: unknown, shape: unknown, begin: unknown, end: unknown) => ({
  dtype,
  shape,
  data_offsets: [begin, end],
});

/** A text of GGUF. */
export const gtext = (text: string) => bytes(le(encoder.encode(text).length, 8), text);

/** A metadata pair of GGUF. */
export const pair = (key: string, type: number, value: Uint8Array) =>
  bytes(gtext(key), le(type, 4), value);

/** A tensor info of GGUF; dims fastest first. */
export const info = (
  name: string,
  dims: (number | bigint)[],
  type: number,
  offset: number | bigint,
) =>
  bytes(gtext(name), le(dims.length, 4), ...dims.map((d) => le(d, 8)), le(type, 4), le(offset, 8));

/** A GGUF file, with its data aligned to 32. */
export function gguf(
  { pairs = [], infos = [], data = 0, version = 3, counts }: {
    pairs?: Uint8Array[];
    infos?: Uint8Array[];
    data?: number;
    version?: number;
    counts?: [tensors: number | bigint, pairs: number | bigint];
  },
): Uint8Array {
  const [t, p] = counts ?? [infos.length, pairs.length];
  const head = bytes("GGUF", le(version, 4), le(t, 8), le(p, 8), ...pairs, ...infos);
  const pad = (32 - head.length % 32) % 32;
  return bytes(head, new Uint8Array(pad + data));
}

/** An array of NumPy. */
export function npy(header: string, data = 0, version = 1): Uint8Array {
  const length = le(header.length, version === 1 ? 2 : 4);
  return bytes(0x93, "NUMPY", version, 0, length, encoder.encode(header), new Uint8Array(data));
}

/** A header of NumPy. */
export const nheader = (descr: string, shape: string, order = "False") =>
  `{'descr': '${descr}', 'fortran_order': ${order}, 'shape': ${shape}, }\n`;

function crc(data: Uint8Array): number {
  let c = 0xffffffff;
  for (const byte of data) {
    c ^= byte;
    for (let k = 0; k < 8; k++) c = c & 1 ? (c >>> 1) ^ 0xedb88320 : c >>> 1;
  }
  return (c ^ 0xffffffff) >>> 0;
}

/** A member of an archive, with lies about itself. */
export interface Member {
  name: string;
  data: Uint8Array;
  method?: number;
  flags?: number;
  size?: number;
  packed?: number;
  offset?: number;
  crc?: number;
}

/** A zip archive of members. */
export function zip(
  members: Member[],
  end: { count?: number; size?: number; offset?: number } = {},
) {
  const locals: Uint8Array[] = [];
  const central: Uint8Array[] = [];
  let at = 0;
  for (const m of members) {
    const name = encoder.encode(m.name);
    const sizes = [m.crc ?? crc(m.data), m.packed ?? m.data.length, m.size ?? m.data.length];
    const common = bytes(
      ...[le(m.flags ?? 0, 2), le(m.method ?? 0, 2), le(0, 4)],
      ...sizes.map((n) => le(n, 4)),
      ...[le(name.length, 2), le(0, 2)],
    );
    const local = bytes(le(0x04034b50, 4), le(20, 2), common, name, m.data);
    const tail = bytes(new Uint8Array(10), le(m.offset ?? at, 4), name);
    central.push(bytes(le(0x02014b50, 4), le(20, 2), le(20, 2), common, tail));
    locals.push(local);
    at += local.length;
  }
  const directory = bytes(...central);
  const count = end.count ?? members.length;
  return bytes(
    ...locals,
    directory,
    ...[le(0x06054b50, 4), le(0, 4), le(count, 2), le(count, 2)],
    ...[le(end.size ?? directory.length, 4), le(end.offset ?? at, 4), le(0, 2)],
  );
}

/** A varint of protocol buffers. */
export function varint(value: number | bigint): number[] {
  const out: number[] = [];
  let rest = BigInt(value);
  for (; rest > 127n; rest >>= 7n) out.push(Number(rest & 127n) | 128);
  return [...out, Number(rest)];
}

/** A field of a protocol buffer. */
export const field = (number: number, value: number | string | Uint8Array) =>
  typeof value === "number"
    ? bytes(varint(number * 8), varint(value))
    : bytes(varint(number * 8 + 2), varint(bytes(value).length), value);

/** An ONNX model of initializers. */
export const onnx = (...tensors: Uint8Array[]) =>
  bytes(field(1, 10), field(7, bytes(field(2, "g"), ...tensors.map((t) => field(5, t)))));

/** A tensor of ONNX. */
export const otensor = (name: string, type: number, dims: number[], ...rest: Uint8Array[]) =>
  bytes(...dims.map((d) => field(1, d)), field(2, type), field(8, name), ...rest);
