/**
 * Opening checkpoints: a folder or file on disk, or sources in a browser, recognised by content.
 *
 * @module
 */

import {
  type ByteSource,
  type Checkpoint,
  LowbitError,
  type OnlineTransform,
  type ResolvedScheme,
  type StoredTensor,
} from "../spec/mod.ts";
import { ioError } from "./containers/io.ts";
import { readSafetensors } from "./containers/safetensors.ts";
import { fileSource } from "./containers/source.ts";
import { isNpy, readNpy, readNpz } from "./containers/npy.ts";
import { isTorch, readTorch } from "./containers/torch.ts";
import type { Tools } from "./dialects/coded.ts";
import { DirectoryTensors, type SafetensorsFile } from "./dialects/directory.ts";
import {
  baseName,
  diskFolder,
  type Folder,
  readJsonObject,
  sourceFolder,
} from "./dialects/folder.ts";
import { openGguf } from "./dialects/gguf_read.ts";
import { parseLowbitMetadata, SIDE_FILE } from "./dialects/lowbit_metadata.ts";
import { withInputScales } from "./dialects/input_scales.ts";
import { inputNames } from "./dialects/lowbit_parts.ts";
import { lowbitTensor } from "./dialects/lowbit_read.ts";
import { lowbitVector } from "./dialects/lowbit_vector.ts";
import { mlcCache, mlcFiles } from "./dialects/mlc_read.ts";
import { type OnnxWeights, onnxWeights } from "./dialects/onnx_read.ts";
import { quantizedTensors } from "./dialects/quantized.ts";
import { openRemote, type SourceOptions } from "./sources/mod.ts";
import { withPieces } from "./dialects/sentencepiece.ts";
import { checkIndex, type Shard, sidecars, weightFiles } from "./dialects/weight_files.ts";

/** How a checkpoint is opened: what reads it, and where it may come from. */
export interface OpenOptions extends Tools, SourceOptions {}

/**
 * Opens a checkpoint: a Hugging Face folder (plain, sharded, of the dialects lowbit, GPTQ, AWQ,
 * bitsandbytes, compressed-tensors, FP8, HQQ, quanto, torchao and MLC), one `.safetensors`, `.gguf`, `.npy` or `.npz`
 * file, an `http(s)` URL of such a file, or the files that a browser was given. What it is, is decided
 * by its content. PyTorch's `.bin` and `.pt` need `pickleTensors`.
 *
 * Only headers, settings and tokenizer files are read. Kernels and codecs make reading coded
 * tensors fast; without them plain TypeScript does it.
 *
 * Errors: `NOT_FOUND`, `TRUNCATED`, `MALFORMED`, `LIMIT`, `IO`, and `UNSUPPORTED` for pickled
 * PyTorch files and for quantised dialects that cannot be read.
 *
 * @example
 * ```ts
 * import { writeSafetensors } from "./containers/safetensors.ts";
 * import { memoryOutput } from "./containers/output.ts";
 * import { memorySource } from "./containers/source.ts";
 * import { openCheckpoint } from "./open.ts";
 *
 * const output = memoryOutput();
 * const entries = [{ name: "x", type: "uint8" as const, shape: [2] }];
 * const writer = await writeSafetensors(await output.file("a.safetensors"), entries);
 * await writer.write("x", new Uint8Array([7, 9]));
 * await writer.finish();
 * await output.commit();
 *
 * const file = memorySource("a.safetensors", output.files.get("a.safetensors")!);
 * const checkpoint = await openCheckpoint([file]);
 * await checkpoint.tensors.get("x")!.read(); // Float32Array [7, 9]
 * checkpoint.close();
 * ```
 */
export async function openCheckpoint(
  input: string | readonly ByteSource[],
  options: OpenOptions = {},
): Promise<Checkpoint> {
  if (typeof input !== "string") {
    if (input.length === 0) throw new LowbitError("NOT_FOUND", "no file was given");
    if (input.length === 1) return await openSource(input[0], input[0].name, options);
    const checkpoint = await openFolder(sourceFolder(input, "files"), options);
    return { ...checkpoint, close: () => input.forEach((source) => source.close()) };
  }
  const remote = await openRemote(input, options);
  if (remote) {
    if ("names" in remote) return await openFolder(remote, options);
    return await openSource(remote, remote.name, options);
  }
  let info: Deno.FileInfo;
  try {
    info = await Deno.stat(input);
  } catch (error) {
    throw ioError(error, input, "read");
  }
  if (info.isDirectory) return await openFolder(await diskFolder(input), options);
  const source = await fileSource(input);
  try {
    return await openSource(source, input, options, true);
  } catch (error) {
    source.close();
    throw error;
  }
}

