/**
 * Learners of a whole model: what is written is held until every weight is quantised, then plugins
 * learn low-rank parts and plain parameters through the model that reads back.
 *
 * @module
 */

import {
  type CodedTensor,
  isVector,
  LowbitError,
  type LowRankPart,
  type Plugin,
  type StoredTensor,
  type TargetWriter,
  type TensorReport,
} from "../spec/mod.ts";
import { decodePlain } from "../formats/containers/plain.ts";
import type { ModelGraph } from "../models/architecture.ts";
import { inverseRows, permuteRows } from "../models/rows.ts";
import { fileValues, graphTensor, storedTensor } from "../models/views.ts";
import { valuesTensor } from "../models/folded.ts";
import { checkFinite } from "../models/weights.ts";
import { sideTotal } from "./checks.ts";
import { withLowRank } from "./low_rank_side.ts";
import { WholeModel } from "./model_view.ts";
import type { Pipeline } from "./pipeline.ts";
import { plainBytes } from "./plain.ts";
import type { PlannedParameter } from "./preflight.ts";
import type { QuantizeArguments } from "./run_arguments.ts";

/** Whether a step learns through the whole model. */
export function learnsModel({ steps }: Pipeline): boolean {
  return steps.some(({ plugin }) => plugin.learnModel);
}

/** A writer that keeps what it is given, in order. */
export class HeldTensors implements TargetWriter {
  /** Bytes of plain tensors, and quantised tensors, by name. */
  readonly tensors = new Map<string, Uint8Array | CodedTensor>();

  plain(name: string, bytes: Uint8Array): Promise<void> {
    return this.#keep(name, bytes);
  }

  coded(name: string, tensor: CodedTensor): Promise<void> {
    return this.#keep(name, tensor);
  }

  vector(name: string, tensor: CodedTensor): Promise<void> {
    return this.#keep(name, tensor);
  }

  async finish(): Promise<void> {}

  /** Hands everything on. */
  async release(writer: TargetWriter): Promise<void> {
    for (const [name, tensor] of this.tensors) {
      if (tensor instanceof Uint8Array) await writer.plain(name, tensor);
      else if (isVector(tensor)) await writer.vector!(name, tensor);
      else await writer.coded(name, tensor);
    }
  }

  #keep(name: string, tensor: Uint8Array | CodedTensor): Promise<void> {
    this.tensors.set(name, tensor);
    return Promise.resolve();
  }
}

/** What {@linkcode learnModel} needs. */
export interface LearnModelArguments extends Pick<QuantizeArguments, "kernels" | "codecs"> {
  /** The target, for its naming. */
  target: QuantizeArguments["target"];
  /** Windows to learn from. */
  calibration?: readonly Int32Array[];
  /** The model that was quantised. */
  model: ModelGraph;
  /** The steps. */
  pipeline: Pipeline;
  /** Every tensor of the output. */
  parameters: readonly PlannedParameter[];
  /** What would be written; what is learned is added to it. */
  held: HeldTensors;
  /** Reports of the tensors; their sizes follow. */
  reports: readonly TensorReport[];
}

/** Lets every whole-model learner work on the quantised model, in order. */
export async function learnModel(args: LearnModelArguments): Promise<void> {
  const { calibration = [], kernels, codecs } = args;
  const windows = calibration.filter(({ length }) => length === calibration[0].length);
  const byId = new Map(args.parameters.map((planned) => [planned.parameter.id, planned]));
  for (const { plugin, context, selects } of args.pipeline.steps) {
    if (!plugin.learnModel) continue;
    const model = heldModel(args);
    const linears = model.linears.filter((linear) => {
      const planned = byId.get(linear.id);
      return linear.block !== undefined && planned && planned.tensor.storage.kind !== "plain" &&
        selects(linear);
    });
    using whole = await WholeModel.load({
      ...{ model, kernels, codecs, windows },
      ...{ candidates: [], planned: linears },
    });
    const { side, parameters = new Map() } = plugin.learnModel({ context, model: whole, linears });
    for (const [id, part] of side) {
      const linear = linears.find((linear) => linear.id === id);
      if (!linear) throw wrong(plugin, id, "is no quantised linear that the step selects");
      checkPart(plugin, id, part, linear.rows, linear.columns);
      addPart(args, byId.get(id)!, part);
    }
    for (const [id, values] of parameters) replace(args, plugin, id, byId.get(id), values);
  }
}

