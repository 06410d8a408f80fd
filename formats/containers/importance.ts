/**
 * Importance matrices as llama.cpp's `llama-imatrix` writes and `llama-quantize` reads them: GGUF
 * (`general.type` is `imatrix`), and the older `.dat`.
 *
 * `.dat` is little-endian: the number of entries; for each a name, how many windows it has seen, the
 * number of values, and mean squares times these windows; then the windows of the whole, and the
 * name of the text. Names and texts have their length in front. Rows are not in it.
 *
 * @module
 */

import type { ByteSource, GgufValue } from "../../spec/checkpoint.ts";
import { LowbitError } from "../../spec/errors.ts";
import type { ImportanceMatrix, InputSquares } from "../../spec/importance.ts";
import { GGUF_LIMITS, readGguf } from "./gguf.ts";
import { writeGguf } from "./gguf_writer.ts";
import { memoryOutput } from "./output.ts";

const SUMS = ".in_sum2", COUNTS = ".counts";

/** Tokens of a window of `.dat`, which does not say: what llama.cpp takes if it is not told. */
const DEFAULT_CHUNK = 512;

/** Limits of `.dat`. */
const LIMITS = { bytes: 2 ** 31, entries: 1 << 20, channels: 1 << 28 };

/**
 * Reads an importance matrix, of either form. Errors: `TRUNCATED`, `LIMIT`, `MALFORMED`,
 * `NON_FINITE`, and those of GGUF.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { importanceBytes, readImportance } from "./importance.ts";
 * import { memorySource } from "./source.ts";
 * const entry = { sums: Float64Array.of(2, 8), counts: Float64Array.of(1024) };
 * const entries = new Map([["blk.0.ffn_up.weight", entry]]);
 * const matrix = { datasets: ["wiki.txt"], chunks: 2, chunkSize: 512, entries };
 * for (const form of ["gguf", "dat"] as const) {
 *   const source = memorySource("imatrix", await importanceBytes(matrix, form));
 *   assertEquals(await readImportance(source), matrix);
 * }
 * ```
 */
export async function readImportance(source: ByteSource): Promise<ImportanceMatrix> {
  try {
    const magic = new TextDecoder().decode(await source.read(0, Math.min(4, source.size)));
    const matrix = magic === "GGUF" ? await readForm(source) : await readDat(source);
    for (const [field, { sums, counts }] of matrix.entries) check(field, sums, counts);
    return matrix;
  } catch (error) {
    throw error instanceof LowbitError ? error.in(source.name) : error;
  }
}

function check(field: string, sums: Float64Array, counts: Float64Array): void {
  const wrong = (v: number) => !Number.isFinite(v) || v < 0;
  const bad = sums.find(wrong) ?? counts.find(wrong);
  if (bad === undefined) return;
  throw new LowbitError("NON_FINITE", `has the sum or count ${bad}`, { field });
}

async function readForm(source: ByteSource): Promise<ImportanceMatrix> {
  const { metadata, tensors } = await readGguf(source);
  const type = metadata.get("general.type")?.value;
  if (type !== "imatrix") {
    throw new LowbitError("MALFORMED", `is GGUF of the type ${JSON.stringify(type ?? null)}`, {
      field: "general.type",
      advice: "an importance matrix has the type imatrix, as llama-imatrix writes it",
    });
  }
  const byName = new Map(tensors.map((tensor) => [tensor.name, tensor]));
  const values = async (name: string) => {
    const tensor = byName.get(name);
    if (!tensor) throw new LowbitError("MALFORMED", "is missing", { field: name });
    if (tensor.type.name !== "F32") {
      throw new LowbitError("UNSUPPORTED", `is ${tensor.type.name}, not F32`, { field: name });
    }
    const bytes = await source.read(tensor.offset, tensor.bytes);
    return Float64Array.from(floats(new DataView(bytes.buffer), 0, bytes.length / 4));
  };
  const entries = new Map<string, InputSquares>();
  for (const { name } of tensors) {
    if (!name.endsWith(SUMS)) continue;
    const weight = name.slice(0, -SUMS.length);
    const sums = await values(name), counts = await values(weight + COUNTS);
    if (counts.length === 0 || sums.length % counts.length !== 0) {
      throw new LowbitError("SHAPE", `${sums.length} sums have ${counts.length} counts`, {
        field: name,
      });
    }
    entries.set(weight, { sums, counts });
  }
  const number = (key: string) => Number(metadata.get(key)?.value ?? 0);
  const named = metadata.get("imatrix.datasets");
  return {
    datasets: named?.type === "array" ? (named.value as unknown[]).map(String) : [],
    chunks: number("imatrix.chunk_count"),
    chunkSize: number("imatrix.chunk_size"),
    entries,
  };
}

function* floats(view: DataView, at: number, count: number): Generator<number> {
  for (let i = 0; i < count; i++) yield view.getFloat32(at + 4 * i, true);
}