/** One file, by its first bytes. */
async function openSource(
  source: ByteSource,
  name: string,
  options: OpenOptions,
  onDisk = false,
): Promise<Checkpoint> {
  const start = await source.read(0, Math.min(9, source.size));
  const text = String.fromCharCode(...start);
  if (text.startsWith("GGUF") || /\.gguf$/i.test(source.name)) {
    return await openGguf(source, name, options);
  }
  if (isNpy(start)) return await openArrays("npy", name, source, options);
  if (text.startsWith("PK\x03\x04") && /\.npz$/i.test(source.name)) {
    return await openArrays("npz", name, source, options);
  }
  if (isTorch(start)) return await openArrays("torch", name, source, options);
  if (/\.onnx$/i.test(source.name)) {
    const beside = async (file: string) => {
      if (!onDisk) {
        throw new LowbitError("NOT_FOUND", `its data are in ${file}`, {
          file: source.name,
          advice: "open the folder",
        });
      }
      return await (await diskFolder(name.replace(/[^/\\]*$/, "") || ".")).open(file);
    };
    const weights = await onnxWeights(source, beside);
    const texts = new Map<string, string>();
    return await assemble(name, [weights.file], {}, texts, [source], options, weights);
  }
  if (text[8] === "{" || /\.safetensors$/i.test(source.name)) {
    const file = { ...await readSafetensors(source), source };
    return await assemble(name, [file], {}, new Map(), [source], options);
  }
  throw new LowbitError("UNSUPPORTED", "is neither a safetensors, GGUF, NumPy nor PyTorch file", {
    file: source.name,
  });
}

/** Tensors that need no settings to be read. */
async function openArrays(
  kind: string,
  name: string,
  source: ByteSource,
  options: OpenOptions,
): Promise<Checkpoint> {
  const tensors = await readArrays(kind, source, options);
  return checkpointOf({ name, kind, tensors, config: {}, texts: new Map(), sources: [source] });
}

async function readArrays(
  kind: string,
  source: ByteSource,
  options: OpenOptions,
): Promise<StoredTensor[]> {
  if (kind === "npy") return [await readNpy(source, baseName(source.name).replace(/\.npy$/i, ""))];
  if (kind === "npz") return await readNpz(source);
  if (options.pickleTensors) return await readTorch(source);
  throw new LowbitError("UNSUPPORTED", "is a pickled PyTorch file, which can run any code", {
    file: source.name,
    advice: "convert it to safetensors, or read its tensors alone with --allow-pickle-tensors",
  });
}

/** A checkpoint of plain tensors. */
function checkpointOf(
  { name, kind, tensors, config, texts, sources }: {
    name: string;
    kind: string;
    tensors: readonly StoredTensor[];
    config: Record<string, unknown>;
    texts: ReadonlyMap<string, string>;
    sources: readonly ByteSource[];
  },
): Checkpoint {
  const byName = new Map<string, StoredTensor>();
  for (const tensor of tensors) {
    if (byName.has(tensor.name)) {
      throw new LowbitError("MALFORMED", "the tensor is in two files", {
        file: name,
        field: tensor.name,
      });
    }
    byName.set(tensor.name, tensor);
  }
  return {
    name,
    kind,
    naming: "huggingface",
    config,
    tensors: byName,
    files: sources,
    sidecars: texts,
    close: () => sources.forEach((source) => source.close()),
  };
}

async function openFolder(folder: Folder, options: OpenOptions): Promise<Checkpoint> {
  const checkpoint = await openWeights(folder, options);
  try {
    return await withPieces(folder, checkpoint);
  } catch (error) {
    checkpoint.close();
    throw error;
  }
}

/** A folder without a tokenizer that is not text. */
async function openWeights(folder: Folder, options: OpenOptions): Promise<Checkpoint> {
  const opened: ByteSource[] = [];
  const open = async (name: string) => {
    const source = await folder.open(name);
    opened.push(source);
    return source;
  };
  try {
    const cache = mlcCache(folder);
    if (cache !== undefined) {
      const { config, files } = await mlcFiles(folder, cache, open);
      return await assemble(folder.name, files, config, await sidecars(folder), opened, options);
    }
    const { names, index, kind } = await weightFiles(folder);
    if (names.length === 1 && /\.gguf$/i.test(names[0])) {
      return await openGguf(await open(names[0]), folder.name, options);
    }
    if (!folder.names.includes("config.json")) {
      throw new LowbitError("NOT_FOUND", "config.json is missing", {
        file: folder.name,
        advice: "copy config.json of the model into the folder",
      });
    }
    const config = await readJsonObject(folder, "config.json");
    if (kind === "torch") {
      const tensors: StoredTensor[] = [];
      const shards: Shard[] = [];
      for (const name of names) {
        const found = await readArrays(kind, await open(name), options);
        shards.push({ name, tensors: found });
        tensors.push(...found);
      }
      await checkIndex(folder, index, shards);
      const sources = [...opened, await open("config.json")];
      const texts = await sidecars(folder);
      return checkpointOf({ name: folder.name, kind, tensors, config, texts, sources });
    }
    if (kind === "onnx") {
      const beside = (name: string) => open(names[0].replace(/[^/]*$/, "") + name);
      const weights = await onnxWeights(await open(names[0]), beside);
      const all = [...opened, await open("config.json")];
      const texts = await sidecars(folder);
      return await assemble(folder.name, [weights.file], config, texts, all, options, weights);
    }
    const files: SafetensorsFile[] = [];
    for (const name of names) {
      const source = await open(name);
      files.push({ ...await readSafetensors(source), source });
    }
    await checkIndex(
      folder,
      index,
      files.map(({ source, tensors }) => ({ name: baseName(source.name), tensors })),
    );
    if (folder.names.includes(SIDE_FILE) && !names.includes(SIDE_FILE)) {
      const source = await open(SIDE_FILE);
      files.push({ ...await readSafetensors(source), source });
    }
    const all = [...opened, await open("config.json")];
    return await assemble(folder.name, files, config, await sidecars(folder), all, options);
  } catch (error) {
    for (const source of opened) source.close();
    throw error;
  }
}

