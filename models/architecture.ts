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
  type Node,
} from "../spec/mod.ts";
import { ARCHITECTURES } from "./catalog.ts";
import {
  checkRequirements,
  evaluateSize,
  readHyperparameters,
  setting,
  type Settings,
} from "./hyperparameters.ts";
import { type BlockGraph, blockGraphs, inherit, specialize } from "./inherit.ts";
import { extendArchitecture } from "./online.ts";
import {
  type ParameterInfo,
  presentParameters,
  withoutMissing,
  withOwnNames,
  withPrefix,
  withRope,
} from "./parameters.ts";
import { linearsOf } from "./values.ts";
import { fileShape } from "./views.ts";

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
  /** What each block has of the operations and edges. */
  readonly blocks: readonly BlockGraph[];
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
  catalog ??= ARCHITECTURES.map((document) =>
    architectureSchema.parse(inherit(document, ARCHITECTURES))
  );
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
  const named = among.filter((architecture) => architecture.match[naming].includes(value));
  const has = ({ match: { gguf_has: key } }: Architecture) =>
    naming === "gguf" && key !== undefined && Number(setting(settings, key) ?? 0) > 0;
  const found = named.find(has) ?? named.find(({ match }) => !match.gguf_has || naming !== "gguf");
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
  source: Checkpoint,
  among: readonly Architecture[] = architectures(),
): ModelGraph {
  const whole = withPrefix(findArchitecture(source, among), source);
  const found = readHyperparameters(whole, source);
  checkHeads(whole, found, source.name);
  const read = withRope(whole, found, source);
  const special = extendArchitecture(specialize(whole, read), source.transforms ?? []);
  const checkpoint = withOwnNames(source, special, read, blockGraphs(special, read, source));
  checkRequirements(special, checkpoint, read);
  const first = blockGraphs(special, read, checkpoint);
  const all = presentParameters(special, read, first, checkpoint);
  const names = new Set(all.map(({ name }) => name));
  const block = withoutMissing(special.graph.block, names, read);
  const used = block.filter((node) => first.some(({ has }) => has(node)));
  const architecture = { ...special, graph: { ...special.graph, block: used } };
  const blocks = blockGraphs(architecture, read, checkpoint);
  const tied = findTies(architecture, read, checkpoint);
  const hyperparameters = "tied" in read ? { ...read, tied: tied.size > 0 ? 1 : 0 } : read;
  const parameters = all.filter(({ id }) => !tied.has(id));
  checkTensors(checkpoint, architecture, all, parameters);
  const linears = listLinears(architecture, all, read);
  return { architecture, hyperparameters, checkpoint, parameters, linears, tied, blocks };
}

/** The linears among the parameters, in the order of the graph. */
function listLinears(
  { graph: { before, block, after } }: Architecture,
  parameters: readonly ParameterInfo[],
  hyperparameters: Hyperparameters,
): LinearInfo[] {
  const inputs = new Map<string, string>();
  for (const node of [...before, ...block, ...after]) {
    for (const { weight, input } of linearsOf(node, hyperparameters)) inputs.set(weight, input);
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
  const halves = architecture.graph.block.some((n) => n.op === "rope" && !n.rotary && !n.size);
  if (halves && head_size % 2 !== 0) {
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
    if (parameter.made && !tensor) continue;
    const plain = tensor?.storage.kind === "plain";
    const shape = fileShape(parameter.shape, parameter.views[naming], plain);
    const wanted = `[${shape.join(", ")}]`;
    if (tensor === undefined) {
      problems.push({ code: "NOT_FOUND", field, problem: `is missing; its shape is ${wanted}` });
    } else if (tensor.shape.join() !== shape.join()) {
      const problem = `has the shape [${tensor.shape.join(", ")}], expected ${wanted}`;
      problems.push({ code: "SHAPE", field, problem });
    }
  }
  const known = new Set(all.map((parameter) => parameter.names[naming]));
  const ignored = (architecture.ignored ?? []).map(pattern);
  for (const field of tensors.keys()) {
    if (known.has(field) || BESIDE.test(field) || ignored.some((regex) => regex.test(field))) {
      continue;
    }
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

/** What quantised checkpoints keep beside the weights: scales of caches, and of inputs and outputs. */
const BESIDE = /\.([kv]_scale|(input|output|weight)_global_scale|[qkv]_(scale|zero_point))$/;

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
 * The id of a parameter of a block by its name in the graph, or of one outside the blocks.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { embeddedPath } from "../embedded/mod.ts";
 * import { openCheckpoint } from "../formats/open.ts";
 * import { openModel, parameterId } from "./architecture.ts";
 * const checkpoint = await openCheckpoint(embeddedPath("model"));
 * assertEquals(parameterId(openModel(checkpoint), "mlp.up", 3), "blocks.3.mlp.up");
 * checkpoint.close();
 * ```
 */
export function parameterId(model: ModelGraph, name: string, block?: number): string {
  const inside = `blocks.${block}.${name}`;
  return model.parameters.some(({ id }) => id === inside) ? inside : name;
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

/**
 * Channels of the keys and of the values that a block remembers of each token.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { embeddedPath } from "../embedded/mod.ts";
 * import { openCheckpoint } from "../formats/open.ts";
 * import { memoryWidths, openModel } from "./architecture.ts";
 * const checkpoint = await openCheckpoint(embeddedPath("model"));
 * assertEquals(memoryWidths(openModel(checkpoint), 0), [128, 128]);
 * checkpoint.close();
 * ```
 */
export function memoryWidths(
  { blocks, hyperparameters }: ModelGraph,
  block: number,
): [keys: number, values: number] {
  const node = blocks[block].nodes.find((node) => node.op === "attention");
  if (node === undefined) return [1, 1];
  const { key_size = "head_size", value_size = key_size } = node;
  const width = (size: string) => hyperparameters.kv_heads * evaluateSize(size, hyperparameters);
  return [width(key_size), width(value_size)];
}

/**
 * Throws `UNSUPPORTED` for a model that does not predict tokens.
 *
 * @example
 * ```ts
 * import { embeddedPath } from "../embedded/mod.ts";
 * import { openCheckpoint } from "../formats/open.ts";
 * import { checkPredicts, openModel } from "./architecture.ts";
 * const checkpoint = await openCheckpoint(embeddedPath("model"));
 * checkPredicts(openModel(checkpoint)); // it does
 * checkpoint.close();
 * ```
 */
export function checkPredicts({ architecture, checkpoint }: ModelGraph): void {
  if (architecture.result !== "output") return;
  throw new LowbitError("UNSUPPORTED", `${architecture.id} is an encoder and predicts no tokens`, {
    file: checkpoint.name,
    advice: "encoders can be quantised and run, but not generate or be scored on a text",
  });
}
