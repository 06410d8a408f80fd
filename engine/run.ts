/**
 * One run through a model: tensor by tensor in the order of the output, block by block.
 *
 * @module
 */

import {
  type Buffer,
  type Checkpoint,
  type Codecs,
  type CodedTensor,
  type EventSink,
  isVector,
  type Kernels,
  type LinearInfo,
  type Output,
  type Plugin,
  type Recipe,
  storageLabel,
  type StoredTensor,
  type Target,
  type TargetWriter,
  type TensorReport,
} from "../spec/mod.ts";
import type { ModelGraph } from "../models/architecture.ts";
import { embedWindows } from "../models/evaluate.ts";
import { type LinearExecutor, weightExecutor } from "../models/linear.ts";
import { fileOrder, parameterTensor, permuteQuantized, permuteRows } from "../models/weights.ts";
import { LoadedBlock } from "./block.ts";
import { checkTensor, checkVectorTensor, weightError } from "./checks.ts";
import { clipWeight } from "./clip.ts";
import { addBias } from "./compensation.ts";
import type { AutodiffLoader } from "./differentiate.ts";
import { quantizedExecutor, withActivation } from "./executor.ts";
import { learnBlock } from "./learn.ts";
import type { Pipeline } from "./pipeline.ts";
import { plainBytes } from "./plain.ts";
import type { PlannedParameter } from "./preflight.ts";
import { prepareBlock } from "./prepare.ts";
import type { SharedStatistics } from "./shared_statistics.ts";

/** What a run needs. */
export interface QuantizeArguments {
  /** The checkpoint. */
  checkpoint: Checkpoint;
  /** The recipe. */
  recipe: Recipe;
  /** The plugins on offer. */
  plugins: readonly Plugin[];
  /** How the result is written. */
  target: Target;
  /** Where the result is written; `commit` is called at the end. */
  output: Output;
  /** The kernels. */
  kernels: Kernels;
  /** The codecs on these kernels. */
  codecs: Codecs;
  /** Windows of token ids. */
  calibration?: readonly Int32Array[];
  /** Loads the autodiff library, for plugins that ask for gradients. */
  autodiff?: AutodiffLoader;
  /** Bytes of memory that the plan may need. */
  maxMemory?: number;
  /** Statistics that several runs on the same model and calibration share. */
  shared?: SharedStatistics;
  /** Takes the events of the run. */
  onEvent?: EventSink;
  /** Stops the run; nothing is left at the output. */
  signal?: AbortSignal;
}

/** Walks the planned parameters, quantises them, and hands them to the target's writer. */
export class Run {
  /** What became of every tensor so far. */
  readonly reports: TensorReport[] = [];
  readonly #args: QuantizeArguments;
  readonly #model: ModelGraph;
  readonly #pipeline: Pipeline;
  readonly #parameters: readonly PlannedParameter[];
  readonly #writer: TargetWriter;

  /** A run of `pipeline` over `model`, as planned. */
  constructor(
    args: QuantizeArguments,
    model: ModelGraph,
    pipeline: Pipeline,
    parameters: readonly PlannedParameter[],
    writer: TargetWriter,
  ) {
    this.#args = args;
    this.#model = model;
    this.#pipeline = pipeline;
    this.#parameters = parameters;
    this.#writer = writer;
  }

  /** Writes all parameters, in order: before the blocks, the blocks, after the blocks. */
  async all(): Promise<void> {
    const { blocks } = this.#model.hyperparameters;
    const states = await this.#embed();
    try {
      let block = 0;
      for (const planned of this.#parameters) {
        const { parameter } = planned;
        if (parameter.block === undefined) await this.#outside(planned);
        else if (parameter.block === block) {
          await this.#block(block, states);
          block++;
          this.#progress("quantize", block, blocks);
        }
      }
    } finally {
      for (const state of states) state.free();
    }
  }

  /** The residual stream of every calibration window, if any step wants it. */
  #embed(): Promise<Buffer<"f32">[]> {
    const { calibration = [], kernels } = this.#args;
    return this.#pipeline.needsCalibration
      ? embedWindows(this.#model, kernels, calibration)
      : Promise.resolve([]);
  }

