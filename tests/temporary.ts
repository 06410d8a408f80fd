/**
 * Folders that go away, and tiny models to change, for tests that write.
 *
 * @module
 */

import { fileOutput } from "../formats/containers/output.ts";
import { writeSafetensors } from "../formats/containers/safetensors.ts";
import { openCheckpoint } from "../formats/open.ts";
import type { PlainType } from "../spec/mod.ts";
import { ROOT } from "./process.ts";

/** The folder of the tiny models, which `tools/golden/models.py` made. */
export const MODELS: string = `${ROOT}/tests/golden/models`;
/** A Llama of 2 blocks, hidden size 16, vocabulary 64, context 64, with a head of its own. */
export const UNTIED: string = `${MODELS}/untied`;
/** A Llama of 3 blocks, hidden size 24, vocabulary 60, context 48, whose head is its embedding. */
export const TIED: string = `${MODELS}/tied`;

/** A folder that is removed at the end of the scope. */
export interface Temporary extends Disposable {
  /** Its path. */
  path: string;
  /** The path of something in it. */
  at(name: string): string;
  /** The names of what is in it, sorted. */
  names(): string[];
  /** Writes a text into it and returns the path. */
  text(name: string, content: string): string;
}

/** Makes an empty folder. */
export function temporary(): Temporary {
  const path = Deno.makeTempDirSync({ prefix: "lowbit_test_" });
  return {
    path,
    at: (name) => `${path}/${name}`,
    names: () => [...Deno.readDirSync(path)].map((entry) => entry.name).sort(),
    text(name, content) {
      Deno.writeTextFileSync(`${path}/${name}`, content);
      return `${path}/${name}`;
    },
    [Symbol.dispose]: () => Deno.removeSync(path, { recursive: true }),
  };
}

/** A plain tensor of a file to be written. */
export interface Tensor {
  /** The shape. */
  shape: number[];
  /** The values, little-endian; their type follows from the array. */
  values: Float32Array | Uint8Array | Uint16Array;
}

/** Writes tensors into a safetensors file. */
export async function writeTensors(path: string, tensors: Map<string, Tensor>): Promise<void> {
  const typeOf = ({ values }: Tensor): PlainType =>
    values instanceof Float32Array ? "float32" : values instanceof Uint8Array ? "uint8" : "uint16";
  const output = await fileOutput(path, { overwrite: true });
  const writer = await writeSafetensors(
    await output.file(path),
    [...tensors].map(([name, tensor]) => ({ name, type: typeOf(tensor), shape: tensor.shape })),
  );
  for (const [name, { values }] of tensors) {
    await writer.write(name, new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
  }
  await writer.finish();
  await output.commit();
}

/** Reads all tensors of a checkpoint as f32. */
export async function readTensors(path: string): Promise<Map<string, Tensor>> {
  const checkpoint = await openCheckpoint(path);
  const tensors = new Map<string, Tensor>();
  for (const [name, tensor] of checkpoint.tensors) {
    tensors.set(name, { shape: [...tensor.shape], values: (await tensor.read()).slice() });
  }
  checkpoint.close();
  return tensors;
}

/** Copies a model folder with its config and its tensors changed. */
export async function changedModel(
  path: string,
  change: {
    from?: string;
    config?: (config: Record<string, unknown>) => void;
    tensors?: (tensors: Map<string, Tensor>) => void;
  },
): Promise<string> {
  const { from = UNTIED } = change;
  const config = JSON.parse(Deno.readTextFileSync(`${from}/config.json`));
  change.config?.(config);
  const tensors = await readTensors(from);
  change.tensors?.(tensors);
  Deno.mkdirSync(path);
  Deno.writeTextFileSync(`${path}/config.json`, JSON.stringify(config));
  await writeTensors(`${path}/model.safetensors`, tensors);
  return path;
}

/** Windows of token ids below `vocabulary`, the same each time. */
export function someWindows(count: number, length: number, vocabulary: number): Int32Array[] {
  return Array.from(
    { length: count },
    (_, w) => Int32Array.from({ length }, (_, i) => (w * 31 + i * i * 7 + i * 13) % vocabulary),
  );
}
