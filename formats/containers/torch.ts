/**
 * Checkpoints of `torch.save`: tensors out of a pickle that is read as data, never executed. The zip
 * form and the older stream of pickles.
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
import {
  PICKLE_LIMITS,
  PickleCall,
  PickleDict,
  PickleName,
  PickleReference,
  type PickleValue,
  readPickle,
} from "./pickle.ts";
import { stridedTensor } from "./strided.ts";
import { readZip } from "./zip.ts";

const STORAGES: Readonly<Record<string, PlainType>> = {
  "torch.DoubleStorage": "float64",
  "torch.FloatStorage": "float32",
  "torch.HalfStorage": "float16",
  "torch.BFloat16Storage": "bfloat16",
  "torch.LongStorage": "int64",
  "torch.IntStorage": "int32",
  "torch.ShortStorage": "int16",
  "torch.CharStorage": "int8",
  "torch.ByteStorage": "uint8",
  "torch.BoolStorage": "bool",
  // Without a type of its own: the tensor says which.
  "torch.storage.UntypedStorage": "uint8",
  "torch.UntypedStorage": "uint8",
};

const DTYPES: Readonly<Record<string, PlainType>> = {
  "torch.float64": "float64",
  "torch.float32": "float32",
  "torch.float16": "float16",
  "torch.bfloat16": "bfloat16",
  "torch.float8_e4m3fn": "float8_e4m3fn",
  "torch.float8_e4m3fnuz": "float8_e4m3fnuz",
  "torch.float8_e5m2": "float8_e5m2",
  "torch.float8_e5m2fnuz": "float8_e5m2fnuz",
  "torch.float8_e8m0fnu": "float8_e8m0fnu",
  "torch.int64": "int64",
  "torch.int32": "int32",
  "torch.int16": "int16",
  "torch.int8": "int8",
  "torch.uint64": "uint64",
  "torch.uint32": "uint32",
  "torch.uint16": "uint16",
  "torch.uint8": "uint8",
  "torch.bool": "bool",
};

const NAMES: ReadonlySet<string> = new Set([
  "collections.OrderedDict",
  "torch.Size",
  "torch._utils._rebuild_tensor",
  "torch._utils._rebuild_tensor_v2",
  "torch._utils._rebuild_tensor_v3",
  "torch._utils._rebuild_parameter",
]);

/** The names that tensors need. */
const allow = (name: string): boolean =>
  NAMES.has(name) || Object.hasOwn(STORAGES, name) || Object.hasOwn(DTYPES, name);

/** Values that are looked at to find tensors; a pickle can share one value many times. */
const MAX_VISITS = 10_000_000;
const MAX_DEPTH = 32;

/** A storage: where its bytes lie, and what they are. */
interface Storage {
  source: ByteSource;
  offset: number;
  bytes: number;
  type: PlainType;
}

type FindStorage = (key: string, type: PlainType, elements: number) => Storage;

/** Whether bytes begin as a checkpoint of `torch.save`. */
export function isTorch(start: Uint8Array): boolean {
  const text = String.fromCharCode(...start.subarray(0, 4));
  return text === "PK\x03\x04" || text.startsWith("\x80\x02");
}

/**
 * The tensors of a checkpoint of `torch.save`. Names of nested dictionaries are joined by dots; what
 * is no tensor is left out.
 *
 * Errors: `UNSUPPORTED` (anything that a tensor does not need), `MALFORMED`, `TRUNCATED`, `LIMIT`.
 */
export async function readTorch(source: ByteSource): Promise<StoredTensor[]> {
  try {
    const start = await source.read(0, Math.min(4, source.size));
    const zip = String.fromCharCode(...start) === "PK\x03\x04";
    return zip ? await readArchive(source) : await readStream(source);
  } catch (error) {
    throw error instanceof LowbitError ? error.in(source.name) : error;
  }
}

async function readArchive(source: ByteSource): Promise<StoredTensor[]> {
  const members = await readZip(source);
  const main = members.find(({ name }) => /^[^/]+\/data\.pkl$|^data\.pkl$/.test(name));
  if (!main) throw new LowbitError("MALFORMED", "has no data.pkl, so it is not of torch.save");
  const prefix = main.name.slice(0, -"data.pkl".length);
  const files = new Map(members.map((member) => [member.name, member.source]));
  const order = files.get(`${prefix}byteorder`);
  const bigEndian = order !== undefined && order.size === 3 &&
    new TextDecoder().decode(await order.read(0, 3)) === "big";
  if (main.source.size > PICKLE_LIMITS.bytes) {
    throw new LowbitError("LIMIT", `its pickle has ${main.source.size} bytes`);
  }
  const { value } = readPickle(await main.source.read(0, main.source.size), 0, allow);
  return collect(value, (key, type, elements) => {
    const data = files.get(`${prefix}data/${key}`);
    if (!data) throw new LowbitError("MALFORMED", `its storage ${key} is missing`);
    const bytes = elements * PLAIN_BYTES[type];
    if (bytes > data.size) {
      throw new LowbitError("TRUNCATED", `its storage ${key} has ${data.size} of ${bytes} bytes`);
    }
    return { source: data, offset: 0, bytes, type };
  }, bigEndian);
}