  async #block(index: number, states: Buffer<"f32">[]): Promise<void> {
    const { kernels, calibration = [] } = this.#args;
    const block = await LoadedBlock.load(this.#model, kernels, index, this.#pipeline.schemes);
    // What the original block makes of the windows, if the next block is to see that.
    const outputs: Buffer<"f32">[] = [];
    try {
      const original = this.#pipeline.recipe.propagate === "original";
      await prepareBlock({
        block,
        pipeline: this.#pipeline,
        states,
        calibration,
        kernels,
        ...(original && { outputs, shared: this.#args.shared }),
        onWindow: (done) => {
          this.#progress("calibrate", done, states.length, `block ${index}`);
          this.#stopIfAborted();
        },
      });
      const quantized = new Map<string, CodedTensor>();
      for (const linear of block.linears) {
        const tensor = this.#quantize(linear, block.weight(linear.role), block);
        if (tensor) quantized.set(linear.role, tensor);
      }
      learnBlock({
        block,
        steps: this.#pipeline.steps,
        quantized,
        states,
        ...this.#args,
        requantize: (linear) => this.#quantize(linear, block.weight(linear.role), block),
      });
      for (const planned of this.#parameters) {
        const { parameter } = planned;
        if (parameter.block !== index) continue;
        await this.#write(planned, block.weight(parameter.name), quantized.get(parameter.name));
        this.#stopIfAborted();
      }
      if (original) outputs.splice(0).forEach((output, i) => this.#advance(states, i, output));
      else this.#propagateQuantized(block, quantized, states);
    } finally {
      for (const output of outputs) output.free();
      block.free();
    }
  }

  /** The quantised weight of a linear with its side tensors; undefined if it has no scheme. */
  #quantize(
    linear: LinearInfo,
    weight: Float32Array,
    block?: LoadedBlock,
  ): CodedTensor | undefined {
    const step = this.#pipeline.quantizers.get(linear.id);
    if (!step) return undefined;
    const { codecs } = this.#args;
    const schemes = this.#pipeline.schemes.get(linear.id)!;
    const statistics = block?.statistics(linear.role) ??
      { columns: linear.columns, tokens: 0, custom: new Map() };
    const given = { context: step.context, linear, statistics };
    if (schemes.vector) {
      const codec = codecs.vector(schemes.vector);
      const tensor = step.plugin.quantizeVector!({ ...given, weight, codec });
      checkVectorTensor(tensor, linear, step.plugin);
      return tensor;
    }
    const codec = codecs.get(schemes.weight!);
    const { steps } = this.#pipeline;
    const clipped = clipWeight({ steps, linear, weight, codec, statistics });
    let tensor = step.plugin.quantize!({ ...given, weight: clipped, codec });
    checkTensor(tensor, linear, step.plugin);
    for (const { plugin, context, selects } of this.#pipeline.steps) {
      if (!plugin.compensate || !selects(linear)) continue;
      const made = plugin.compensate({ context, linear, weight, tensor, codec, statistics });
      const { side = [], bias } = made;
      if (side.length > 0) tensor = { ...tensor, side: [...tensor.side ?? [], ...side] };
      if (bias) addBias(linear, bias, plugin, block);
    }
    return tensor;
  }

  /** The next block sees what the quantised block makes of its inputs. */
  #propagateQuantized(
    block: LoadedBlock,
    quantized: ReadonlyMap<string, CodedTensor>,
    states: Buffer<"f32">[],
  ): void {
    const { kernels, codecs, calibration = [] } = this.#args;
    const executors = new Map<string, LinearExecutor>();
    try {
      for (const [role, tensor] of quantized) {
        const executor = quantizedExecutor(kernels, codecs, tensor);
        const { activation } = block.schemes(role);
        executors.set(role, withActivation(kernels, codecs, executor, activation));
      }
      for (const { role, rows, columns } of block.linears) {
        const { activation } = block.schemes(role);
        if (executors.has(role) || !activation) continue;
        const dense = kernels.denseWeight(block.weight(role), rows, columns);
        const executor = weightExecutor(kernels, dense);
        executors.set(role, withActivation(kernels, codecs, executor, activation));
      }
      for (const [i, state] of states.entries()) {
        this.#advance(states, i, block.run(state, calibration[i].length, { executors }));
      }
    } finally {
      for (const executor of executors.values()) executor.free();
    }
  }

  #advance(states: Buffer<"f32">[], i: number, output: Buffer<"f32">): void {
    states[i].free();
    states[i] = output;
  }

