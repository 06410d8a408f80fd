/**
 * Arrays of NumPy: `.npy`, and `.npz`, a zip archive of them. Headers are parsed strictly; arrays of
 * objects, which are pickles, are refused.
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
import { elementCount } from "./stored.ts";
import { columnMajor, rowMajor, stridedTensor } from "./strided.ts";
import { readZip } from "./zip.ts";

/** The longest header that is read, in bytes. */
const MAX_HEADER = 2 ** 20;
/** Dimensions of an array; NumPy's own limit. */
const MAX_DIMENSIONS = 64;
const MAGIC = "\x93NUMPY";

const TYPES: Readonly<Record<string, PlainType>> = {
  f8: "float64",
  f4: "float32",
  f2: "float16",
  i8: "int64",
  i4: "int32",
  i2: "int16",
  i1: "int8",
  u8: "uint64",
  u4: "uint32",
  u2: "uint16",
  u1: "uint8",
  b1: "bool",
};

/** Whether bytes begin as a `.npy` file does. */
export function isNpy(start: Uint8Array): boolean {
  return String.fromCharCode(...start.subarray(0, 6)) === MAGIC;
}

/**
 * The array of a `.npy` file as a tensor; nothing but its header is read.
 *
 * Errors: `TRUNCATED`, `LIMIT`, `MALFORMED`, `UNSUPPORTED` (objects, structures, complex numbers).
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { readNpy } from "./npy.ts";
 * import { memorySource } from "./source.ts";
 * const header = "{'descr': '<u2', 'fortran_order': False, 'shape': (2,), }\n";
 * const start = [0x93, ...new TextEncoder().encode("NUMPY"), 1, 0, header.length, 0];
 * const bytes = Uint8Array.from([...start, ...new TextEncoder().encode(header), 1, 0, 2, 0]);
 * const tensor = await readNpy(memorySource("x.npy", bytes), "x");
 * assertEquals([...await tensor.read()], [1, 2]);
 * ```
 */
export async function readNpy(source: ByteSource, name: string): Promise<StoredTensor> {
  try {
    return await read(source, name);
  } catch (error) {
    throw error instanceof LowbitError ? error.in(source.name) : error;
  }
}

async function read(source: ByteSource, name: string): Promise<StoredTensor> {
  if (source.size < 10) throw new LowbitError("TRUNCATED", `has ${source.size} bytes`);
  const start = await source.read(0, Math.min(12, source.size));
  if (!isNpy(start)) throw new LowbitError("MALFORMED", "does not start with \\x93NUMPY");
  const version = start[6];
  if (version < 1 || version > 3 || start[7] !== 0) {
    throw new LowbitError("UNSUPPORTED", `is of npy version ${version}.${start[7]}`);
  }
  const view = new DataView(start.buffer);
  if (version > 1 && source.size < 12) throw new LowbitError("TRUNCATED", "its header is cut off");
  const [at, length] = version === 1
    ? [10, view.getUint16(8, true)]
    : [12, view.getUint32(8, true)];
  if (length > MAX_HEADER) {
    throw new LowbitError("LIMIT", `declares a header of ${length} bytes, more than ${MAX_HEADER}`);
  }
  if (at + length > source.size) {
    throw new LowbitError("TRUNCATED", `declares a header of ${length} bytes`, {
      advice: "copy or download the file again",
    });
  }
  const text = new TextDecoder(version === 3 ? "utf-8" : "latin1").decode(
    await source.read(at, length),
  );
  const { descr, fortran, shape } = parseHeader(text);
  const { type, bigEndian } = typeOf(descr);
  const elements = elementCount(shape);
  const bytes = elements * PLAIN_BYTES[type];
  if (!shape.every((_, i) => Number.isSafeInteger(8 * elementCount(shape.slice(0, i + 1))))) {
    throw new LowbitError("LIMIT", `its shape (${shape}) is too large`);
  }
  const rest = source.size - at - length;
  if (bytes !== rest) {
    const [code, problem] = bytes > rest
      ? ["TRUNCATED" as const, `has ${rest} bytes of data, but ${descr} (${shape}) has ${bytes}`]
      : ["MALFORMED" as const, `has ${rest - bytes} bytes behind its ${bytes} bytes of data`];
    throw new LowbitError(code, problem);
  }
  return stridedTensor({
    name,
    type,
    shape,
    source,
    offset: at + length,
    strides: fortran ? columnMajor(shape) : rowMajor(shape),
    available: elements,
    bigEndian: bigEndian && PLAIN_BYTES[type] > 1,
  });
}

