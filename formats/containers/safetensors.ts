/**
 * The safetensors container: reading headers strictly, and writing files as a stream.
 *
 * A file is: the length of the header (u64, little-endian), the header (JSON), the data. The data
 * of the tensors fill the rest of the file without gaps and overlaps.
 *
 * @module
 */

import {
  type ByteSource,
  type FileSink,
  PLAIN_BYTES,
  type PlainType,
} from "../../spec/checkpoint.ts";
import { LowbitError } from "../../spec/errors.ts";
import { byCodeUnits, type JsonValue, parseJson } from "./json.ts";
import { elementCount, type PlainPlace } from "./stored.ts";

/** The longest header that is read, in bytes; the limit of the safetensors library. */
export const MAX_HEADER = 100_000_000;

/** Names of the container for the plain types. */
export const SAFETENSORS_TYPES: ReadonlyMap<string, PlainType> = new Map<string, PlainType>([
  ["F64", "float64"],
  ["F32", "float32"],
  ["F16", "float16"],
  ["BF16", "bfloat16"],
  ["I64", "int64"],
  ["I32", "int32"],
  ["I16", "int16"],
  ["I8", "int8"],
  ["U64", "uint64"],
  ["U32", "uint32"],
  ["U16", "uint16"],
  ["U8", "uint8"],
  ["BOOL", "bool"],
  ["F8_E4M3", "float8_e4m3fn"],
  ["F8_E4M3FNUZ", "float8_e4m3fnuz"],
  ["F8_E5M2", "float8_e5m2"],
  ["F8_E5M2FNUZ", "float8_e5m2fnuz"],
  ["F8_E8M0", "float8_e8m0fnu"],
  ["F6_E2M3", "float6_e2m3fn"],
  ["F6_E3M2", "float6_e3m2fn"],
  ["F4", "float4_e2m1fn"],
]);

const TYPE_NAMES = new Map([...SAFETENSORS_TYPES].map(([name, type]) => [type, name] as const));

/** Types of the container that are valid but have no plain type here. */
const OTHER_TYPES = ["C64"];

/** What a header says. */
export interface SafetensorsHeader {
  /** `__metadata__`, empty if there is none. */
  metadata: ReadonlyMap<string, string>;
  /** The tensors in the order of their data. */
  tensors: readonly PlainPlace[];
}

/**
 * Reads and checks the header of a safetensors file. Nothing is allocated for a length that the
 * file does not have.
 *
 * Errors name the file and the tensor: `TRUNCATED`, `LIMIT`, `MALFORMED`, `UNSUPPORTED`.
 *
 * @example
 * ```ts
 * import { memoryOutput } from "./output.ts";
 * import { readSafetensors, writeSafetensors } from "./safetensors.ts";
 * import { memorySource } from "./source.ts";
 *
 * const output = memoryOutput();
 * const sink = await output.file("model.safetensors");
 * const writer = await writeSafetensors(sink, [{ name: "x", type: "uint8", shape: [2] }]);
 * await writer.write("x", new Uint8Array([7, 9]));
 * await writer.finish();
 * await output.commit();
 * const source = memorySource("model.safetensors", output.files.get("model.safetensors")!);
 * (await readSafetensors(source)).tensors[0].shape; // [2]
 * ```
 */
export async function readSafetensors(source: ByteSource): Promise<SafetensorsHeader> {
  try {
    return await read(source);
  } catch (error) {
    throw error instanceof LowbitError ? error.in(source.name) : error;
  }
}

