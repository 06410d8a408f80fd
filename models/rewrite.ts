/**
 * Transforms of a whole model: a checkpoint whose tensors are changed as they are read, so that
 * everything else works on it as on any other, one tensor in memory at a time.
 *
 * @module
 */

import {
  type Checkpoint,
  checkRotation,
  LowbitError,
  type ModelOp,
  type Node,
  type OnlineTransform,
  type Rotation,
  type StoredTensor,
} from "../spec/mod.ts";
import type { ModelGraph } from "./architecture.ts";
import { filledTensor, type Fold, foldedTensor } from "./folded.ts";
import { keysOf } from "./hyperparameters.ts";
import { biasName, extendArchitecture } from "./online.ts";
import { listParameters, type ParameterInfo } from "./parameters.ts";
import { streamParameters } from "./stream.ts";
import { inputsOf, linearsOf, valuesBetween } from "./values.ts";
import { graphTensor, storedTensor } from "./views.ts";

/** A list of operations, and who asked for it. */
export interface ModelChange {
  /** The name of the plugin, for errors. */
  plugin: string;
  /** The operations. */
  ops: readonly ModelOp[];
}

/**
 * The checkpoint of a model after operations on the whole of it. Nothing is read; tensors that are
 * changed become f32. `PLUGIN` for operations that do not fit the model or each other.
 *
 * @example
 * ```ts
 * import { assert, assertEquals } from "@std/assert";
 * import { embeddedPath } from "../embedded/mod.ts";
 * import { openCheckpoint } from "../formats/open.ts";
 * import { openModel } from "./architecture.ts";
 * import { rewriteCheckpoint } from "./rewrite.ts";
 * const checkpoint = await openCheckpoint(embeddedPath("model"));
 * const rewritten = rewriteCheckpoint(openModel(checkpoint), [{
 *   plugin: "example",
 *   ops: [{ op: "untie" }, { op: "fuse_norms" }, { op: "bias", values: ["query"] }],
 * }]);
 * const model = openModel(rewritten);
 * assertEquals(model.tied.size, 0);
 * assert(model.parameters.some(({ id }) => id === "blocks.0.query.bias"));
 * checkpoint.close();
 * ```
 */
export function rewriteCheckpoint(
  model: ModelGraph,
  changes: readonly ModelChange[],
): Checkpoint {
  const rewriter = new Rewriter(model);
  for (const { plugin, ops } of changes) {
    for (const op of ops) {
      try {
        rewriter.apply(op);
      } catch (error) {
        if (!(error instanceof LowbitError) || error.file !== undefined) throw error;
        throw new LowbitError(error.code, `${op.op} ${error.problem}`, {
          file: plugin,
          advice: error.advice,
        });
      }
    }
  }
  return rewriter.checkpoint();
}

class Rewriter {
  readonly #model: ModelGraph;
  readonly #transforms: OnlineTransform[];
  /** The parameters of the model as it is now, by id; those that are tied included. */
  readonly #parameters = new Map<string, ParameterInfo>();
  readonly #tied: Map<string, string>;
  readonly #folds = new Map<string, Fold[]>();
  /** Parameters that are one value everywhere. */
  readonly #filled = new Map<string, number>();

  constructor(model: ModelGraph) {
    this.#model = model;
    this.#transforms = [...model.checkpoint.transforms ?? []];
    this.#tied = new Map(model.tied);
    this.#list();
  }

  apply(op: ModelOp): void {
    switch (op.op) {
      case "untie":
        return this.#tied.clear();
      case "fuse_norms":
        return this.#fuseNorms();
      case "rotate":
        return op.edge === undefined
          ? this.#rotateStream(op.rotation)
          : this.#rotateHeads(op.edge, op.rotation);
      case "hadamard":
        return this.#hadamard(op.values, op.size);
      case "bias":
        return this.#bias(op.values);
    }
  }

