/**
 * Golden values: tensors that other implementations made, read by our own reader.
 *
 * @module
 */

import { readSafetensors } from "../formats/containers/safetensors.ts";
import { plainTensor } from "../formats/containers/stored.ts";
import { fileSource, memorySource } from "../formats/containers/source.ts";

/** Tensors of one golden file. */
export interface Golden {
  /** Names of the tensors. */
  names: string[];
  /** The shape of a tensor. */
  shape(name: string): readonly number[];
  /** A tensor as f32. */
  f32(name: string): Promise<Float32Array>;
  /** A U8, U16 or I32 tensor as whole numbers. */
  codes(name: string): Promise<number[]>;
  /** The bytes of a tensor. */
  bytes(name: string): Promise<Uint8Array>;
}

/** Opens a file under tests/golden; it stays open until the process ends. */
export async function openGolden(path: string): Promise<Golden> {
  const url = new URL(`./golden/${path}`, import.meta.url);
  const source = await fileSource(url.pathname);
  const bytes = await source.read(0, source.size);
  source.close();
  const { tensors: places } = await readSafetensors(memorySource(path, bytes));
  const tensors = new Map(places.map((place) => [place.name, plainTensor(place)]));
  const tensor = (name: string) => {
    const found = tensors.get(name);
    if (!found) throw new Error(`${path} has no ${name}`);
    return found;
  };
  return {
    names: [...tensors.keys()],
    shape: (name) => tensor(name).shape,
    f32: (name) => tensor(name).read(),
    codes: async (name) => [...await tensor(name).read()],
    bytes: (name) => tensor(name).raw(),
  };
}
