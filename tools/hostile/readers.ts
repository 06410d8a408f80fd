/**
 * Every reader of files that nobody has checked, as one function of bytes: for the hostile corpus and
 * for the fuzzer.
 *
 * @module
 */

import { readUserFormats } from "../../formats/user_formats.ts";
import { openCheckpoint } from "../../formats/open.ts";
import { memorySource } from "../../formats/containers/source.ts";
import { parseReceipt } from "../../engine/verify.ts";
import { openModel } from "../../models/architecture.ts";
import { tokenizerFiles } from "../../models/settings.ts";
import { createTokenizer } from "../../models/tokenizer.ts";
import { type Checkpoint, LowbitError } from "../../spec/mod.ts";
import { parseRecipe } from "../../workbench.ts";

/** The files of a case, by name. */
export type Files = ReadonlyMap<string, Uint8Array>;

/** Tensors that are read whole. */
const READ_BELOW = 1 << 16;

function open(files: Files): Promise<Checkpoint> {
  const sources = [...files].map(([name, bytes]) => memorySource(name, bytes));
  return openCheckpoint(sources, { pickleTensors: true });
}

/** Reads all tensors; what was found. */
async function tensors(files: Files): Promise<string> {
  const checkpoint = await open(files);
  const found: string[] = [];
  for (const [name, tensor] of checkpoint.tensors) {
    let first = "";
    const elements = tensor.shape.reduce((a, b) => a * b, 1);
    if (tensor.storage.kind !== "foreign" && tensor.bytes < READ_BELOW && elements < READ_BELOW) {
      const values = await tensor.read();
      if (values.length !== elements) throw new Error(`${name} has ${values.length} values`);
      first = `=${values[0]}`;
    }
    found.push(`${name}[${tensor.shape}]${first}`);
  }
  return found.join(" ");
}

async function settings(files: Files): Promise<string> {
  const graph = openModel(await open(files));
  return `${graph.architecture.id} of ${graph.parameters.length}`;
}

async function tokenizer(files: Files): Promise<string> {
  const found = tokenizerFiles(await open(files));
  if (!found) return "none";
  const made = createTokenizer(found);
  return made.decode(made.encode("the word")) === "the word" ? "fine" : "reads";
}

const text = (files: Files): string => {
  const [bytes] = files.values();
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new LowbitError("MALFORMED", "is not valid UTF-8");
  }
};

/** The readers, by name. */
export const READERS: Readonly<Record<string, (files: Files) => string | Promise<string>>> = {
  safetensors: tensors,
  gguf: tensors,
  onnx: tensors,
  npy: tensors,
  npz: tensors,
  pickle: tensors,
  index: tensors,
  packed: tensors,
  config: settings,
  tokenizer,
  gguf_tokenizer: tokenizer,
  recipe: (files) => parseRecipe(text(files), "recipe.yaml").name,
  receipt: (files) => parseReceipt(text(files), "receipt.json").recipe.name,
  format: (files) => {
    const found = readUserFormats([{ file: "format.yaml", text: text(files) }]);
    return Object.keys(found).length > 0 ? "fine" : "none";
  },
};

/** What became of a case: what was read, or the line of the error; other errors are thrown. */
export async function outcome(reader: string, files: Files): Promise<string> {
  try {
    return await READERS[reader](files);
  } catch (error) {
    if (error instanceof LowbitError) return error.line();
    throw error;
  }
}
