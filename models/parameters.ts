/**
 * The parameters of a model: names, shapes, and how containers store them.
 *
 * @module
 */

import type {
  Architecture,
  Checkpoint,
  Hyperparameters,
  Naming,
  Node,
  Parameter,
} from "../spec/mod.ts";
import { evaluateSize } from "./hyperparameters.ts";
import type { BlockGraph } from "./inherit.ts";
import { type RopeScaling, ropeScaling } from "./rope.ts";
import { weightsOf } from "./values.ts";
import { fileShape, graphTensor, type View, viewOf } from "./views.ts";

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
  /** How each naming stores it, where that is not as it is in the graph. */
  views: Readonly<Partial<Record<Naming, View>>>;
  /** Where else a checkpoint of Hugging Face may have it. */
  other?: { name: string; view?: View };
  /** Its values, where no tensor has them but the settings. */
  made?: Float32Array;
}

/**
 * Every parameter of a model, tied ones included, in the order of the graph. `blocks` say which
 * parameters each block has; all of them if absent.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { embeddedPath } from "../embedded/mod.ts";
 * import { openCheckpoint } from "../formats/open.ts";
 * import { openModel } from "./architecture.ts";
 * import { listParameters } from "./parameters.ts";
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
  blocks?: readonly BlockGraph[],
): ParameterInfo[] {
  const { parameters, block_parameters, graph } = architecture;
  const early = new Set(graph.before.flatMap((node) => weightsOf(node, hyperparameters)));
  const infos = (parameter: Parameter, block?: number): ParameterInfo[] => {
    if (parameter.experts === undefined) return [infoOf(parameter, hyperparameters, block)];
    const count = evaluateSize(parameter.experts, hyperparameters);
    return Array.from({ length: count }, (_, e) => infoOf(parameter, hyperparameters, block, e));
  };
  const inside = Array.from({ length: hyperparameters.blocks }, (_, block) =>
    block_parameters
      .filter((parameter) => blocks === undefined || blocks[block].has(parameter))
      .flatMap((parameter) => infos(parameter, block)));
  return [
    ...parameters.filter(({ name }) => early.has(name)).flatMap((parameter) => infos(parameter)),
    ...inside.flat(),
    ...parameters.filter(({ name }) => !early.has(name)).flatMap((parameter) => infos(parameter)),
  ];
}

function infoOf(
  parameter: Parameter,
  hyperparameters: Hyperparameters,
  block?: number,
  expert?: number,
): ParameterInfo {
  const { huggingface, gguf, stored, other } = parameter;
  const fill = (template: string) =>
    template.replaceAll("{i}", String(block)).replaceAll("{e}", String(expert));
  const name = fill(parameter.name);
  const shape = parameter.shape.map((size) => evaluateSize(size, hyperparameters));
  const view = (naming: Naming) => {
    const made = viewOf(stored?.[naming], shape, hyperparameters, expert);
    return made && { [naming]: made };
  };
  return {
    id: block === undefined ? name : `blocks.${block}.${name}`,
    name,
    ...(block === undefined ? {} : { block }),
    shape,
    names: { huggingface: fill(huggingface), gguf: fill(gguf) },
    views: { ...view("huggingface"), ...view("gguf") },
    ...(other && {
      other: {
        name: fill(other.huggingface),
        view: viewOf(other.stored, shape, hyperparameters, expert),
      },
    }),
  };
}

/**
 * A checkpoint with parameters under their own names where it has them under another, such as experts
 * that are stacked in one tensor; the checkpoint itself if it does not.
 */
export function withOwnNames(
  checkpoint: Checkpoint,
  architecture: Architecture,
  hyperparameters: Hyperparameters,
  blocks: readonly BlockGraph[],
): Checkpoint {
  if (checkpoint.naming !== "huggingface") return checkpoint;
  const tensors = new Map(checkpoint.tensors);
  let renamed = false;
  for (const info of listParameters(architecture, hyperparameters, blocks)) {
    const { names: { huggingface: name }, other, shape, views } = info;
    const tensor = other && checkpoint.tensors.get(other.name);
    if (!tensor || tensors.has(name)) continue;
    const plain = tensor.storage.kind === "plain";
    // Shapes are checked as those of the parameter are; a stack of others stays what it is.
    if (tensor.shape.join() !== fileShape(shape, other.view, plain).join()) continue;
    const own = graphTensor(tensor, fileShape(shape, views.huggingface, plain), other.view);
    tensors.set(name, { ...own, name });
    tensors.delete(other.name);
    renamed = true;
  }
  return renamed ? { ...checkpoint, tensors } : checkpoint;
}

