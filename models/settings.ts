/**
 * Settings of a model in the other naming: config.json from GGUF metadata and the reverse, and the
 * files of the tokenizer wherever they are.
 *
 * @module
 */

import {
  type Checkpoint,
  type GgufValue,
  type Hyperparameter,
  LowbitError,
  type TokenizerFiles,
} from "../spec/mod.ts";
import type { ModelGraph } from "./architecture.ts";
import { specialIds, tokenizerFromGguf } from "./gguf_tokenizer.ts";
import { evaluateSize, ggufKey, keysOf, readHyperparameters } from "./hyperparameters.ts";
import { blockGraphs } from "./inherit.ts";

/**
 * The contents of config.json: those of the checkpoint, or made from the metadata of a GGUF file by
 * the keys of the architecture.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { embeddedPath } from "../embedded/mod.ts";
 * import { openCheckpoint } from "../formats/open.ts";
 * import { openModel } from "./architecture.ts";
 * import { huggingfaceConfig } from "./settings.ts";
 * const checkpoint = await openCheckpoint(embeddedPath("model"));
 * assertEquals(huggingfaceConfig(openModel(checkpoint)).hidden_size, 256);
 * checkpoint.close();
 * ```
 */
export function huggingfaceConfig(model: ModelGraph): Record<string, unknown> {
  const { architecture, hyperparameters, checkpoint } = model;
  if (checkpoint.naming === "huggingface") return structuredClone(checkpoint.config);
  const result: Record<string, unknown> = structuredClone(
    architecture.constants?.huggingface ?? {},
  );
  for (const [name, entry] of Object.entries(architecture.hyperparameters)) {
    const [key] = keysOf(entry, "huggingface");
    const value = hyperparameters[name];
    if (key === undefined || isLeftOut(entry, value)) continue;
    result[key] = entry.type === "boolean" ? value === 1 : value;
  }
  return { ...result, ...specialIds(checkpoint.gguf ?? new Map()) };
}

/**
 * The metadata of a GGUF file that describe the model (not its tokenizer), in the order in which they
 * are written.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { embeddedPath } from "../embedded/mod.ts";
 * import { openCheckpoint } from "../formats/open.ts";
 * import { openModel } from "./architecture.ts";
 * import { ggufMetadata } from "./settings.ts";
 * const checkpoint = await openCheckpoint(embeddedPath("model"));
 * const metadata = ggufMetadata(openModel(checkpoint));
 * assertEquals(metadata.get("llama.block_count"), { type: "uint32", value: 4 });
 * checkpoint.close();
 * ```
 */
export function ggufMetadata(model: ModelGraph): Map<string, GgufValue> {
  const { architecture, hyperparameters } = model;
  const result = new Map<string, GgufValue>();
  for (const [key, value] of Object.entries(architecture.constants?.gguf ?? {})) {
    result.set(key, constant(value));
  }
  const prefix = String(result.get("general.architecture")?.value ?? architecture.match.gguf[0]);
  for (const [name, entry] of Object.entries(architecture.hyperparameters)) {
    const [key] = keysOf(entry, "gguf");
    if (key === undefined || isLeftOut(entry, hyperparameters[name])) continue;
    result.set(ggufKey(key, prefix), typed(entry, hyperparameters[name]));
  }
  for (const { gguf, equals } of architecture.requires) {
    if (gguf === undefined || equals === undefined) continue;
    const value = evaluateSize(equals, hyperparameters);
    result.set(ggufKey(gguf, prefix), { type: "uint32", value });
  }
  return result;
}

/**
 * What GGUF has no place for, of the settings of a model with these tensors: names of hyperparameters
 * and flags that would be read back as something else.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { embeddedPath } from "../embedded/mod.ts";
 * import { openCheckpoint } from "../formats/open.ts";
 * import { openModel } from "./architecture.ts";
 * import { lostInGguf } from "./settings.ts";
 * const checkpoint = await openCheckpoint(embeddedPath("model"));
 * assertEquals(lostInGguf(openModel(checkpoint)), []);
 * checkpoint.close();
 * ```
 */