/** The older form: five pickles, then every storage behind its number of elements. */
async function readStream(source: ByteSource): Promise<StoredTensor[]> {
  const bytes = await source.read(0, Math.min(source.size, PICKLE_LIMITS.bytes));
  let at = 0;
  const next = () => {
    const { value, end } = readPickle(bytes, at, allow);
    at = end;
    return value;
  };
  const magic = next();
  if (magic !== 0x1950a86a20f9469cfc6cn) {
    throw new LowbitError("UNSUPPORTED", "is a pickle, but none of torch.save");
  }
  const version = next();
  const system = next();
  if (version !== 1001 || !(system instanceof PickleDict)) {
    throw new LowbitError("UNSUPPORTED", "is of an unknown version of torch.save");
  }
  const little = system.pairs.find(([key]) => key === "little_endian")?.[1] !== false;
  const value = next();
  const keys = next();
  if (!Array.isArray(keys)) throw new LowbitError("MALFORMED", "does not list its storages");
  const wanted = new Map<string, { type: PlainType; elements: number }>();
  collectStorages(value, wanted);
  const places = new Map<string, Storage>();
  for (const key of keys) {
    const storage = typeof key === "string" ? wanted.get(key) : undefined;
    if (!storage || places.has(key as string)) {
      throw new LowbitError("MALFORMED", "lists a storage that no tensor has");
    }
    const { type, elements } = storage;
    const size = elements * PLAIN_BYTES[type];
    if (at + 8 + size > source.size) {
      throw new LowbitError("TRUNCATED", `its storage ${key} ends behind byte ${source.size}`);
    }
    const stated = new DataView((await source.read(at, 8)).buffer).getBigInt64(0, little);
    if (stated !== BigInt(elements)) {
      throw new LowbitError("MALFORMED", `its storage ${key} has ${stated} elements`);
    }
    places.set(key as string, { source, offset: at + 8, bytes: size, type });
    at += 8 + size;
  }
  return collect(value, (key) => {
    const storage = places.get(key);
    if (!storage) throw new LowbitError("MALFORMED", `its storage ${key} is missing`);
    return storage;
  }, !little);
}

/** The parts of a reference to a storage. */
function storageOf(value: PickleValue): { key: string; type: PlainType; elements: number } {
  const id = value instanceof PickleReference ? value.id : undefined;
  const [kind, name, key, , elements] = Array.isArray(id) ? id : [];
  const type = name instanceof PickleName && Object.hasOwn(STORAGES, name.name)
    ? STORAGES[name.name]
    : undefined;
  if (
    kind !== "storage" || !type || typeof key !== "string" || !isCount(elements) ||
    !/^[\w.-]{1,128}$/.test(key)
  ) throw new LowbitError("MALFORMED", "has a tensor without a storage");
  return { key, type, elements };
}

function isCount(value: PickleValue | undefined): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 &&
    value <= 2 ** 48;
}

/** Walks all values, at most so many and so deep. */
function walk(root: PickleValue, visit: (name: string, value: PickleCall) => void): void {
  let visits = 0;
  const go = (value: PickleValue, name: string, depth: number) => {
    if (++visits > MAX_VISITS) throw new LowbitError("LIMIT", `has over ${MAX_VISITS} values`);
    if (depth > MAX_DEPTH) throw new LowbitError("LIMIT", `is nested deeper than ${MAX_DEPTH}`);
    const inner = (key: PickleValue) => name === "" ? String(key) : `${name}.${key}`;
    if (value instanceof PickleCall) {
      if (value.name === "torch._utils._rebuild_parameter") go(value.args[0], name, depth + 1);
      else if (value.name.includes("_rebuild_tensor")) visit(name, value);
    } else if (value instanceof PickleDict) {
      for (const [key, item] of value.pairs) {
        if (typeof key === "string" || typeof key === "number") go(item, inner(key), depth + 1);
      }
    } else if (Array.isArray(value)) {
      value.forEach((item, i) => go(item, inner(i), depth + 1));
    }
  };
  go(root, "", 0);
}

function collectStorages(
  root: PickleValue,
  found: Map<string, { type: PlainType; elements: number }>,
): void {
  walk(root, (_, call) => {
    const { key, ...storage } = storageOf(call.args[0]);
    found.set(key, storage);
  });
}

function collect(root: PickleValue, find: FindStorage, bigEndian: boolean): StoredTensor[] {
  const tensors = new Map<string, StoredTensor>();
  walk(root, (name, { name: rebuild, args }) => {
    const fail = (problem: string) => new LowbitError("MALFORMED", problem, { field: name });
    if (name === "") name = "tensor";
    if (tensors.has(name)) throw fail("the tensor occurs twice");
    const [reference, start, sizes, steps] = args;
    const { key, type: stored, elements } = storageOf(reference);
    const shape = counts(sizes);
    if (!isCount(start) || !shape) throw fail("has no shape");
    const strides = counts(steps);
    if (strides?.length !== shape.length || shape.length > 64) throw fail("has no strides");
    const storage = find(key, stored, elements);
    let type = storage.type;
    if (rebuild.endsWith("_v3")) {
      const dtype = args[6];
      const known = dtype instanceof PickleName && Object.hasOwn(DTYPES, dtype.name);
      if (!known) throw fail("has an unknown dtype");
      type = DTYPES[(dtype as PickleName).name];
    }
    const size = PLAIN_BYTES[type];
    tensors.set(
      name,
      stridedTensor({
        name,
        type,
        shape,
        strides,
        source: storage.source,
        offset: storage.offset + start * size,
        available: Math.floor(storage.bytes / size) - start,
        bigEndian: bigEndian && size > 1,
      }),
    );
  });
  return [...tensors.values()];
}

function counts(value: PickleValue | undefined): number[] | undefined {
  const list = value instanceof PickleCall && value.name === "torch.Size" ? value.args[0] : value;
  return Array.isArray(list) && list.every(isCount) ? list as number[] : undefined;
}
