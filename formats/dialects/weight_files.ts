/**
 * The files of a folder that hold its weights, by the conventions of Hugging Face, and the texts that
 * belong beside them.
 *
 * @module
 */

import { LowbitError } from "../../spec/mod.ts";
import { byCodeUnits } from "../containers/json.ts";
import { checkPlainName, type Folder, readJsonObject, readText } from "./folder.ts";
import { onnxFile } from "./onnx_read.ts";
import { SIDE_FILE } from "./lowbit_metadata.ts";

/** What the weights of a folder are. */
export interface WeightFiles {
  /** Their container. */
  kind: "safetensors" | "torch" | "gguf" | "onnx";
  /** Their names, in order. */
  names: string[];
  /** The index that names them, if there is one. */
  index?: string;
}

/** The names that transformers gives to weights; with `.index.json` behind it, to their index. */
const CONVENTIONS = [
  { kind: "safetensors", weights: "model.safetensors", suffix: /\.safetensors$/i },
  { kind: "torch", weights: "pytorch_model.bin", suffix: /\.bin$/i },
] as const;

/** The files with weights, in order. Safetensors files come before pickled ones. */
export async function weightFiles(folder: Folder): Promise<WeightFiles> {
  const { names } = folder;
  for (const { kind, weights, suffix } of CONVENTIONS) {
    if (names.includes(weights)) return { kind, names: [weights] };
    const index = `${weights}.index.json`;
    if (!names.includes(index)) continue;
    const shards = new Set((await weightMap(folder, index, suffix)).values());
    return { kind, names: [...shards].sort(byCodeUnits), index };
  }
  const some = (pattern: RegExp) => names.filter((name) => pattern.test(name));
  const weights = some(/\.safetensors$/i).filter((name) => name !== SIDE_FILE);
  if (weights.length === 1) return { kind: "safetensors", names: weights };
  const file = folder.name;
  if (weights.length > 1) {
    throw new LowbitError(
      "NOT_FOUND",
      `has several safetensors files, but no model.safetensors.index.json`,
      { file },
    );
  }
  const ggufs = some(/\.gguf$/i);
  if (ggufs.length === 1) return { kind: "gguf", names: ggufs };
  if (ggufs.length > 1) {
    throw new LowbitError("CONFLICT", `has several GGUF files: ${ggufs.slice(0, 5).join(", ")}`, {
      file,
      advice: "open one of them by its name",
    });
  }
  const onnx = onnxFile(names, file);
  if (onnx !== undefined) return { kind: "onnx", names: [onnx] };
  const pickles = some(/\.(bin|pt|pth|ckpt)$/i);
  if (pickles.length > 0) return { kind: "torch", names: pickles.slice(0, 1) };
  throw new LowbitError("NOT_FOUND", "has no weights: neither safetensors nor GGUF files", {
    file,
  });
}

/** The file of every tensor, as the index says. Names must be plain. */
async function weightMap(
  folder: Folder,
  index: string,
  suffix: RegExp,
): Promise<Map<string, string>> {
  const file = `${folder.name}/${index}`;
  const map = (await readJsonObject(folder, index)).weight_map;
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
    if (!suffix.test(shard)) {
      throw new LowbitError("MALFORMED", `${JSON.stringify(shard)} is no file of weights`, {
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

/** A file of weights and the tensors in it. */
export interface Shard {
  /** Its name in the folder. */
  name: string;
  /** Its tensors. */
  tensors: readonly { name: string }[];
}

/** Every tensor of the index must be in the shard that it names. */
export async function checkIndex(
  folder: Folder,
  index: string | undefined,
  shards: readonly Shard[],
): Promise<void> {
  if (index === undefined) return;
  const found = new Map(
    shards.map(({ name, tensors }) => [name, new Set(tensors.map((tensor) => tensor.name))]),
  );
  for (const [name, shard] of await weightMap(folder, index, /./)) {
    if (!found.get(shard)?.has(name)) {
      throw new LowbitError("MALFORMED", `is not in ${shard}, as the index says`, {
        file: `${folder.name}/${index}`,
        field: name,
      });
    }
  }
}

/** Files of a model that are text and belong beside its weights. */
const SIDECARS =
  /^(tokenizer\.json|tokenizer_config\.json|special_tokens_map\.json|added_tokens\.json|vocab\.json|vocab\.txt|merges\.txt|generation_config\.json|chat_template\.(jinja|json)|preprocessor_config\.json)$/;

/** Their texts, by name. */
export async function sidecars(folder: Folder): Promise<Map<string, string>> {
  const texts = new Map<string, string>();
  for (const name of folder.names) {
    if (SIDECARS.test(name)) texts.set(name, await readText(folder, name));
  }
  return texts;
}