async function read(source: ByteSource): Promise<SafetensorsHeader> {
  if (source.size < 8) {
    throw new LowbitError(
      "TRUNCATED",
      `has ${source.size} bytes, a safetensors file has 8 or more`,
    );
  }
  const start = await source.read(0, 8);
  const length = new DataView(start.buffer).getBigUint64(0, true);
  if (length > BigInt(MAX_HEADER)) {
    throw new LowbitError(
      "LIMIT",
      `declares a header of ${length} bytes, more than ${MAX_HEADER}`,
      {
        advice: "check that it is a safetensors file",
      },
    );
  }
  const size = Number(length);
  if (size > source.size - 8) {
    throw new LowbitError(
      "TRUNCATED",
      `declares a header of ${size} bytes, but only ${source.size - 8} bytes follow`,
      { advice: "copy or download the file again" },
    );
  }
  const bytes = await source.read(8, size);
  if (bytes[0] !== 0x7b) throw new LowbitError("MALFORMED", "the header does not start with {");
  const root = parseJson(bytes, { maxDepth: 8 });
  if (!(root instanceof Map)) throw new LowbitError("MALFORMED", "the header is not an object");
  const dataStart = 8 + size;
  const tensors: PlainPlace[] = [];
  for (const [name, value] of root) {
    if (name === "__metadata__") continue;
    tensors.push({ ...entry(name, value, source.size - dataStart), source });
  }
  // Of tensors that begin at the same byte, the empty ones come first.
  tensors.sort((a, b) => a.offset - b.offset || entryBytes(a) - entryBytes(b));
  checkCoverage(tensors, source.size - dataStart);
  for (const tensor of tensors) tensor.offset += dataStart;
  return { metadata: metadata(root.get("__metadata__")), tensors };
}

function metadata(value: JsonValue | undefined): Map<string, string> {
  if (value === undefined) return new Map();
  const fine = value instanceof Map && [...value.values()].every((v) => typeof v === "string");
  if (!fine) {
    throw new LowbitError("MALFORMED", "must be an object of strings", { field: "__metadata__" });
  }
  return value as Map<string, string>;
}

/** One entry of the header, checked; its offset counts from the start of the data. */
function entry(name: string, value: JsonValue, dataBytes: number): Omit<PlainPlace, "source"> {
  const fail = (problem: string, code: "MALFORMED" | "LIMIT" | "UNSUPPORTED" = "MALFORMED") => {
    throw new LowbitError(code, problem, { field: name });
  };
  if (!(value instanceof Map)) return fail("its entry is not an object");
  for (const key of value.keys()) {
    if (key !== "dtype" && key !== "shape" && key !== "data_offsets") {
      fail(`its entry has the unknown key ${JSON.stringify(key)}`);
    }
  }
  const dtype = value.get("dtype");
  const type = typeof dtype === "string" ? SAFETENSORS_TYPES.get(dtype) : undefined;
  if (!type) {
    if (typeof dtype === "string" && OTHER_TYPES.includes(dtype)) {
      return fail(`tensors of dtype ${dtype} are not supported`, "UNSUPPORTED");
    }
    return fail(`has the unknown dtype ${shown(dtype)}`);
  }
  const shape = value.get("shape");
  if (!Array.isArray(shape) || !shape.every(isCount)) {
    return fail(`its shape ${shown(shape)} is not a list of counts`);
  }
  if (shape.length > 16) return fail(`has ${shape.length} dimensions, more than 16`, "LIMIT");
  let elements = 1;
  for (const dimension of shape as number[]) {
    elements *= dimension;
    // Also where a later dimension is 0: the product of the others must fit.
    if (!Number.isSafeInteger(8 * elements)) {
      return fail(`its shape ${shown(shape)} is too large`, "LIMIT");
    }
  }
  const bytes = elements * PLAIN_BYTES[type];
  if (!Number.isInteger(bytes)) {
    return fail(`its shape ${shown(shape)} is not whole bytes of ${dtype}`);
  }
  const offsets = value.get("data_offsets");
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount)) {
    return fail(`its data_offsets ${shown(offsets)} are not two counts`);
  }
  const [begin, end] = offsets as number[];
  if (begin > end) return fail(`its data ends at ${end}, before it begins at ${begin}`);
  if (end - begin !== bytes) {
    return fail(`has ${end - begin} bytes of data, but ${dtype} ${shown(shape)} has ${bytes}`);
  }
  if (end > dataBytes) {
    throw new LowbitError(
      "TRUNCATED",
      `its data ends at byte ${end}, but the file has ${dataBytes} bytes of data`,
      { field: name, advice: "copy or download the file again" },
    );
  }
  return { name, type, shape: shape as number[], offset: begin };
}

function isCount(value: JsonValue): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

function shown(value: unknown): string {
  const text = value instanceof Map ? "{...}" : JSON.stringify(value) ?? "that is missing";
  return text.length > 80 ? `${text.slice(0, 80)}...` : text;
}

