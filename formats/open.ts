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
import { byCodeUnits } from "./containers/json.ts";
import { readSafetensors } from "./containers/safetensors.ts";
import { fileSource, httpSource } from "./containers/source.ts";
import type { Tools } from "./dialects/coded.ts";
import { DirectoryTensors, type SafetensorsFile } from "./dialects/directory.ts";
import {
  checkPlainName,
  diskFolder,
  type Folder,
  readJsonObject,
  readText,
  sourceFolder,
} from "./dialects/folder.ts";
import { openGguf } from "./dialects/gguf_read.ts";
import { parseLowbitMetadata, SIDE_FILE } from "./dialects/lowbit_metadata.ts";
import { withInputScales } from "./dialects/input_scales.ts";
import { inputNames } from "./dialects/lowbit_parts.ts";
import { lowbitTensor } from "./dialects/lowbit_read.ts";
import { lowbitVector } from "./dialects/lowbit_vector.ts";
import { quantizedTensors } from "./dialects/quantized.ts";

/**
 * Opens a checkpoint: a Hugging Face folder (plain, sharded, of the dialects lowbit, GPTQ, AWQ,
 * bitsandbytes, compressed-tensors, FP8, HQQ and quanto), one `.safetensors` or `.gguf` file, an
 * `http(s)` URL of such a file, or the files that a browser was given. What it is, is decided by its content.
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
  tools: Tools = {},
): Promise<Checkpoint> {
  if (typeof input !== "string") {
    if (input.length === 0) throw new LowbitError("NOT_FOUND", "no file was given");
    if (input.length === 1) return await openSource(input[0], input[0].name, tools);
    const checkpoint = await openFolder(sourceFolder(input, "files"), tools);
    return { ...checkpoint, close: () => input.forEach((source) => source.close()) };
  }
  if (/^https?:\/\//.test(input)) return await openSource(await httpSource(input), input, tools);
  let info: Deno.FileInfo;
  try {
    info = await Deno.stat(input);
  } catch (error) {
    throw ioError(error, input, "read");
  }
  if (info.isDirectory) return await openFolder(await diskFolder(input), tools);
  const source = await fileSource(input);
  try {
    return await openSource(source, input, tools);
  } catch (error) {
    source.close();
    throw error;
  }
}

/** One file, by its first bytes. */
async function openSource(source: ByteSource, name: string, tools: Tools): Promise<Checkpoint> {
  const start = await source.read(0, Math.min(9, source.size));
  const text = String.fromCharCode(...start);
  if (text.startsWith("GGUF") || /\.gguf$/i.test(source.name)) {
    return await openGguf(source, name, tools);
  }
  if (text.startsWith("PK\x03\x04") || text.startsWith("\x80\x02")) throw pickled(source.name);
  if (text[8] === "{" || /\.safetensors$/i.test(source.name)) {
    const file = { ...await readSafetensors(source), source };
    return await assemble(name, [file], {}, new Map(), [source], tools);
  }
  throw new LowbitError("UNSUPPORTED", "is neither a safetensors nor a GGUF file", {
    file: source.name,
  });
}

function pickled(file: string): LowbitError {
  return new LowbitError("UNSUPPORTED", "is a pickled PyTorch file, which can run any code", {
    file,
    advice: "convert it to safetensors, for example with transformers' save_pretrained",
  });
}

const WEIGHTS = "model.safetensors";
const INDEX = "model.safetensors.index.json";

async function openFolder(folder: Folder, tools: Tools): Promise<Checkpoint> {
  const opened: ByteSource[] = [];
  const open = async (name: string) => {
    const source = await folder.open(name);
    opened.push(source);
    return source;
  };
  try {
    const names = await weightFiles(folder);
    if (names.length === 1 && /\.gguf$/i.test(names[0])) {
      return await openGguf(await open(names[0]), folder.name, tools);
    }
    if (!folder.names.includes("config.json")) {
      throw new LowbitError("NOT_FOUND", "config.json is missing", {
        file: folder.name,
        advice: "copy config.json of the model into the folder",
      });
    }
    const config = await readJsonObject(folder, "config.json");
    const files: SafetensorsFile[] = [];
    for (const name of names) {
      const source = await open(name);
      files.push({ ...await readSafetensors(source), source });
    }
    await checkIndex(folder, files);
    if (folder.names.includes(SIDE_FILE) && !names.includes(SIDE_FILE)) {
      const source = await open(SIDE_FILE);
      files.push({ ...await readSafetensors(source), source });
    }
    const all = [...opened, await open("config.json")];
    return await assemble(folder.name, files, config, await sidecars(folder), all, tools);
  } catch (error) {
    for (const source of opened) source.close();
    throw error;
  }
}

