/**
 * Writing a few tensors to one safetensors file.
 *
 * @module
 */

import type { PlainType } from "../../spec/checkpoint.ts";
import { fileOutput } from "./output.ts";
import { writeSafetensors } from "./safetensors.ts";

/** One tensor to be written. */
export interface Part {
  name: string;
  type: PlainType;
  shape: number[];
  bytes: Uint8Array;
}

/** The bytes of numbers, in the order of the machine (little-endian). */
export function bytesOf(values: Float32Array | Uint32Array | Uint16Array | Uint8Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

/** Writes tensors to a file of their own; nothing is left of a write that failed. */
export async function writeParts(path: string, parts: Part[], overwrite = false): Promise<void> {
  const output = await fileOutput(path, { overwrite });
  try {
    const sink = await output.file(path);
    const entries = parts.map(({ name, type, shape }) => ({ name, type, shape }));
    const writer = await writeSafetensors(sink, entries);
    for (const { name, bytes } of parts) await writer.write(name, bytes);
    await writer.finish();
    await output.commit();
  } catch (error) {
    await output.abort();
    throw error;
  }
}