/** The dictionary of a header: exactly the three keys that NumPy writes, each once. */
function parseHeader(text: string): { descr: string; fortran: boolean; shape: number[] } {
  const pattern =
    /^\{((?:\s*'(?:descr|fortran_order|shape)'\s*:\s*(?:'[^'\\]{1,64}'|True|False|\([\d\sL,]{0,2048}\))\s*,?){3})\s*\}\s*$/;
  // Bounded before the pattern looks at it: headers of real arrays are short.
  const body = text.length <= 4096 ? pattern.exec(text)?.[1] : undefined;
  const found = new Map<string, string>();
  const pairs = body?.matchAll(/'(\w+)'\s*:\s*('[^']*'|True|False|\([^)]*\))/g) ?? [];
  for (const [, key, value] of pairs) {
    if (found.has(key)) throw new LowbitError("MALFORMED", "the key occurs twice", { field: key });
    found.set(key, value);
  }
  const descr = /^'(.*)'$/.exec(found.get("descr") ?? "")?.[1];
  const order = found.get("fortran_order");
  const sizes = /^\((.*)\)$/.exec(found.get("shape") ?? "")?.[1];
  if (
    descr === undefined || sizes === undefined || (order !== "True" && order !== "False") ||
    (sizes.trim() !== "" && !/^\s*\d+L?\s*(,\s*\d+L?\s*)*,?\s*$/.test(sizes))
  ) {
    if (/'descr'\s*:\s*\[/.test(text.slice(0, 4096))) {
      throw new LowbitError("UNSUPPORTED", "is an array of structures", {
        advice: "save each of its fields as an array of its own",
      });
    }
    throw new LowbitError("MALFORMED", "its header is not one of NumPy");
  }
  const shape = (sizes.match(/\d+/g) ?? []).map(Number);
  if (shape.length > MAX_DIMENSIONS) {
    throw new LowbitError("LIMIT", `has ${shape.length} dimensions, more than ${MAX_DIMENSIONS}`);
  }
  return { descr, fortran: order === "True", shape };
}

function typeOf(descr: string): { type: PlainType; bigEndian: boolean } {
  const [, order, code] = /^([<>|=]?)(.*)$/.exec(descr)!;
  if (Object.hasOwn(TYPES, code)) return { type: TYPES[code], bigEndian: order === ">" };
  const fail = (what: string, advice: string) =>
    new LowbitError("UNSUPPORTED", `is an array of ${what} (${descr})`, { advice });
  if (code.startsWith("O")) {
    throw fail("objects, which are pickled and can run any code", "save it as numbers");
  }
  if (code.startsWith("V")) {
    throw fail("unnamed bytes, as NumPy stores bfloat16", "save it as safetensors, or as uint16");
  }
  throw fail("another type", `known types: ${Object.keys(TYPES).join(", ")}`);
}

/** The arrays of a `.npz` archive, by their names without `.npy`. */
export async function readNpz(source: ByteSource): Promise<StoredTensor[]> {
  const tensors: StoredTensor[] = [];
  for (const member of await readZip(source)) {
    if (!member.name.endsWith(".npy")) {
      throw new LowbitError("MALFORMED", "is not an array of NumPy", {
        file: source.name,
        field: member.name,
      });
    }
    tensors.push(await readNpy(member.source, member.name.slice(0, -4)));
  }
  return tensors;
}