  /** A parameter outside the blocks: an embedding, the last norm, the head. */
  async #outside(planned: PlannedParameter): Promise<void> {
    const { parameter, tensor } = planned;
    const stored = parameterTensor(this.#model, parameter.id);
    const quantizes = this.#pipeline.quantizers.has(parameter.id);
    if (!quantizes && stored.storage.kind === "plain" && tensor.storage.kind === "plain") {
      if (stored.storage.type === tensor.storage.type && parameter.ropeHeads === undefined) {
        await checkFinite(stored);
        const bytes = await stored.raw();
        await this.#writer.plain(tensor.name, bytes);
        this.#report(planned, bytes.length);
        return;
      }
    }
    // Codes that stay codes are copied without their values.
    if (!quantizes && tensor.storage.kind !== "plain" && stored.storage.kind !== "plain") {
      return await this.#write(planned);
    }
    const weight = await stored.read();
    const linear = this.#model.linears.find(({ id }) => id === parameter.id);
    await this.#write(planned, weight, linear && this.#quantize(linear, weight));
  }

  async #write(
    planned: PlannedParameter,
    weight?: Float32Array,
    quantized?: CodedTensor,
  ): Promise<void> {
    const { parameter, tensor } = planned;
    const order = this.#args.target.naming === "gguf" ? fileOrder(parameter) : undefined;
    const { storage } = tensor;
    if (storage.kind !== "plain") {
      const stored = parameterTensor(this.#model, parameter.id);
      const coded = quantized ??
        (storage.kind === "vector" ? await stored.vector!() : await stored.quantized());
      if (isVector(coded)) await this.#writer.vector!(tensor.name, coded);
      else await this.#writer.coded(tensor.name, order ? permuteQuantized(coded, order) : coded);
      const error = this.#pipeline.quantizers.has(parameter.id) && weight
        ? weightError(weight, this.#args.codecs.decode(coded))
        : undefined;
      return this.#report(planned, undefined, error, sideBytes(coded));
    }
    const values = order ? permuteRows(weight!, order) : weight!;
    const bytes = plainBytes(this.#args.kernels, values, storage.type);
    await this.#writer.plain(tensor.name, bytes);
    this.#report(planned, bytes.length);
  }

  #report(
    planned: PlannedParameter,
    bytes?: number,
    error?: TensorReport["error"],
    more = 0,
  ): void {
    const { parameter, tensor } = planned;
    const fit = this.#args.target.fit(tensor);
    const elements = parameter.shape.reduce((a, b) => a * b, 1);
    const size = (bytes ?? (fit.ok ? fit.bytes : 0)) + more;
    const plugin = this.#pipeline.quantizers.get(parameter.id)?.plugin.meta.name;
    const report: TensorReport = {
      name: tensor.name,
      shape: parameter.shape,
      scheme: storageLabel(tensor.storage),
      ...(fit.ok && fit.layout && { layout: fit.layout }),
      ...(plugin && { plugin }),
      bytes: size,
      bits_per_weight: 8 * size / elements,
      ...(error && { error }),
    };
    this.reports.push(report);
    this.#args.onEvent?.({ event: "tensor", report });
  }

  #progress(stage: "quantize" | "calibrate", done: number, total: number, detail?: string): void {
    this.#args.onEvent?.({ event: "progress", stage, done, total, detail });
  }

  #stopIfAborted(): void {
    if (this.#args.signal?.aborted) throw this.#args.signal.reason;
  }
}

/** Bytes of the side tensors of a weight: f32 values and u32 indices. */
function sideBytes({ side = [] }: CodedTensor): number {
  const elements = side.map((part) =>
    part.kind === "sparse" ? 3 * part.values.length : part.left.length + part.right.length
  );
  return 4 * elements.reduce((a, b) => a + b, 0);
}

/** Elements that a check reads at once. */
const CHECKED = 2 ** 20;

/** Reads a tensor piece by piece, which refuses NaN and infinities. */
async function checkFinite(tensor: StoredTensor): Promise<void> {
  const [rows, ...rest] = tensor.shape;
  const step = Math.max(1, Math.floor(CHECKED / rest.reduce((a, b) => a * b, 1)));
  for (let start = 0; start < rows; start += step) {
    await tensor.read({ start, end: Math.min(start + step, rows) });
  }
}
