/**
 * Reading conformance vectors: a manifest and the tensors that its entries name.
 *
 * @module
 */

import {
  LowbitError,
  type PlainType,
  type VectorEntry,
  type VectorManifest,
  vectorManifestSchema,
  type VectorRole,
} from "../../spec/mod.ts";
import { readSafetensors } from "../containers/safetensors.ts";
import { fileSource } from "../containers/source.ts";
import { plainTensor } from "../containers/stored.ts";

/** A tensor as it lies in a file. */
export interface VectorTensor {
  /** The element type. */
  type: PlainType;
  /** The shape. */
  shape: readonly number[];
  /** The bytes, little-endian. */
  bytes: Uint8Array<ArrayBuffer>;
  /** The numbers: f32 values with their bits, or whole numbers. */
  values: Float32Array | Uint8Array | Uint16Array | Int32Array;
}

/** The tensors of an entry. */
export type VectorTensors = Partial<Record<VectorRole, VectorTensor>>;

/** Conformance vectors, open. */
export interface ConformanceVectors {
  /** What they are. */
  manifest: VectorManifest;
  /** The tensors of an entry. Error `NOT_FOUND`. */
  tensors(entry: VectorEntry): Promise<VectorTensors>;
}

/**
 * Opens the vectors of a folder. Errors: `NOT_FOUND`, `SCHEMA`, `CORRUPT`.
 *
 * @example
 * ```ts
 * import { assert } from "@std/assert";
 * import { openVectors } from "./vectors.ts";
 * const vectors = await openVectors(new URL("../../conformance", import.meta.url).pathname);
 * const entry = vectors.manifest.entries.find(({ id }) => id === "float8_e4m3fn")!;
 * assert((await vectors.tensors(entry)).x!.values.length >= 1000);
 * ```
 */
export async function openVectors(folder: string): Promise<ConformanceVectors> {
  const path = `${folder}/manifest.json`;
  const manifest = vectorManifestSchema.parse(JSON.parse(await readText(path)), path);
  const places = new Map<string, VectorTensor>();
  for (const file of manifest.files) {
    for (const [name, tensor] of await readTensors(`${folder}/${file}`)) places.set(name, tensor);
  }
  return {
    manifest,
    tensors(entry) {
      const found: VectorTensors = {};
      for (const [role, name] of Object.entries(entry.tensors)) {
        const tensor = places.get(name);
        if (!tensor) {
          throw new LowbitError("NOT_FOUND", `has no tensor ${name}`, { file: path });
        }
        found[role as VectorRole] = tensor;
      }
      return Promise.resolve(found);
    },
  };
}

async function readText(path: string): Promise<string> {
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new LowbitError("NOT_FOUND", "there is no manifest of conformance vectors", {
      file: path,
      advice: "give the folder with --vectors",
    });
  }
}

/**
 * All tensors of a safetensors file. Errors: `NOT_FOUND`, `CORRUPT`.
 *
 * @example
 * ```ts
 * import { assert } from "@std/assert";
 * import { readTensors } from "./vectors.ts";
 * const file = new URL("../../conformance/layouts.safetensors", import.meta.url).pathname;
 * assert((await readTensors(file)).size > 10);
 * ```
 */
export async function readTensors(path: string): Promise<Map<string, VectorTensor>> {
  const source = await fileSource(path);
  try {
    const { tensors } = await readSafetensors(source);
    const found = new Map<string, VectorTensor>();
    for (const place of tensors) {
      const stored = plainTensor(place);
      if (stored.storage.kind !== "plain") continue;
      const { type } = stored.storage;
      const bytes = (await stored.raw()).slice();
      const { buffer } = bytes;
      const values = type === "float32"
        ? new Float32Array(buffer)
        : type === "uint16"
        ? new Uint16Array(buffer)
        : type === "int32"
        ? new Int32Array(buffer)
        : bytes;
      found.set(place.name, { type, shape: stored.shape, bytes, values });
    }
    return found;
  } finally {
    source.close();
  }
}
