/**
 * One pass over the values of a tensor, some bytes at a time.
 *
 * @module
 */

import { PLAIN_BYTES, type PlainType, type StoredTensor } from "../../spec/mod.ts";
import { decodePlain } from "../../formats/containers/plain.ts";
import { elementCount, type PlainPlace } from "../../formats/containers/stored.ts";
import type { Role, Scan } from "./rule.ts";

/** Bytes that are read at a time; a multiple of every element's size. */
const CHUNK = 2 ** 24;

const FLOATS: readonly PlainType[] = [
  "float64",
  "float32",
  "float16",
  "bfloat16",
  "float8_e4m3fn",
  "float8_e5m2",
];

/** The largest code of E8M0 is no number. */
const E8M0_NAN = 255;

/** What a tensor is for, by the last part of its name. */
const ROLES: readonly [Role, RegExp][] = [
  ["scales", /[._](scales?|weight_scale|weight_scale_inv|global_scale|absmax|SCB|s|over)$/],
  ["zeros", /[._](qzeros|zero_point|zeros?)$/],
  ["words", /\.(qweight|weight_packed|B|W_q|codes|_data)$/],
  ["weight", /[._](weight|bias)$/],
];

/** What a tensor is for. */
export function roleOf(name: string): Role {
  return ROLES.find(([, pattern]) => pattern.test(name))?.[0] ?? "other";
}

class Scanner {
  readonly scan: Scan = { count: 0, notFinite: 0, min: Infinity, max: -Infinity, constant: true };
  #first: number | undefined;

  add(values: ArrayLike<number>): void {
    const { scan } = this;
    this.#first ??= values[0];
    for (let i = 0; i < values.length; i++) {
      const value = values[i];
      if (value !== this.#first) scan.constant = false;
      if (!Number.isFinite(value)) {
        if (scan.notFinite++ === 0) scan.firstNotFinite = scan.count + i;
      } else {
        if (value < scan.min) scan.min = value;
        if (value > scan.max) scan.max = value;
      }
    }
    scan.count += values.length;
  }
}

/** Reads a plain tensor once. Codes in words are looked at word by word. */
export async function scanPlace(place: PlainPlace, role: Role): Promise<Scan> {
  const { type, shape, source, offset } = place;
  const bytes = elementCount(shape) * PLAIN_BYTES[type];
  const scanner = new Scanner();
  for (let at = 0; at < bytes; at += CHUNK) {
    const part = await source.read(offset + at, Math.min(CHUNK, bytes - at));
    scanner.add(valuesOf(part, type, role));
  }
  return scanner.scan;
}

function valuesOf(bytes: Uint8Array<ArrayBuffer>, type: PlainType, role: Role): ArrayLike<number> {
  if (role === "words" && bytes.length % 4 === 0) return new Uint32Array(bytes.buffer);
  if (type === "int32" || type === "uint32") return new Uint32Array(bytes.buffer);
  if (FLOATS.includes(type)) return decodePlain(type, bytes);
  if (role === "scales" && type === "uint8") {
    return Float32Array.from(bytes, (code) => code === E8M0_NAN ? NaN : code);
  }
  return bytes;
}

/** Reads a tensor of a GGUF file once: scales and codes of blocks, or plain values. */
export async function scanBlocks(tensor: StoredTensor): Promise<[Role, Scan][]> {
  const { storage } = tensor;
  const once = (values: ArrayLike<number>): Scan => {
    const scanner = new Scanner();
    scanner.add(values);
    return scanner.scan;
  };
  if (storage.kind === "coded") {
    const { codes, parameters: { scales, zeros } } = await tensor.quantized();
    return [
      ["words", once(codes)],
      ["scales", once(scales)],
      ...(zeros ? [["zeros", once(zeros)] as [Role, Scan]] : []),
    ];
  }
  return [[roleOf(tensor.name), once(await tensor.read())]];
}