/** The data must fill the file: no gap, no overlap, nothing after the last tensor. */
function checkCoverage(tensors: readonly PlainPlace[], dataBytes: number): void {
  let at = 0;
  for (const { name, offset, shape, type } of tensors) {
    if (offset !== at) {
      const problem = offset < at
        ? `its data overlaps another tensor at byte ${offset}`
        : `there is a gap of ${offset - at} bytes before its data`;
      throw new LowbitError("MALFORMED", problem, { field: name });
    }
    at += entryBytes({ name, shape, type });
  }
  if (at !== dataBytes) {
    throw new LowbitError("MALFORMED", `has ${dataBytes - at} bytes that belong to no tensor`);
  }
}

/** A tensor of a file to be written. */
export interface SafetensorsEntry {
  /** Its name. */
  name: string;
  /** Its type. */
  type: PlainType;
  /** Its shape, slowest dimension first. */
  shape: readonly number[];
}

/** Writes the data of the entries of a file, in their order. */
export interface SafetensorsWriter {
  /** Appends data of the tensor that is next; a tensor may come in several pieces. */
  write(name: string, bytes: Uint8Array): Promise<void>;
  /** Checks that every tensor was written, and closes the file. */
  finish(): Promise<void>;
}

/** Bytes of an entry. */
export function entryBytes(entry: SafetensorsEntry): number {
  return elementCount(entry.shape) * PLAIN_BYTES[entry.type];
}

/** The header of a file with these entries, padded to a multiple of 8 bytes. */
export function safetensorsHeader(
  entries: readonly SafetensorsEntry[],
  metadata: ReadonlyMap<string, string> = new Map(),
): Uint8Array<ArrayBuffer> {
  const parts: string[] = [];
  if (metadata.size > 0) {
    const sorted = [...metadata].sort(([a], [b]) => byCodeUnits(a, b));
    const pairs = sorted.map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`);
    parts.push(`"__metadata__":{${pairs.join(",")}}`);
  }
  const names = new Set(["__metadata__"]);
  let at = 0;
  for (const entry of entries) {
    if (names.has(entry.name)) {
      throw new LowbitError("CONFLICT", "two tensors have this name", { field: entry.name });
    }
    names.add(entry.name);
    const end = at + entryBytes(entry);
    const dtype = TYPE_NAMES.get(entry.type);
    const shape = entry.shape.join(",");
    parts.push(
      `${JSON.stringify(entry.name)}:{"dtype":"${dtype}","shape":[${shape}],` +
        `"data_offsets":[${at},${end}]}`,
    );
    at = end;
  }
  const json = new TextEncoder().encode(`{${parts.join(",")}}`);
  const padded = Math.ceil(json.length / 8) * 8;
  if (padded > MAX_HEADER) {
    throw new LowbitError(
      "LIMIT",
      `the header would have ${padded} bytes, more than ${MAX_HEADER}`,
    );
  }
  const bytes = new Uint8Array(8 + padded).fill(0x20);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(padded), true);
  bytes.set(json, 8);
  return bytes;
}

/**
 * Starts a safetensors file whose tensors are all known; their data follow in the same order.
 * Writing out of order, too much or too little is a `SHAPE` error.
 */
export async function writeSafetensors(
  sink: FileSink,
  entries: readonly SafetensorsEntry[],
  metadata?: ReadonlyMap<string, string>,
): Promise<SafetensorsWriter> {
  await sink.write(safetensorsHeader(entries, metadata));
  let index = 0;
  let done = 0;
  const skipComplete = () => {
    while (index < entries.length && done === entryBytes(entries[index])) {
      [index, done] = [index + 1, 0];
    }
  };
  skipComplete();
  return {
    async write(name, bytes) {
      if (bytes.length === 0) return;
      const entry = entries[index];
      if (entry?.name !== name) {
        const expected = entry ? `${JSON.stringify(entry.name)} is next` : "all are written";
        throw new LowbitError("SHAPE", `was written out of order: ${expected}`, { field: name });
      }
      if (done + bytes.length > entryBytes(entry)) {
        throw new LowbitError(
          "SHAPE",
          `got ${done + bytes.length} bytes, but has ${entryBytes(entry)}`,
          { field: name },
        );
      }
      await sink.write(bytes);
      done += bytes.length;
      skipComplete();
    },
    async finish() {
      if (index < entries.length) {
        throw new LowbitError(
          "SHAPE",
          `was not written: ${done} of ${entryBytes(entries[index])} bytes`,
          {
            field: entries[index].name,
          },
        );
      }
      await sink.close();
    },
  };
}