export function lostInGguf(model: ModelGraph): string[] {
  const { architecture, hyperparameters, parameters, blocks, checkpoint } = model;
  const config = Object.fromEntries(
    [...ggufMetadata(model)].map(([key, { value }]) => [key, value]),
  );
  const tensors = new Map(parameters.map(({ names }) => [names.gguf, undefined as never]));
  const settings = { name: checkpoint.name, naming: "gguf" as const, config, tensors };
  const again = readHyperparameters(architecture, settings);
  const used = usedNames(model);
  const lost = Object.entries(again).filter(([name, value]) => {
    const own = hyperparameters[name];
    return used.has(name) && Math.abs(value - own) > 1e-6 * Math.abs(own);
  });
  const graphs = blockGraphs(architecture, again, settings);
  const flags = graphs.some(({ nodes }, i) =>
    nodes.length !== blocks[i].nodes.length ||
    nodes.some((node, j) =>
      node.out !== blocks[i].nodes[j].out || node.op !== blocks[i].nodes[j].op ||
      JSON.stringify(node) !== JSON.stringify(blocks[i].nodes[j])
    )
  );
  return [...lost.map(([name]) => name), ...(flags ? ["the kinds of blocks"] : [])];
}

/** Names of hyperparameters that the operations of a model speak of. */
function usedNames({ blocks, architecture: { graph } }: ModelGraph): Set<string> {
  const nodes = [...graph.before, ...new Set(blocks.flatMap(({ nodes }) => nodes)), ...graph.after];
  const text = JSON.stringify(nodes.map(({ when: _, ...node }) => node));
  const implied = ["heads", "kv_heads", "head_size", "epsilon", "theta"];
  return new Set([...text.matchAll(/[a-z][a-z0-9_]*/g).map(([name]) => name), ...implied]);
}

function isLeftOut({ optional, default: usual }: Hyperparameter, value: number): boolean {
  return optional === true && value === usual;
}

/** A constant with the type that GGUF readers expect of it. */
function constant(value: string | number | boolean): GgufValue {
  if (typeof value === "string") return { type: "string", value };
  if (typeof value === "boolean") return { type: "bool", value };
  return Number.isInteger(value) ? { type: "uint32", value } : { type: "float32", value };
}

function typed({ type }: Hyperparameter, value: number): GgufValue {
  if (type === "number") return { type: "float32", value: Math.fround(value) };
  if (type === "boolean") return { type: "bool", value: value === 1 };
  return { type: "uint32", value };
}

/**
 * The files of the tokenizer of a checkpoint: from its directory, or made from GGUF metadata.
 * Undefined where there is none. A {@linkcode LowbitError}: `MALFORMED` for files that are not JSON,
 * and what `tokenizerFromGguf` throws.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { embeddedPath } from "../embedded/mod.ts";
 * import { openCheckpoint } from "../formats/open.ts";
 * import { tokenizerFiles } from "./settings.ts";
 * import { createTokenizer } from "./tokenizer.ts";
 * const checkpoint = await openCheckpoint(embeddedPath("model"));
 * assertEquals(createTokenizer(tokenizerFiles(checkpoint)!).vocabulary, 2048);
 * checkpoint.close();
 * ```
 */
export function tokenizerFiles(checkpoint: Checkpoint): TokenizerFiles | undefined {
  if (checkpoint.naming === "gguf") {
    const { gguf, name } = checkpoint;
    const kind = gguf?.get("tokenizer.ggml.model")?.value ?? "none";
    return kind === "none" ? undefined : tokenizerFromGguf(gguf!, name);
  }
  const tokenizer = json(checkpoint, "tokenizer.json");
  const pieces = tokenizer ? undefined : pieceTokenizer(checkpoint);
  if (tokenizer === undefined && pieces === undefined) return undefined;
  const config = { ...pieces?.config, ...json(checkpoint, "tokenizer_config.json") };
  const template = checkpoint.sidecars.get("chat_template.jinja");
  return {
    tokenizer: tokenizer ?? pieces!.tokenizer,
    config: template === undefined ? config : { ...config, chat_template: template },
  };
}

/** The tokenizer of a SentencePiece model, with the tokens that were added to it. */
function pieceTokenizer(checkpoint: Checkpoint): TokenizerFiles | undefined {
  if (!checkpoint.pieces) return undefined;
  const { tokenizer, config } = tokenizerFromGguf(checkpoint.pieces, checkpoint.name);
  const more = Object.entries(json(checkpoint, "added_tokens.json") ?? {});
  const added = more.map(([content, id]) => ({ id, content, special: false, normalized: false }));
  const known = tokenizer.added_tokens as unknown[];
  return {
    tokenizer: { ...tokenizer, added_tokens: [...known, ...added] },
    config: { add_bos_token: true, add_eos_token: false, ...config },
  };
}

function json({ sidecars, name }: Checkpoint, file: string): Record<string, unknown> | undefined {
  const text = sidecars.get(file);
  if (text === undefined) return undefined;
  let problem = "must be an object";
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) {
      return value as Record<string, unknown>;
    }
  } catch (error) {
    problem = (error as Error).message;
  }
  throw new LowbitError("MALFORMED", problem, { file: name, field: file });
}
