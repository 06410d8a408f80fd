/**
 * From a checkpoint to a model graph: which architecture it is, its numbers, its parameters with
 * shapes and tensors, its linears. Everything is checked from headers, before a tensor is read.
 *
 * @module
 */

import {
  type Architecture,
  architectureSchema,
  type Checkpoint,
  type ErrorCode,
  type Hyperparameters,
  type LinearInfo,
  LowbitError,
  type Naming,
  type Node,
  type Parameter,
} from "../spec/mod.ts";
import { ARCHITECTURES } from "./catalog.ts";
import {
  checkRequirements,
  evaluateSize,
  readHyperparameters,
  type Settings,
} from "./hyperparameters.ts";
import { extendArchitecture } from "./online.ts";

/** One parameter of one model. */
export interface ParameterInfo {
  /** `blocks.3.attention.query`, or `embedding`. */
  id: string;
  /** Its name in the graph: `attention.query`. */
  name: string;
  /** The block's number; absent outside the blocks. */
  block?: number;
  /** Its shape; a linear is `[out, in]`. */
  shape: number[];
  /** The name of its tensor in each naming. */
  names: Readonly<Record<Naming, string>>;
  /** Where GGUF interleaves the halves of rotary heads in its rows: the number of heads. */
  ropeHeads?: number;
}

/** A model as data: what it is made of, and in which checkpoint its tensors are. */
export interface ModelGraph {
  /** The architecture. */
  readonly architecture: Architecture;
  /** Its numbers. */
  readonly hyperparameters: Hyperparameters;
  /** The checkpoint. */
  readonly checkpoint: Checkpoint;
  /** Stored parameters in the order of the graph; those that are tied to another are not here. */
  readonly parameters: readonly ParameterInfo[];
  /** Linears in the order of the graph, the head included, also where it is tied. */
  readonly linears: readonly LinearInfo[];
  /** Parameters that are another one: `head` to `embedding`. */
  readonly tied: ReadonlyMap<string, string>;
}

let catalog: readonly Architecture[] | undefined;

/**
 * The architectures of the catalog, each checked once.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { architectures } from "./architecture.ts";
 * const llama = architectures().find(({ id }) => id === "llama")!;
 * assertEquals(llama.match.huggingface, ["llama", "mistral"]);
 * ```
 */
export function architectures(): readonly Architecture[] {
  catalog ??= ARCHITECTURES.map((document) => architectureSchema.parse(document));
  return catalog;
}

/**
 * The architecture of a checkpoint, by `model_type` of config.json or `general.architecture` of
 * GGUF. A {@linkcode LowbitError}: `SCHEMA` where that is missing, `UNSUPPORTED` where it is unknown.
 *
 * @example
 * ```ts
 * import { findArchitecture } from "./architecture.ts";
 * const config = { model_type: "llama" };
 * findArchitecture({ name: "model", naming: "huggingface", config }).id; // "llama"
 * ```
 */
export function findArchitecture(
  settings: Settings,
  among: readonly Architecture[] = architectures(),
): Architecture {
  const { naming, config, name: file } = settings;
  const field = naming === "gguf" ? "general.architecture" : "model_type";
  const value = Object.hasOwn(config, field) ? config[field] : undefined;
  if (typeof value !== "string") {
    const place = naming === "gguf" ? "the metadata" : "config.json";
    throw new LowbitError("SCHEMA", `is missing from ${place}`, {
      file,
      field,
      advice: naming === "gguf"
        ? "the file does not say what model it is"
        : "a model needs its config.json beside the weights",
    });
  }
  const found = among.find((architecture) => architecture.match[naming].includes(value));
  if (found !== undefined) return found;
  const known = among.flatMap((architecture) => architecture.match[naming]);
  throw new LowbitError("UNSUPPORTED", `${JSON.stringify(value)} is not a known architecture`, {
    file,
    field,
    advice: `known: ${known.join(", ")}`,
  });
}

/**
 * Everything about the model in a checkpoint, from headers alone.
 *
 * A {@linkcode LowbitError}: what {@linkcode findArchitecture} and
 * {@linkcode readHyperparameters} throw, `UNSUPPORTED` for settings or tensors that the architecture
 * does not cover, `NOT_FOUND` and `SHAPE` for tensors that are missing or have other shapes. All
 * problems of one kind are in one error.
 *
 * @example
 * ```ts
 * import type { Checkpoint } from "../spec/mod.ts";
 * import { openModel } from "./architecture.ts";
 *
 * function describe(checkpoint: Checkpoint): string {
 *   const { architecture, hyperparameters, linears } = openModel(checkpoint);
 *   return `${architecture.id}: ${hyperparameters.blocks} blocks, ${linears.length} linears`;
 * }
 * ```
 */