  /** The result. */
  checkpoint(): Checkpoint {
    const { checkpoint, architecture, tied } = this.#model;
    const tensors = new Map<string, StoredTensor>();
    for (const [id, { names }] of this.#parameters) {
      if (!this.#tied.has(id)) this.#put(tensors, id, names[checkpoint.naming]);
    }
    const config = { ...checkpoint.config };
    if (tied.size > 0 && this.#tied.size === 0 && checkpoint.naming === "huggingface") {
      for (const key of keysOf(architecture.hyperparameters.tied, "huggingface")) {
        config[key] = false;
      }
    }
    const { name, kind, naming, files, sidecars, gguf, activations } = checkpoint;
    return {
      ...{ name, kind, naming, config, tensors, files, sidecars },
      ...(gguf && { gguf }),
      ...(activations && { activations }),
      transforms: this.#transforms,
      close: () => checkpoint.close(),
    };
  }

  #architecture() {
    const { architecture, checkpoint: { transforms = [] } } = this.#model;
    return extendArchitecture(architecture, this.#transforms.slice(transforms.length));
  }

  #list(): void {
    const { hyperparameters, blocks, parameters, tied } = this.#model;
    const had = new Set([...parameters.map(({ id }) => id), ...tied.keys()]);
    const first = this.#parameters.size === 0;
    for (const parameter of listParameters(this.#architecture(), hyperparameters, blocks)) {
      const made = parameters.find(({ id }) => id === parameter.id);
      const bias = this.#transforms.some(({ op, value }) =>
        op === "bias" && biasName(value) === parameter.name
      );
      if (first ? had.has(parameter.id) : bias) {
        this.#parameters.set(parameter.id, made ?? parameter);
      }
    }
  }

  #tensor(id: string): StoredTensor {
    const { names, shape } = this.#parameters.get(id)!;
    const name = names[this.#model.checkpoint.naming];
    const filled = this.#filled.get(id);
    const folds = this.#folds.get(id) ?? [];
    if (filled !== undefined) {
      const base = filledTensor(name, shape, filled);
      return folds.length > 0 ? foldedTensor(name, base, folds) : base;
    }
    const base = this.#stored(id);
    const own = base.name === name && folds.length === 0;
    return own ? base : foldedTensor(name, base, folds);
  }

  /** Adds the tensor of a parameter; one that holds several is left as it is, or refused. */
  #put(tensors: Map<string, StoredTensor>, id: string, name: string): void {
    const { checkpoint, parameters } = this.#model;
    const { views, made } = this.#parameters.get(id)!;
    const changed = this.#folds.has(id) || this.#filled.has(id);
    const stored = checkpoint.tensors.get(name);
    if (!changed && parameters.some((p) => p.id === id)) {
      if (stored) tensors.set(name, stored);
      else if (!made) throw refused(`found no ${id}`, "check the checkpoint");
      return;
    }
    const view = views[checkpoint.naming];
    if (view?.slice) throw refused(`cannot change ${id} inside ${name}`, "use other tensors");
    tensors.set(name, storedTensor(this.#tensor(id), view));
  }

  /** The tensor of a parameter in the checkpoint, or of the one that it was tied to. */
  #stored(id: string): StoredTensor {
    const { checkpoint, tied } = this.#model;
    const { names, shape, views } = this.#parameters.get(tied.get(id) ?? id)!;
    const { naming, tensors } = checkpoint;
    return graphTensor(tensors.get(names[naming])!, shape, views[naming]);
  }

  /** The ids of a parameter of the graph: one outside the blocks, or one in every block. */
  #ids(name: string, part: "before" | "block" | "after"): string[] {
    const ids = this.#prefixes(part).map((prefix) => prefix + name);
    return ids.filter((id) => this.#parameters.has(id));
  }