/**
 * The parameters that a checkpoint has: divisors of rotary frequencies are made from settings where
 * these ask for them, and optional tensors may be missing.
 */
export function presentParameters(
  architecture: Architecture,
  hyperparameters: Hyperparameters,
  blocks: readonly BlockGraph[],
  checkpoint: Checkpoint,
): ParameterInfo[] {
  const optional = new Map(architecture.parameters.map((p) => [p.name, p] as const));
  return listParameters(architecture, hyperparameters, blocks).flatMap((info) => {
    const parameter = info.block === undefined ? optional.get(info.name) : undefined;
    if (!parameter?.rope_factors || checkpoint.tensors.has(info.names[checkpoint.naming])) {
      return [info];
    }
    const scaling = scalingOf(architecture, hyperparameters, checkpoint);
    const made = parameter.rope_factors === "long" ? scaling?.long : scaling?.factors;
    return made ? [{ ...info, made }] : [];
  });
}

/** What the settings ask of rotary positions; undefined where the architecture has none. */
function scalingOf(
  { parameters }: Architecture,
  hyperparameters: Hyperparameters,
  checkpoint: Checkpoint,
): RopeScaling | undefined {
  const parameter = parameters.find(({ rope_factors }) => rope_factors);
  if (!parameter) return undefined;
  const pairs = evaluateSize(parameter.shape[0], hyperparameters);
  return ropeScaling(checkpoint, pairs, hyperparameters.theta);
}

/**
 * Hyperparameters with what the scaling of rotary positions adds: `rope_magnitude`, and a `context`
 * that is no longer than the scaling covers.
 */
export function withRope(
  architecture: Architecture,
  hyperparameters: Hyperparameters,
  checkpoint: Checkpoint,
): Hyperparameters {
  const scaling = scalingOf(architecture, hyperparameters, checkpoint);
  if (!scaling) return hyperparameters;
  const { magnitude, context = Infinity } = scaling;
  // GGUF has a magnitude of its own, which is 1 in what its other keys do not say.
  const own = checkpoint.naming === "gguf" ? hyperparameters.rope_magnitude : 1;
  return {
    ...hyperparameters,
    rope_magnitude: own * magnitude,
    context: Math.min(hyperparameters.context, context),
  };
}

/** The architecture with the names of a checkpoint that leaves the optional prefix out. */
export function withPrefix(architecture: Architecture, checkpoint: Checkpoint): Architecture {
  const { optional_prefix: prefix, parameters, block_parameters } = architecture;
  if (prefix === undefined || checkpoint.naming === "gguf") return architecture;
  if (checkpoint.tensors.keys().some((name) => name.startsWith(prefix))) return architecture;
  const strip = (parameter: Parameter): Parameter =>
    parameter.huggingface.startsWith(prefix)
      ? { ...parameter, huggingface: parameter.huggingface.slice(prefix.length) }
      : parameter;
  return {
    ...architecture,
    parameters: parameters.map(strip),
    block_parameters: block_parameters.map(strip),
    ignored: architecture.ignored?.map((name) =>
      name.startsWith(prefix) ? name.slice(prefix.length) : name
    ),
  };
}

/** Operations without divisors of frequencies that the model does not have, or a magnitude of 1. */
export function withoutMissing(
  nodes: readonly Node[],
  names: ReadonlySet<string>,
  hyperparameters: Hyperparameters,
): Node[] {
  return nodes.map((node) => {
    if (node.op !== "rope") return node;
    const { factors, magnitude, ...rest } = node;
    return {
      ...rest,
      ...(factors !== undefined && names.has(factors) && { factors }),
      ...(magnitude !== undefined && hyperparameters[magnitude] !== 1 && { magnitude }),
    };
  });
}