export function openModel(
  checkpoint: Checkpoint,
  among: readonly Architecture[] = architectures(),
): ModelGraph {
  const architecture = extendArchitecture(
    findArchitecture(checkpoint, among),
    checkpoint.transforms ?? [],
  );
  const read = readHyperparameters(architecture, checkpoint);
  checkRequirements(architecture, checkpoint, read);
  checkHeads(architecture, read, checkpoint.name);
  const all = listParameters(architecture, read);
  const tied = findTies(architecture, read, checkpoint);
  const hyperparameters = "tied" in read ? { ...read, tied: tied.size > 0 ? 1 : 0 } : read;
  const parameters = all.filter(({ id }) => !tied.has(id));
  checkTensors(checkpoint, architecture, all, parameters);
  const linears = listLinears(architecture, all);
  return { architecture, hyperparameters, checkpoint, parameters, linears, tied };
}

/**
 * Every parameter of a model, tied ones included, in the order of the graph.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { embeddedPath } from "../embedded/mod.ts";
 * import { openCheckpoint } from "../formats/open.ts";
 * import { listParameters, openModel } from "./architecture.ts";
 * const checkpoint = await openCheckpoint(embeddedPath("model"));
 * const { architecture, hyperparameters } = openModel(checkpoint);
 * const [embedding, norm] = listParameters(architecture, hyperparameters);
 * assertEquals([embedding.id, norm.id], ["embedding", "blocks.0.attention.norm"]);
 * checkpoint.close();
 * ```
 */
export function listParameters(
  architecture: Architecture,
  hyperparameters: Hyperparameters,
): ParameterInfo[] {
  const { parameters, block_parameters, graph } = architecture;
  const weights = new Set(graph.before.map((node) => "weight" in node ? node.weight : undefined));
  const info = (parameter: Parameter, block?: number): ParameterInfo => {
    const { name, huggingface, gguf, gguf_rope_heads } = parameter;
    const tensor = (template: string) => template.replaceAll("{i}", String(block));
    return {
      id: block === undefined ? name : `blocks.${block}.${name}`,
      name,
      ...(block === undefined ? {} : { block }),
      shape: parameter.shape.map((size) => evaluateSize(size, hyperparameters)),
      names: { huggingface: tensor(huggingface), gguf: tensor(gguf) },
      ...(gguf_rope_heads === undefined
        ? {}
        : { ropeHeads: evaluateSize(gguf_rope_heads, hyperparameters) }),
    };
  };
  const blocks = Array.from(
    { length: hyperparameters.blocks },
    (_, block) => block_parameters.map((parameter) => info(parameter, block)),
  );
  return [
    ...parameters.filter(({ name }) => weights.has(name)).map((parameter) => info(parameter)),
    ...blocks.flat(),
    ...parameters.filter(({ name }) => !weights.has(name)).map((parameter) => info(parameter)),
  ];
}

/** The linears among the parameters, in the order of the graph. */
function listLinears(
  architecture: Architecture,
  parameters: readonly ParameterInfo[],
): LinearInfo[] {
  const { before, block, after } = architecture.graph;
  const inputs = new Map<string, string>();
  for (const node of [...before, ...block, ...after]) {
    if (node.op === "linear") inputs.set(node.weight, node.in);
  }
  return parameters.filter(({ name }) => inputs.has(name)).map((parameter) => ({
    id: parameter.id,
    role: parameter.name,
    ...(parameter.block === undefined ? {} : { block: parameter.block }),
    rows: parameter.shape[0],
    columns: parameter.shape[1],
    input: inputs.get(parameter.name)!,
  }));
}

/** What the kernels ask of heads, where the graph has operations that split them. */
function checkHeads(architecture: Architecture, hyper: Hyperparameters, file: string): void {
  const ops = new Set<Node["op"]>(architecture.graph.block.map((node) => node.op));
  const { heads, kv_heads, head_size } = hyper;
  if (ops.has("attention") && heads % kv_heads !== 0) {
    throw new LowbitError("SHAPE", `${heads} are not a multiple of ${kv_heads} key/value heads`, {
      file,
      field: "heads",
    });
  }
  if (ops.has("rope") && head_size % 2 !== 0) {
    throw new LowbitError("SHAPE", `is ${head_size}, but rotary positions need an even size`, {
      file,
      field: "head_size",
    });
  }
}