function wrong({ meta: { name } }: Plugin, id: string, problem: string): LowbitError {
  return new LowbitError("PLUGIN", `returns a part for ${JSON.stringify(id)}, which ${problem}`, {
    file: name,
    advice: "report it to the author of the plugin",
  });
}

function checkPart(
  plugin: Plugin,
  id: string,
  { rank, left, right }: LowRankPart,
  rows: number,
  columns: number,
): void {
  const { name } = plugin.meta;
  if (left.length !== rows * rank || right.length !== rank * columns) {
    throw wrong(plugin, id, `is not ${rows} x ${rank} times ${rank} x ${columns}`);
  }
  checkFinite(left, name, id, "a low-rank part");
  checkFinite(right, name, id, "a low-rank part");
}

/** Adds a low-rank part to the tensor of a linear. */
function addPart(
  { held, target, reports }: LearnModelArguments,
  { parameter, tensor: { name } }: PlannedParameter,
  part: LowRankPart,
): void {
  const tensor = held.tensors.get(name) as CodedTensor;
  const view = parameter.views[target.naming];
  const left = view?.order ? permuteRows(part.left, inverseRows(view.order())) : part.left;
  const side = withLowRank(tensor.side ?? [], { ...part, left }, parameter.shape[1]);
  const changed: CodedTensor = { ...tensor, side };
  held.tensors.set(name, changed);
  const report = reports.find((report) => report.name === name)!;
  report.bytes += sideTotal(changed) - sideTotal(tensor);
  report.bits_per_weight = 8 * report.bytes / (parameter.shape[0] * parameter.shape[1]);
}

/** Replaces a parameter that is stored plainly. */
function replace(
  { held, target, kernels }: LearnModelArguments,
  plugin: Plugin,
  id: string,
  planned: PlannedParameter | undefined,
  values: Float32Array,
): void {
  const { storage } = planned?.tensor ?? {};
  if (!planned || storage?.kind !== "plain") throw wrong(plugin, id, "is no plain parameter");
  const { parameter, tensor: { name } } = planned;
  const elements = parameter.shape.reduce((a, b) => a * b, 1);
  if (values.length !== elements) throw wrong(plugin, id, `has ${elements} elements`);
  checkFinite(values, plugin.meta.name, id, "a parameter");
  const stored = fileValues(values, parameter.shape, parameter.views[target.naming]);
  held.tensors.set(name, plainBytes(kernels, stored, storage.type));
}

/** The model that reads back from what is held. */
function heldModel({ model, parameters, held, codecs, target }: LearnModelArguments): ModelGraph {
  const { checkpoint } = model;
  const tensors = new Map<string, StoredTensor>(checkpoint.tensors);
  for (const { parameter, tensor: { name, shape, storage } } of parameters) {
    const { names, views } = parameter;
    if (views[checkpoint.naming]?.slice || views[target.naming]?.slice) {
      throw new LowbitError("UNSUPPORTED", "is part of a larger tensor", {
        field: parameter.id,
        advice: "a learner of the whole model needs tensors of their own",
      });
    }
    const written = held.tensors.get(name)!;
    const values = !(written instanceof Uint8Array)
      ? codecs.decode(written)
      : decodePlain(storage.kind === "plain" ? storage.type : "float32", written);
    const base = valuesTensor(name, values, shape);
    const own = graphTensor(base, parameter.shape, views[target.naming]);
    tensors.set(names[checkpoint.naming], storedTensor(own, views[checkpoint.naming]));
  }
  return { ...model, checkpoint: { ...checkpoint, tensors } };
}