  #prefixes(part: "before" | "block" | "after"): string[] {
    if (part !== "block") return [""];
    const { blocks } = this.#model.hyperparameters;
    return Array.from({ length: blocks }, (_, block) => `blocks.${block}.`);
  }

  #fold(id: string, fold: Fold): void {
    const other = this.#tied.get(id);
    const tied = other ?? [...this.#tied].find(([, to]) => to === id)?.[0];
    if (tied !== undefined) {
      throw refused(`would change ${id}, which shares its weight with ${tied}`, "untie first");
    }
    const list = this.#folds.get(id);
    if (list) list.push(fold);
    else this.#folds.set(id, [fold]);
  }

  #fuseNorms(): void {
    const { graph } = this.#architecture();
    for (const part of ["block", "after"] as const) {
      for (const norm of graph[part]) {
        if (norm.op === "layer_norm") {
          throw refused(
            `meets ${norm.weight ?? norm.out}, which subtracts a mean as well`,
            "gains of a layer norm cannot be moved into what reads it; leave it out",
          );
        }
        if (norm.op !== "rms_norm") continue;
        const readers = graph[part].filter((node) => inputsOf(node).includes(norm.out));
        // A norm inside a branch has no linear behind it; its gains stay.
        if (readers.every(({ op }) => op !== "linear" && op !== "experts")) continue;
        for (const prefix of this.#prefixes(part)) {
          const id = prefix + norm.weight;
          if (!this.#filled.has(id)) {
            const gain = this.#stored(id);
            for (const reader of readers) this.#scale(prefix, reader, () => gain.read());
          }
          this.#filled.set(id, 1);
        }
      }
    }
  }

  /** Multiplies what reads a norm by its gains. */
  #scale(prefix: string, reader: Node, factors: () => Promise<Float32Array>): void {
    const id = "weight" in reader ? prefix + reader.weight : reader.op;
    if (reader.op === "bias" && this.#filled.get(id) === 0) return;
    if (reader.op === "experts") {
      for (const { weight, input } of linearsOf(reader, this.#model.hyperparameters)) {
        const experts = prefix + weight;
        if (!this.#parameters.has(experts)) continue;
        if (input.endsWith(".input") && !input.endsWith(".down.input")) {
          this.#fold(experts, { kind: "scale_columns", factors });
        }
      }
      return;
    }
    if (reader.op !== "linear") throw refused(`cannot move gains into ${id}`, "leave it out");
    this.#fold(id, { kind: "scale_columns", factors });
  }

  #rotateStream(rotation: Rotation): void {
    checkRotation(rotation, this.#model.hyperparameters.hidden);
    const architecture = this.#architecture();
    for (const part of ["before", "block", "after"] as const) {
      const { embeddings, writers, vectors, readers, norms } = streamParameters(
        architecture,
        part,
        this.#model.hyperparameters,
      );
      for (const id of [...norms].flatMap((name) => this.#ids(name, part))) {
        if (this.#filled.get(id) !== 1) {
          throw refused(`does not commute with the gains of ${id}`, "fuse norms first");
        }
      }
      for (const name of [...embeddings, ...vectors, ...readers]) {
        for (const id of this.#ids(name, part)) {
          this.#fold(id, { kind: "rotate_columns", rotation });
        }
      }
      for (const name of writers) {
        for (const id of this.#ids(name, part)) this.#fold(id, { kind: "rotate_rows", rotation });
      }
    }
  }

  #rotateHeads(id: string, rotation: Rotation): void {
    const { graph, edges } = this.#architecture();
    const edge = edges.find((edge) => edge.id === id);
    if (!edge?.shared_heads) throw refused(`found no edge of heads called ${id}`, "see the graph");
    checkRotation(rotation, this.#model.hyperparameters.head_size);
    for (const prefix of this.#prefixes("block")) {
      this.#fold(prefix + edge.from, { kind: "rotate_rows", rotation });
      for (const role of edge.to) this.#fold(prefix + role, { kind: "rotate_columns", rotation });
      for (const value of valuesBetween(graph.block, edge)) {
        const bias = prefix + biasName(value);
        if (this.#parameters.has(bias)) this.#fold(bias, { kind: "rotate_columns", rotation });
      }
    }
  }

  #hadamard(values: readonly string[], size: number): void {
    const rotation: Rotation = { kind: "hadamard", size };
    const { hyperparameters } = this.#model;
    for (const value of values) {
      const nodes = this.#architecture().graph.block;
      const made = nodes.findLastIndex((node) => node.out === value);
      const readers = nodes.slice(made + 1).filter((node) => inputsOf(node).includes(value));
      if (made < 0 || readers.length === 0) {
        throw refused(`found no value ${value}`, "see the graph");
      }
      for (const node of readers) {
        if (node.op === "linear") {
          for (const id of this.#ids(node.weight, "block")) {
            checkRotation(rotation, this.#parameters.get(id)!.shape[1]);
            this.#fold(id, { kind: "rotate_columns", rotation });
          }
        } else if (node.op === "attention" && value !== node.value) {
          checkRotation(rotation, hyperparameters.head_size);
          if (![node.query, node.key].every((name) => values.includes(name))) {
            throw refused(`of ${value} alone changes the attention`, "rotate query and key");
          }
        } else throw refused(`of ${value} cannot be undone in ${node.op}`, "leave it out");
      }
      this.#transforms.push({ op: "hadamard", value, size });
    }
  }

  #bias(values: readonly string[]): void {
    for (const value of values) {
      if (this.#transforms.some((t) => t.op === "bias" && t.value === value)) continue;
      const { block_parameters } = this.#model.architecture;
      if (block_parameters.some(({ name }) => name === biasName(value))) continue;
      this.#transforms.push({ op: "bias", value });
      this.#list();
      for (const id of this.#ids(biasName(value), "block")) this.#filled.set(id, 0);
    }
  }
}

function refused(problem: string, advice: string): LowbitError {
  return new LowbitError("PLUGIN", problem, { advice });
}