function findTies(
  architecture: Architecture,
  hyperparameters: Hyperparameters,
  { naming, tensors }: Checkpoint,
): Map<string, string> {
  const ties = new Map<string, string>();
  for (const { name, tied_to, gguf } of architecture.parameters) {
    if (tied_to === undefined) continue;
    const tied = naming === "gguf" ? !tensors.has(gguf) : hyperparameters.tied === 1;
    if (tied) ties.set(name, tied_to);
  }
  return ties;
}

/** Holds the tensors of a checkpoint against the parameters: there, of the right shape, no others. */
function checkTensors(
  checkpoint: Checkpoint,
  architecture: Architecture,
  all: readonly ParameterInfo[],
  stored: readonly ParameterInfo[],
): void {
  const { tensors, naming, name: file } = checkpoint;
  const problems: { code: ErrorCode; field: string; problem: string }[] = [];
  for (const parameter of stored) {
    const field = parameter.names[naming];
    const tensor = tensors.get(field);
    const wanted = `[${parameter.shape.join(", ")}]`;
    if (tensor === undefined) {
      problems.push({ code: "NOT_FOUND", field, problem: `is missing; its shape is ${wanted}` });
    } else if (tensor.shape.join() !== parameter.shape.join()) {
      const problem = `has the shape [${tensor.shape.join(", ")}], expected ${wanted}`;
      problems.push({ code: "SHAPE", field, problem });
    }
  }
  const known = new Set(all.map((parameter) => parameter.names[naming]));
  const ignored = (architecture.ignored ?? []).map(pattern);
  for (const field of tensors.keys()) {
    if (known.has(field) || ignored.some((regex) => regex.test(field))) continue;
    const problem = `is a tensor that architecture ${architecture.id} does not have`;
    problems.push({ code: "UNSUPPORTED", field, problem });
  }
  if (problems.length === 0) return;
  const [first, ...rest] = problems;
  const others = rest.slice(0, 4).map(({ field, problem }) => `; also ${field} ${problem}`);
  const more = rest.length > 4 ? ` (and ${rest.length - 4} more)` : "";
  throw new LowbitError(first.code, first.problem + others.join("") + more, {
    file,
    field: first.field,
    advice: "check that the checkpoint is complete and matches its settings",
  });
}

function pattern(glob: string): RegExp {
  const escaped = glob.split("*").map((part) => part.replace(/[\\^$.+?()[\]{}|]/g, "\\$&"));
  return new RegExp(`^${escaped.join(".*")}$`);
}

/**
 * The parameter with an id, or the one that it is tied to. `UNKNOWN_NAME` if there is none.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { embeddedPath } from "../embedded/mod.ts";
 * import { openCheckpoint } from "../formats/open.ts";
 * import { openModel, parameterOf } from "./architecture.ts";
 * const checkpoint = await openCheckpoint(embeddedPath("model"));
 * const { names, shape } = parameterOf(openModel(checkpoint), "blocks.3.mlp.up");
 * assertEquals(shape, [640, 256]);
 * assertEquals(names.gguf, "blk.3.ffn_up.weight");
 * checkpoint.close();
 * ```
 */
export function parameterOf(model: ModelGraph, id: string): ParameterInfo {
  const target = model.tied.get(id) ?? id;
  const found = model.parameters.find((parameter) => parameter.id === target);
  if (found !== undefined) return found;
  throw new LowbitError("UNKNOWN_NAME", `unknown parameter ${JSON.stringify(id)}`, {
    file: model.checkpoint.name,
  });
}

/**
 * The linear with an id. `UNKNOWN_NAME` if there is none.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { embeddedPath } from "../embedded/mod.ts";
 * import { openCheckpoint } from "../formats/open.ts";
 * import { linearOf, openModel } from "./architecture.ts";
 * const checkpoint = await openCheckpoint(embeddedPath("model"));
 * const { role, rows, input } = linearOf(openModel(checkpoint), "blocks.3.attention.key");
 * assertEquals([role, rows, input], ["attention.key", 128, "attention.input"]);
 * checkpoint.close();
 * ```
 */
export function linearOf(model: ModelGraph, id: string): LinearInfo {
  const found = model.linears.find((linear) => linear.id === id);
  if (found !== undefined) return found;
  throw new LowbitError("UNKNOWN_NAME", `unknown linear ${JSON.stringify(id)}`, {
    file: model.checkpoint.name,
  });
}