/** The files with weights, in order. */
async function weightFiles(folder: Folder): Promise<string[]> {
  const { names } = folder;
  if (names.includes(WEIGHTS)) return [WEIGHTS];
  if (names.includes(INDEX)) {
    return [...new Set((await weightMap(folder)).values())].sort(byCodeUnits);
  }
  const some = (pattern: RegExp) => names.filter((name) => pattern.test(name));
  const weights = some(/\.safetensors$/i).filter((name) => name !== SIDE_FILE);
  if (weights.length === 1) return weights;
  const file = folder.name;
  if (weights.length > 1) {
    throw new LowbitError("NOT_FOUND", `has several safetensors files, but no ${INDEX}`, { file });
  }
  const ggufs = some(/\.gguf$/i);
  if (ggufs.length === 1) return ggufs;
  if (ggufs.length > 1) {
    throw new LowbitError("CONFLICT", `has several GGUF files: ${ggufs.slice(0, 5).join(", ")}`, {
      file,
      advice: "open one of them by its name",
    });
  }
  const pickles = some(/\.(bin|pt|pth|ckpt)$/i);
  if (pickles.length > 0) throw pickled(`${file}/${pickles[0]}`);
  throw new LowbitError("NOT_FOUND", "has no weights: neither safetensors nor GGUF files", {
    file,
  });
}

/** The file of every tensor, as the index says. Names must be plain. */
async function weightMap(folder: Folder): Promise<Map<string, string>> {
  const file = `${folder.name}/${INDEX}`;
  const map = (await readJsonObject(folder, INDEX)).weight_map;
  if (typeof map !== "object" || map === null || Array.isArray(map)) {
    throw new LowbitError("MALFORMED", "is not an object", { file, field: "weight_map" });
  }
  const entries = Object.entries(map);
  if (entries.length === 0) {
    throw new LowbitError("MALFORMED", "names no tensor", { file, field: "weight_map" });
  }
  for (const [, shard] of entries) {
    if (typeof shard !== "string") {
      throw new LowbitError("MALFORMED", "must map names to file names", {
        file,
        field: "weight_map",
      });
    }
    checkPlainName(shard, file);
    if (!/\.safetensors$/i.test(shard)) {
      throw new LowbitError("MALFORMED", `${JSON.stringify(shard)} is not a safetensors file`, {
        file,
      });
    }
    if (!folder.names.includes(shard)) {
      throw new LowbitError("NOT_FOUND", `the shard ${JSON.stringify(shard)} is missing`, {
        file,
        advice: "download the whole checkpoint",
      });
    }
  }
  return new Map(entries);
}

/** Every tensor of the index must be in the shard that it names. */
async function checkIndex(folder: Folder, files: readonly SafetensorsFile[]): Promise<void> {
  if (folder.names.includes(WEIGHTS) || !folder.names.includes(INDEX)) return;
  const found = new Map(
    files.map((file) => [
      file.source.name.replace(/^.*[/\\]/, ""),
      new Set(file.tensors.map((tensor) => tensor.name)),
    ]),
  );
  for (const [name, shard] of await weightMap(folder)) {
    if (!found.get(shard)?.has(name)) {
      throw new LowbitError("MALFORMED", `is not in ${shard}, as the index says`, {
        file: `${folder.name}/${INDEX}`,
        field: name,
      });
    }
  }
}

/** Files of a model that are text and belong beside its weights. */
const SIDECARS =
  /^(tokenizer\.json|tokenizer_config\.json|special_tokens_map\.json|added_tokens\.json|vocab\.json|vocab\.txt|merges\.txt|generation_config\.json|chat_template\.(jinja|json)|preprocessor_config\.json)$/;

async function sidecars(folder: Folder): Promise<Map<string, string>> {
  const texts = new Map<string, string>();
  for (const name of folder.names) {
    if (SIDECARS.test(name)) texts.set(name, await readText(folder, name));
  }
  return texts;
}

/** A checkpoint from its safetensors files and settings; finds out the dialect. */
async function assemble(
  name: string,
  files: readonly SafetensorsFile[],
  config: Record<string, unknown>,
  texts: ReadonlyMap<string, string>,
  sources: readonly ByteSource[],
  tools: Tools,
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
  const quantized = await quantizedTensors(directory, config, `${name}/config.json`, tools);
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