/** A checkpoint from its safetensors files and settings; finds out the dialect. */
async function assemble(
  name: string,
  files: readonly SafetensorsFile[],
  config: Record<string, unknown>,
  texts: ReadonlyMap<string, string>,
  sources: readonly ByteSource[],
  tools: Tools,
  onnx?: OnnxWeights,
): Promise<Checkpoint> {
  const directory = new DirectoryTensors(files);
  const coded = new Map<string, StoredTensor>();
  const activations = new Map<string, ResolvedScheme>();
  const transforms: OnlineTransform[] = [];
  let kind = "safetensors";
  for (const file of files) {
    const text = file.metadata.get("lowbit");
    if (text === undefined) continue;
    kind = "lowbit";
    const metadata = parseLowbitMetadata(text, file.source.name);
    if (metadata.side && !files.some((f) => f.metadata.has("lowbit_side"))) {
      throw new LowbitError("NOT_FOUND", `${SIDE_FILE} is missing`, {
        file: name,
        advice: "open the whole folder, with all its files",
      });
    }
    for (const [tensor, entry] of metadata.tensors) {
      const stored = lowbitTensor(directory, tensor, entry, tools);
      const activation = metadata.activations.get(tensor);
      coded.set(tensor, withInputScales(stored, directory, inputNames(tensor), activation));
    }
    for (const [tensor, entry] of metadata.vectors) {
      coded.set(tensor, lowbitVector(directory, tensor, entry, tools));
    }
    for (const [tensor, scheme] of metadata.activations) activations.set(tensor, scheme);
    transforms.push(...metadata.transforms);
  }
  const anchors = new Map([...coded.keys()].map((tensor) => [`${tensor}.codes`, tensor]));
  const quantized = onnx
    ? { kind: "onnx", found: onnx.find(directory, tools) }
    : await quantizedTensors(directory, config, `${name}/config.json`, tools);
  if (quantized) {
    const { found } = quantized;
    kind = quantized.kind;
    for (const [tensor, stored] of found.tensors) coded.set(tensor, stored);
    for (const [tensor, scheme] of found.activations) activations.set(tensor, scheme);
    for (const [anchor, tensor] of found.anchors) anchors.set(anchor, tensor);
  }
  checkDialect(directory);
  const tensors = new Map<string, StoredTensor>();
  const rest = new Set(directory.names());
  for (const tensor of orderedNames(directory, rest, anchors)) {
    const stored = coded.get(tensor);
    if (stored && rest.has(tensor)) {
      throw new LowbitError("MALFORMED", "is there plainly and as codes", {
        file: name,
        field: tensor,
      });
    }
    tensors.set(tensor, stored ?? directory.plain(tensor));
  }
  return {
    name,
    kind,
    naming: "huggingface",
    config,
    tensors,
    files: sources,
    sidecars: texts,
    ...(activations.size > 0 && { activations }),
    ...(transforms.length > 0 && { transforms }),
    close: () => sources.forEach((source) => source.close()),
  };
}

/** Plain and coded tensors in file order; a coded one stands where its codes are. */
function orderedNames(
  directory: DirectoryTensors,
  plain: ReadonlySet<string>,
  anchors: ReadonlyMap<string, string>,
): string[] {
  const names: string[] = [];
  for (const file of directory.files) {
    for (const { name } of file.tensors) {
      const logical = plain.has(name) ? name : anchors.get(name);
      if (logical !== undefined) names.push(logical);
    }
  }
  return names;
}

/** Names of packed tensors that would be read as plain numbers, and wrongly. */
const PACKED_NAMES: readonly [pattern: RegExp, dialect: string][] = [
  [/\.qweight$/, "GPTQ or AWQ"],
  [/\.weight\.(absmax|quant_map|quant_state\..*)$/, "bitsandbytes"],
  [/\.(SCB|weight_format)$/, "bitsandbytes"],
  [/\.weight_packed$/, "compressed-tensors"],
  [/\.weight_scale_inv$/, "fp8"],
  [/\.W_q$/, "HQQ"],
];

function checkDialect(directory: DirectoryTensors): void {
  for (const name of directory.names()) {
    const dialect = PACKED_NAMES.find(([pattern]) => pattern.test(name))?.[1];
    if (!dialect) continue;
    throw new LowbitError("UNSUPPORTED", `is a packed tensor of ${dialect}`, {
      file: directory.place(name)!.source.name,
      field: name,
      advice: "open the folder with its config.json, or the checkpoint in full precision",
    });
  }
}
