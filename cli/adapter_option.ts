/**
 * Adapters of the arguments: `--adapter`.
 *
 * @module
 */

import { adaptCheckpoint } from "../engine/adapted.ts";
import { fileSource } from "../formats/containers/source.ts";
import { type Adapter, ADAPTER_FILES, readAdapter } from "../formats/dialects/peft.ts";
import { type ByteSource, type Checkpoint, LowbitError } from "../spec/mod.ts";
import type { Arguments, Option } from "./arguments.ts";

/** The option that puts adapters on a model. */
export const adapterOption: Option = {
  name: "adapter",
  type: "text",
  value: "DIR",
  help: "put an adapter of LoRA in PEFT's format on the model; several are added up",
  many: true,
};

/** A model with the adapters of `--adapter`. */
export async function withAdapters<C extends Checkpoint>(args: Arguments, model: C): Promise<C> {
  let adapted = model;
  for (const folder of args.texts("adapter")) adapted = await adaptedBy(adapted, folder);
  return adapted;
}

/** A model with the adapter of a folder. */
export async function adaptedBy<C extends Checkpoint>(model: C, folder: string): Promise<C> {
  const adapter = await openAdapter(folder);
  try {
    return adaptCheckpoint(model, adapter);
  } catch (error) {
    throw error instanceof LowbitError ? error.in(folder) : error;
  }
}

async function openAdapter(folder: string): Promise<Adapter> {
  const files: ByteSource[] = [];
  try {
    for (const name of ADAPTER_FILES) {
      files.push(await fileSource(`${folder.replace(/\/+$/, "")}/${name}`));
    }
    return await readAdapter(files);
  } finally {
    for (const file of files) file.close();
  }
}
