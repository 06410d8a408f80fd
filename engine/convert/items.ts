/**
 * The tensors of a conversion: what the source has, and what it is called in the output.
 *
 * @module
 */

import {
  channelWeights,
  type Checkpoint,
  type ImportanceMatrix,
  LowbitError,
  type StoredTensor,
  type Target,
} from "../../spec/mod.ts";
import { type ModelGraph, openModel } from "../../models/architecture.ts";
import type { View } from "../../models/views.ts";
import { parameterTensor } from "../../models/weights.ts";
import { importanceOf } from "../importance.ts";
import { ggufConflicts } from "../preflight.ts";

/** A tensor to convert. */
export interface ConvertItem {
  /** Its name in the output. */
  name: string;
  /** The tensor, with rows in the order of the graph where the naming changes. */
  tensor: StoredTensor;
  /** Whether it is the weight of a linear. */
  linear: boolean;
  /** The parameter of the model, where there is a model. */
  id?: string;
  /** Whether the file or the output stores `tensor` in another order or form. */
  moved?: boolean;
  /** The importance of its input channels, if a matrix is given that has it. */
  importance?: Float32Array;
  /** How the output stores it, if not as it is. */
  view?: View;
}

/** The tensors of a conversion. */
export interface ConvertItems {
  /** In the order of writing. */
  items: ConvertItem[];
  /** The model; undefined if its architecture is unknown. */
  model?: ModelGraph;
  /** Tensors of the source that are no part of the output. */
  left: string[];
}

/**
 * The tensors of a checkpoint as a target names them. Where names stay, any model will do; where
 * they change (GGUF), its architecture must be known.
 */
export function convertItems(
  checkpoint: Checkpoint,
  target: Target,
  importance?: ImportanceMatrix,
): ConvertItems {
  const found = listItems(checkpoint, target);
  if (!importance) return found;
  const byId = new Map(found.model?.parameters.map((parameter) => [parameter.id, parameter]));
  const items = found.items.map((item): ConvertItem => {
    const known = item.id === undefined ? undefined : byId.get(item.id);
    const { shape } = item.tensor;
    const parameter = known ??
      { names: { gguf: item.name, huggingface: item.name }, shape, views: {} };
    if (shape.length !== 2) return item;
    const squares = channelWeights(importanceOf(importance, parameter));
    return squares ? { ...item, importance: squares } : item;
  });
  return { ...found, items };
}

function listItems(checkpoint: Checkpoint, target: Target): ConvertItems {
  const same = checkpoint.naming === target.naming;
  const model = modelOf(checkpoint, same);
  const linears = new Set(model?.linears.map(({ id }) => id));
  const byName = new Map(
    model?.parameters.map((parameter) => [parameter.names[checkpoint.naming], parameter]),
  );
  if (same) {
    const stacks = model ? stackedItems(model, linears) : new Map<string, ConvertItem[]>();
    const items = [...checkpoint.tensors.values()].flatMap((tensor): ConvertItem[] => {
      const stacked = stacks.get(tensor.name);
      if (stacked) return stacked;
      const id = byName.get(tensor.name)?.id;
      const linear = model ? id !== undefined && linears.has(id) : looksLinear(tensor);
      return [{ name: tensor.name, tensor, linear, ...(id && { id }) }];
    });
    return { items, ...(model && { model }), left: [] };
  }
  for (const { where, problem, advice } of ggufConflicts(model!, target)) {
    throw new LowbitError("UNSUPPORTED", problem, { file: where, advice });
  }
  const items = model!.parameters.map((parameter): ConvertItem => {
    const { gguf, huggingface } = parameter.views;
    const view = parameter.views[target.naming];
    return {
      id: parameter.id,
      name: parameter.names[target.naming],
      tensor: parameterTensor(model!, parameter.id),
      linear: linears.has(parameter.id),
      ...((gguf || huggingface) && { moved: true }),
      ...(view && { view }),
    };
  });
  const left = [...checkpoint.tensors.keys()].filter((name) => !byName.has(name));
  return { items, model: model!, left };
}

/** The matrices of stacked tensors, by the names of these. */
function stackedItems(
  model: ModelGraph,
  linears: ReadonlySet<string>,
): Map<string, ConvertItem[]> {
  const stacks = new Map<string, ConvertItem[]>();
  const { naming } = model.checkpoint;
  for (const { id, names, views } of model.parameters) {
    const view = views[naming], name = names[naming];
    if (!view?.slice || view.slice.parts > 1) continue;
    const tensor = parameterTensor(model, id);
    const item = { id, name, tensor, linear: linears.has(id), view };
    stacks.set(name, [...stacks.get(name) ?? [], item]);
  }
  return stacks;
}

function modelOf(checkpoint: Checkpoint, optional: boolean): ModelGraph | undefined {
  try {
    return openModel(checkpoint);
  } catch (error) {
    if (optional && error instanceof LowbitError) return undefined;
    throw error;
  }
}

/** Without a model: a coded matrix, or a plain one that is not named as a table. */
function looksLinear({ name, shape, storage }: StoredTensor): boolean {
  if (shape.length !== 2 || !name.endsWith(".weight")) return false;
  return storage.kind === "coded" || !/embed|wte|wpe|norm/.test(name);
}
