/**
 * Pre-flight: the whole plan from headers and recipe alone, with every conflict at once, before
 * anything is read, allocated or written.
 *
 * @module
 */

import {
  LowbitError,
  type PlainType,
  type Plan,
  type PlannedTensor,
  storageLabel,
  type StoredTensor,
  type Target,
} from "../spec/mod.ts";
import type { ModelGraph } from "../models/architecture.ts";
import type { ParameterInfo } from "../models/parameters.ts";
import { lostInGguf } from "../models/settings.ts";
import { writtenShape } from "../models/views.ts";
import { parameterTensor } from "../models/weights.ts";
import { fisherLinears } from "./fisher.ts";
import {
  AUTODIFF_BYTES,
  blockGradientBytes,
  headGradientBytes,
  wholeGradientBytes,
} from "./gradients.ts";
import type { Conflict, Pipeline } from "./pipeline.ts";

/** One tensor of the output, and the parameter it comes from. */
export interface PlannedParameter {
  /** The parameter. */
  parameter: ParameterInfo;
  /** What will be written. */
  tensor: PlannedTensor;
}

/** A plan, and the tensors it is about. */
export interface Preflight {
  /** What `--dry-run` prints. */
  plan: Plan;
  /** Every tensor of the output, in the order of writing. */
  parameters: PlannedParameter[];
  /** Whether activations have to live on disk, for the run to keep within the memory. */
  spill: boolean;
}

/** Plans a run. Without calibration data, `windows` has no lengths of windows. */
export function preflight(args: {
  model: ModelGraph;
  pipeline: Pipeline;
  target: Target;
  windows: readonly number[];
  maxMemory?: number;
  canSpill?: boolean;
}): Preflight {
  const { model, pipeline, target, windows, maxMemory } = args;
  const conflicts: Conflict[] = [...pipeline.conflicts];
  const parameters: PlannedParameter[] = [];
  const tensors: Plan["tensors"] = [];
  for (const parameter of model.parameters) {
    // What the settings say is no tensor where the settings are kept.
    if (parameter.made && target.naming === model.checkpoint.naming) continue;
    const planned = planTensor(model, pipeline, target, parameter);
    const fit = target.fit(planned);
    if (!fit.ok) {
      const { problem, advice } = fit;
      conflicts.push({ code: "TARGET", where: planned.name, problem, advice });
    }
    parameters.push({ parameter, tensor: planned });
    const elements = parameter.shape.reduce((a, b) => a * b, 1);
    const bytes = fit.ok ? fit.bytes : 0;
    tensors.push({
      name: planned.name,
      shape: parameter.shape,
      scheme: storageLabel(planned.storage),
      ...(fit.ok && fit.layout && { layout: fit.layout }),
      ...(pipeline.quantizers.has(parameter.id) &&
        { plugin: pipeline.quantizers.get(parameter.id)!.plugin.meta.name }),
      bytes,
      bits_per_weight: 8 * bytes / elements,
    });
  }
  for (const { problem, advice } of target.conflicts(parameters.map(({ tensor }) => tensor))) {
    conflicts.push({ code: "TARGET", where: target.id, problem, advice });
  }
  conflicts.push(...transformConflicts(model, pipeline, target), ...tiedConflicts(model, pipeline));
  conflicts.push(...ggufConflicts(model, target), ...adapterConflicts(pipeline, target));
  conflicts.push(...gradientConflicts(model, pipeline, windows));
  if (pipeline.needsCalibration && windows.length === 0) {
    conflicts.push({
      code: "CALIBRATION",
      where: pipeline.recipe.name,
      problem: "the recipe needs calibration data",
      advice: "give a text or token ids with --calibration",
    });
  }
  const resident = estimateMemory(model, pipeline, parameters, windows);
  const spill = args.canSpill === true && maxMemory !== undefined && resident > maxMemory &&
    pipeline.needsCalibration;
  const memory = spill ? estimateMemory(model, pipeline, parameters, windows, true) : resident;
  if (maxMemory !== undefined && memory > maxMemory) {
    conflicts.push({
      code: "MEMORY",
      where: pipeline.recipe.name,
      problem: `needs about ${mebibytes(memory)} MiB, but ${mebibytes(maxMemory)} are allowed`,
      advice: spill
        ? "allow more with --max-memory; activations are on disk already"
        : pipeline.streams
        ? "allow more with --max-memory; tensors go one at a time already"
        : "allow more with --max-memory, or calibrate on fewer tokens",
    });
  }
  const elements = model.parameters.reduce((n, p) => n + p.shape.reduce((a, b) => a * b, 1), 0);
  const bytes = tensors.reduce((sum, tensor) => sum + tensor.bytes, 0);
  const plan: Plan = {
    recipe: pipeline.recipe.name,
    target: target.id,
    tensors,
    bits_per_weight: 8 * bytes / elements,
    bytes,
    memory_bytes: memory,
    conflicts,
  };
  return { plan, parameters, spill };
}

