/**
 * Reading what is linted: leniently, so that one broken file does not hide what is wrong with the
 * others, and every tensor once.
 *
 * @module
 */

import { type ByteSource, type Checkpoint, LowbitError } from "../../spec/mod.ts";
import { ioError } from "../../formats/containers/io.ts";
import { readSafetensors } from "../../formats/containers/safetensors.ts";
import { fileSource } from "../../formats/containers/source.ts";
import type { PlainPlace } from "../../formats/containers/stored.ts";
import { diskFolder, type Folder, readJsonObject } from "../../formats/dialects/folder.ts";
import { openCheckpoint, type OpenOptions } from "../../formats/open.ts";
import { openRemote } from "../../formats/sources/mod.ts";
import { openModel } from "../../models/architecture.ts";
import type { LintFile, LintInput, LintTensor } from "./rule.ts";
import { roleOf, scanBlocks, scanPlace } from "./scan.ts";

/** What can be closed again. */
export interface LintReading {
  /** What rules look at. */
  input: LintInput;
  /** Closes the files. */
  close(): void;
}

const INDEX = "model.safetensors.index.json";

/** Reads a folder, a file or an address for linting. Errors: `NOT_FOUND` and `IO` of the path itself. */
export async function readForLint(
  path: string,
  options: OpenOptions,
  onProgress: (done: number, total: number) => void,
): Promise<LintReading> {
  const opened: ByteSource[] = [];
  const { folder, names, open } = await weightFiles(path, options);
  const config = await object(folder, "config.json");
  const files: LintFile[] = [];
  const places: { place: PlainPlace; file: string }[] = [];
  for (const name of names.filter((name) => /\.safetensors$/i.test(name))) {
    const source = await open(name);
    opened.push(source);
    const file: LintFile = { name, bytes: source.size };
    files.push(file);
    try {
      const { tensors } = await readSafetensors(source);
      for (const place of tensors) places.push({ place, file: name });
    } catch (error) {
      file.error = lowbitError(error);
    }
  }
  const whole = await attempt(() => openCheckpoint(path, options));
  const tensors = new Map<string, LintTensor>();
  let done = 0;
  for (const { place, file } of places) {
    const role = roleOf(place.name);
    const scan = await scanPlace(place, role);
    const { name, type, shape } = place;
    tensors.set(name, { name, type, shape, role, file, scan });
    onProgress(++done, places.length);
  }
  if (whole.value?.kind === "gguf") await scanGguf(whole.value, tensors, files, onProgress);
  const model = whole.value && await attempt(() => openModel(whole.value!));
  const index = folder?.names.includes(INDEX) ? await object(folder, INDEX) : undefined;
  const map = index?.weight_map;
  const { quantization_config: quantization } = config as Record<string, unknown>;
  return {
    input: {
      path,
      config: whole.value?.config ?? config,
      quantization: isRecord(quantization) ? quantization : {},
      files,
      ...(isRecord(map) && { index: new Map(Object.entries(map).map(([k, v]) => [k, String(v)])) }),
      tensors,
      ...(whole.value ? { checkpoint: whole.value } : { openError: whole.error }),
      ...(model && (model.value ? { model: model.value } : { modelError: model.error })),
    },
    close() {
      for (const source of opened) source.close();
      whole.value?.close();
    },
  };
}

async function scanGguf(
  checkpoint: Checkpoint,
  tensors: Map<string, LintTensor>,
  files: LintFile[],
  onProgress: (done: number, total: number) => void,
): Promise<void> {
  const file = checkpoint.files[0];
  files.push({ name: file.name, bytes: file.size });
  let done = 0;
  for (const tensor of checkpoint.tensors.values()) {
    const { name, shape, storage } = tensor;
    const type = storage.kind === "coded" ? storage.scheme.id : storage.kind;
    for (const [role, scan] of await scanBlocks(tensor)) {
      const part = storage.kind === "coded" ? `${name}: ${role}` : name;
      tensors.set(part, { name: part, type, shape, role, file: file.name, scan });
    }
    onProgress(++done, checkpoint.tensors.size);
  }
}

/** The files with weights, and how one is opened. */
async function weightFiles(
  path: string,
  options: OpenOptions,
): Promise<{ folder?: Folder; names: string[]; open(name: string): Promise<ByteSource> }> {
  const remote = await openRemote(path, options);
  if (remote && !("names" in remote)) {
    return { names: [remote.name], open: () => Promise.resolve(remote) };
  }
  if (!remote && !await isFolder(path)) return { names: [path], open: () => fileSource(path) };
  const folder = remote ?? await diskFolder(path);
  const names = folder.names.filter((name) => /\.(safetensors|gguf)$/i.test(name));
  return { folder, names, open: (name) => folder.open(name) };
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await Deno.stat(path)).isDirectory;
  } catch (error) {
    throw ioError(error, path, "read");
  }
}

async function object(folder: Folder | undefined, name: string): Promise<Record<string, unknown>> {
  if (!folder?.names.includes(name)) return {};
  const read = await attempt(() => readJsonObject(folder, name));
  return read.value ?? {};
}

async function attempt<T>(
  work: () => T | Promise<T>,
): Promise<{ value?: T; error?: LowbitError }> {
  try {
    return { value: await work() };
  } catch (error) {
    return { error: lowbitError(error) };
  }
}

function lowbitError(error: unknown): LowbitError {
  if (error instanceof LowbitError) return error;
  throw error;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