async function readDat(source: ByteSource): Promise<ImportanceMatrix> {
  if (source.size > LIMITS.bytes) {
    throw new LowbitError("LIMIT", `has ${source.size} bytes, more than ${LIMITS.bytes}`);
  }
  const bytes = await source.read(0, source.size);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let at = 0;
  const take = (size: number) => {
    if (at + size > bytes.length) throw new LowbitError("TRUNCATED", "ends too early");
    return (at += size) - size;
  };
  const int = (what: string, most: number) => {
    const value = view.getInt32(take(4), true);
    if (value >= 0 && value <= most) return value;
    throw new LowbitError("MALFORMED", `has ${value} as ${what}`, {
      advice: "give an importance matrix of llama-imatrix, GGUF or .dat",
    });
  };
  const text = () => {
    const size = int("the length of a name", GGUF_LIMITS.name);
    const from = take(size);
    return new TextDecoder().decode(bytes.subarray(from, from + size));
  };
  const entries = new Map<string, InputSquares>();
  const count = int("the number of entries", LIMITS.entries);
  if (count === 0) throw new LowbitError("MALFORMED", "has no entries");
  for (let i = 0; i < count; i++) {
    const name = text();
    const windows = int("a number of windows", 0x7fffffff);
    const channels = int("a number of channels", LIMITS.channels);
    const from = take(4 * channels);
    if (channels === 0) throw new LowbitError("MALFORMED", "has no channels", { field: name });
    if (entries.has(name)) throw new LowbitError("MALFORMED", "occurs twice", { field: name });
    const sums = Float64Array.from(
      floats(view, from, channels),
      (value) => value * DEFAULT_CHUNK,
    );
    // Files without windows hold the means themselves.
    entries.set(name, { sums, counts: Float64Array.of(Math.max(1, windows) * DEFAULT_CHUNK) });
  }
  const chunks = at < bytes.length ? int("the number of windows", 0x7fffffff) : 0;
  const datasets = at < bytes.length ? [text()] : [];
  return { datasets, chunks, chunkSize: DEFAULT_CHUNK, entries };
}

/**
 * The bytes of an importance matrix, entries in the order of their names. `dat` has no place for
 * rows, nor for more than one name of a text; channels that saw nothing have the weight 1 there.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { importanceBytes } from "./importance.ts";
 * const matrix = { datasets: [], chunks: 1, chunkSize: 512, entries: new Map() };
 * const bytes = await importanceBytes(matrix, "gguf");
 * assertEquals(new TextDecoder().decode(bytes.subarray(0, 4)), "GGUF");
 * ```
 */
export async function importanceBytes(
  matrix: ImportanceMatrix,
  form: "gguf" | "dat",
): Promise<Uint8Array> {
  const entries = [...matrix.entries].sort(([a], [b]) => a < b ? -1 : 1);
  if (form === "dat") return datBytes({ ...matrix, entries: new Map(entries) });
  const metadata = new Map<string, GgufValue>([
    ["general.type", { type: "string", value: "imatrix" }],
    ["imatrix.datasets", { type: "array", items: "string", value: matrix.datasets }],
    ["imatrix.chunk_count", { type: "uint32", value: matrix.chunks }],
    ["imatrix.chunk_size", { type: "uint32", value: matrix.chunkSize }],
  ]);
  const output = memoryOutput();
  const writer = await writeGguf(
    await output.file("imatrix"),
    metadata,
    entries.flatMap(([name, { sums, counts }]) => [
      {
        name: name + SUMS,
        shape: [counts.length, sums.length / counts.length],
        type: "F32",
      },
      { name: name + COUNTS, shape: [counts.length, 1], type: "F32" },
    ]),
  );
  for (const [name, { sums, counts }] of entries) {
    await writer.write(name + SUMS, float32(sums));
    await writer.write(name + COUNTS, float32(counts));
  }
  await writer.finish();
  await output.commit();
  return output.files.get("imatrix")!;
}

function float32(values: ArrayLike<number>): Uint8Array {
  const bytes = new Uint8Array(4 * values.length);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < values.length; i++) view.setFloat32(4 * i, values[i], true);
  return bytes;
}

function datBytes({ datasets, chunks, chunkSize, entries }: ImportanceMatrix): Uint8Array {
  const parts: Uint8Array[] = [];
  const int = (value: number) => {
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setInt32(0, value, true);
    parts.push(bytes);
  };
  const text = (value: string) => {
    const bytes = new TextEncoder().encode(value);
    int(bytes.length);
    parts.push(bytes);
  };
  int(entries.size);
  for (const [name, { sums, counts }] of entries) {
    text(name);
    const windows = Math.ceil(Math.max(1, ...counts) / Math.max(1, chunkSize));
    int(windows);
    int(sums.length);
    const columns = sums.length / counts.length;
    parts.push(float32(sums.map((sum, i) => {
      const count = counts[Math.floor(i / columns)];
      return (count > 0 ? sum / count : 1) * windows;
    })));
  }
  int(chunks);
  text(datasets[0] ?? "");
  const bytes = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/**
 * The form of a file by its name: `.dat` is the older one.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { importanceForm } from "./importance.ts";
 * assertEquals([importanceForm("a.dat"), importanceForm("imatrix.gguf")], ["dat", "gguf"]);
 * ```
 */
export function importanceForm(path: string): "gguf" | "dat" {
  return path.endsWith(".dat") ? "dat" : "gguf";
}