/** Throws one error for all conflicts of a plan; the first is spelled out. */
export function refuseConflicts(plan: Plan): void {
  if (plan.conflicts.length === 0) return;
  const same = plan.conflicts.filter(({ problem }) => problem === plan.conflicts[0].problem);
  const [first, ...rest] = plan.conflicts.filter((c) => c === same[0] || !same.includes(c));
  const places = same.length > 1 ? ` (and ${same.length - 1} more like it)` : "";
  const others = rest.slice(0, 3).map((c) => `; also ${c.where}: ${c.problem}`).join("");
  const more = rest.length > 3 ? ` (and ${rest.length - 3} other conflicts)` : "";
  throw new LowbitError("CONFLICT", first.problem + places + others + more, {
    file: plan.recipe,
    field: first.where === plan.recipe ? undefined : first.where,
    advice: `${first.advice}; --dry-run shows everything`,
  });
}

/** How one parameter is stored in the output. */
function planTensor(
  model: ModelGraph,
  pipeline: Pipeline,
  target: Target,
  parameter: ParameterInfo,
): PlannedTensor {
  const schemes = pipeline.schemes.get(parameter.id);
  const base = {
    name: parameter.names[target.naming],
    ...writtenShape(parameter.shape, parameter.views[target.naming], false),
    linear: model.linears.some((linear) => linear.id === parameter.id),
    ...(schemes?.activation && { activation: schemes.activation }),
  };
  const { shape: plainShape } = writtenShape(
    parameter.shape,
    parameter.views[target.naming],
    true,
  );
  if (schemes?.weight) return { ...base, storage: { kind: "coded", scheme: schemes.weight } };
  if (schemes?.vector) return { ...base, storage: { kind: "vector", format: schemes.vector } };
  const stored = parameterTensor(model, parameter.id);
  const wanted = keptStorage(stored, pipeline, parameter);
  const shape = wanted.kind === "plain" ? plainShape : base.shape;
  const preferred: PlannedTensor = { ...base, shape, storage: wanted };
  // What the target cannot hold as it is becomes f32, which loses nothing.
  return target.fit(preferred).ok
    ? preferred
    : { ...base, shape: plainShape, storage: { kind: "plain", type: "float32" } };
}

/** How a tensor without a scheme is kept. */
function keptStorage(
  stored: StoredTensor,
  pipeline: Pipeline,
  parameter: ParameterInfo,
): PlannedTensor["storage"] {
  const transformed = parameter.block !== undefined &&
    pipeline.steps.some(({ plugin }) => plugin.transform !== undefined || plugin.meta.transforms);
  if (transformed) return { kind: "plain", type: "float32" };
  const { keep } = pipeline.recipe;
  if (keep !== "source" && parameter.shape.length > 1) return { kind: "plain", type: keep };
  if (stored.storage.kind === "coded") return { kind: "coded", scheme: stored.storage.scheme };
  if (stored.storage.kind === "vector") return stored.storage;
  if (stored.storage.kind === "foreign") return { kind: "plain", type: "float32" };
  const floats: PlainType[] = ["float32", "float16", "bfloat16"];
  const { type: own } = stored.storage;
  const type = floats.find((type) => type === own);
  return { kind: "plain", type: type ?? "float32" };
}

/** Online transforms for a target that has no place for them. */
function* transformConflicts(
  { checkpoint: { transforms = [] } }: ModelGraph,
  { steps }: Pipeline,
  target: Target,
): Generator<Conflict> {
  if (transforms.length === 0 || target.transforms) return;
  const names = steps.filter(({ plugin }) => plugin.transformModel).map((s) => s.plugin.meta.name);
  yield {
    code: "TARGET",
    where: target.id,
    problem: "cannot say that blocks do more than their architecture: " +
      transforms.map(({ op, value }) => `${op} of ${value}`).join(", "),
    advice: names.length > 0
      ? `write with --to lowbit, or turn off the options of ${names.join(", ")} that need it`
      : "write with --to lowbit",
  };
}

/** Learners of the whole model, for a target that holds weights alone. */
function* adapterConflicts({ steps }: Pipeline, target: Target): Generator<Conflict> {
  const names = steps.filter(({ plugin }) => plugin.learnModel).map((s) => s.plugin.meta.name);
  if (names.length === 0 || target.transforms) return;
  yield {
    code: "TARGET",
    where: target.id,
    problem: `has no place for what ${names.join(", ")} adds to weights`,
    advice: "write with --to lowbit; `lowbit adapter` and `lowbit convert` go on from there",
  };
}

/** Settings that GGUF has no place for. */
export function* ggufConflicts(model: ModelGraph, target: Target): Generator<Conflict> {
  const conflict = (problem: string) => ({
    code: "TARGET" as const,
    where: target.id,
    problem,
    advice: "write with --to lowbit",
  });
  if (target.naming !== "gguf") return;
  const { architecture, parameters, checkpoint } = model;
  if (architecture.match.gguf.length === 0) {
    yield conflict(`has no place for the architecture ${architecture.id}`);
  } else if (parameters.some(({ views }) => (views.gguf?.slice?.parts ?? 1) > 1)) {
    yield conflict("joins weights of this architecture, which this version does not write");
  } else if (checkpoint.naming !== "gguf") {
    const lost = lostInGguf(model);
    if (lost.length > 0) yield conflict(`has no place for ${lost.join(", ")} of this model`);
  }
}

/** A tied head has no weight of its own that could be quantised. */
function* tiedConflicts(model: ModelGraph, pipeline: Pipeline): Generator<Conflict> {
  for (const [id, other] of model.tied) {
    if (!pipeline.schemes.has(id)) continue;
    yield {
      code: "TIED",
      where: id,
      problem: `shares its weight with ${other}, so it cannot have a scheme of its own`,
      advice: `leave ${id} out of the recipe's select`,
    };
  }
}

/** Gradients that the autodiff library cannot hold. */
export function* gradientConflicts(
  model: ModelGraph,
  pipeline: Pipeline,
  windows: readonly number[],
): Generator<Conflict> {
  if (windows.length === 0) return;
  const conflict = (
    where: string,
    what: string,
    bytes: (model: ModelGraph, tokens: number) => number,
    instead: string,
  ): Conflict[] => {
    const [tokens] = windows;
    if (bytes(model, tokens) <= AUTODIFF_BYTES) return [];
    let fits = tokens;
    while (fits > 0 && bytes(model, fits) > AUTODIFF_BYTES) fits >>= 1;
    return [{
      code: "MEMORY",
      where,
      problem: `takes gradients of ${what} at once, which need about ` +
        `${mebibytes(bytes(model, tokens))} MiB for a window of ${tokens} tokens; the autodiff ` +
        `library holds ${mebibytes(AUTODIFF_BYTES)}`,
      advice: fits >= 16 ? `calibrate on windows of ${fits} tokens, or ${instead}` : instead,
    }];
  };
  for (const { plugin: { meta, learnModel, planLosses } } of pipeline.steps) {
    if (!meta.needs.autodiff || !(learnModel || planLosses)) continue;
    const instead = planLosses ? "plan by sensitivity, which needs no gradients" : "leave it out";
    yield* conflict(meta.name, "the whole model", wholeGradientBytes, instead);
  }
  if (fisherLinears(model, pipeline).length > 0) {
    yield* conflict("fisher", "a block", blockGradientBytes, "use gptq, which needs no gradients");
  }
}

/** Bytes of the program itself, its code, heap and threads, before any tensor. */
const BASE_MEMORY = 285 * 2 ** 20;

/** Bytes an element that a tensor alone needs on its way from codes, or from plain. */
const FROM_CODES = { coded: 8, vector: 12, plain: 14 };

/**
 * The same on its way from plain to codes: values and their copy in the kernels, codes on both sides,
 * and what is not collected yet of the tensor before it. Measured by `deno task bench:checkpoints`.
 */
const TO_CODES = 18;

/**
 * The memory that a run needs, from shapes alone and on the safe side, since memory that was used
 * once is not always given back: three copies of the largest block (as read, as multiplied by, at
 * work), its statistics four times, two sets of calibration activations, one window inside a block,
 * and the largest tensor outside the blocks with all the forms that it takes. Where tensors go one at
 * a time, it is only the largest of all tensors with its forms.
 */
function estimateMemory(
  model: ModelGraph,
  pipeline: Pipeline,
  planned: readonly PlannedParameter[],
  windows: readonly number[],
  spill = false,
): number {
  const { hidden, intermediate, blocks } = model.hyperparameters;
  const elements = (parameter: ParameterInfo) => parameter.shape.reduce((a, b) => a * b, 1);
  const { streams } = pipeline;
  const inside = model.parameters.filter((parameter) => parameter.block === 0 && !streams);
  const block = 4 * inside.reduce((sum, parameter) => sum + elements(parameter), 0);
  const inputs = new Map(
    model.linears.filter((linear) => linear.block === 0).map((l) => [l.input, l] as const),
  );
  let statistics = 0;
  for (const linear of inputs.values()) {
    if (pipeline.statistics(linear).has("gram")) statistics += 8 * linear.columns ** 2;
  }
  const outside = planned.filter(({ parameter }) => streams || parameter.block === undefined);
  const largest = Math.max(
    0,
    ...outside.map(({ parameter, tensor }) => {
      const { storage, bytes } = parameterTensor(model, parameter.id);
      if (storage.kind === "coded" || storage.kind === "vector") {
        return elements(parameter) * FROM_CODES[tensor.storage.kind];
      }
      return tensor.storage.kind === "plain" ? 2 * bytes : TO_CODES * elements(parameter);
    }),
  );
  const tokens = windows.reduce((a, b) => a + b, 0);
  const length = windows.reduce((a, b) => Math.max(a, b), 0);
  const window = 4 * length * (6 * hidden + 3 * (intermediate ?? 4 * hidden));
  const learns = pipeline.steps.some(({ plugin }) => plugin.learn);
  // Two sets, or two windows of them; learners are given all inputs of a block.
  const kept = spill ? 2 * length + (learns ? tokens : 0) : 2 * tokens;
  const activations = pipeline.needsCalibration && blocks > 0 ? 4 * kept * hidden : 0;
  // Gradients go back block by block: diagonals of all weights, and the inputs of all blocks; then
  // of one block weights, gradients and sums, and what the library has of them and of a window.
  const fisher = fisherLinears(model, pipeline).reduce((sum, l) => sum + l.rows * l.columns, 0);
  const backwards = fisher > 0
    ? 4 * fisher + 4 * tokens * hidden * (blocks + 3) + 3 * block +
      blockGradientBytes(model, length) + headGradientBytes(model)
    : 0;
  const all = 4 * model.parameters.reduce((n, p) => n + elements(p), 0);
  // A learner of the whole model: codes and values of all weights, and the library's copy of them.
  const learnsAll = pipeline.steps.some(({ plugin }) => plugin.learnModel);
  const whole = learnsAll ? 4 * all : 0;
  return Math.round(
    BASE_MEMORY + whole + backwards + 3 * block + 4 * statistics + window + largest + activations,
  );
}

function mebibytes(bytes: number): number {
  return Math.ceil(bytes / 2 ** 20);
}

/** The conflicts that calibration data would not solve. */
export function beforeCalibration(conflicts: Plan["conflicts"]): Plan["conflicts"] {
  return conflicts.filter(({ code }) => code !== "CALIBRATION");
}
