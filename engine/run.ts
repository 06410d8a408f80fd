/**
 * One run through a model: tensor by tensor in the order of the output, block by block.
 *
 * @module
 */

import {
  type CodedTensor,
  isVector,
  type LinearInfo,
  storageLabel,
  type TargetWriter,
  type TensorReport,
} from "../spec/mod.ts";
import type { ModelGraph } from "../models/architecture.ts";
import { openEmbedding } from "../models/embedding.ts";
import { type LinearExecutor, weightExecutor } from "../models/linear.ts";
import { inverseRows, permuteQuantized } from "../models/rows.ts";
import { fileValues } from "../models/views.ts";
import { parameterTensor } from "../models/weights.ts";
import { Activations } from "./activations.ts";
import { embeddingOf } from "./assign.ts";
import { LoadedBlock } from "./block.ts";
import { checkFinite, checkTensor, checkVectorTensor, sideTotal, weightError } from "./checks.ts";
import { clipWeight } from "./clip.ts";
import { Coverage, refuseConstant } from "./coverage.ts";
import { addBias } from "./compensation.ts";
import { quantizedExecutor, withActivation } from "./executor.ts";
import type { BlockEntry, Journal } from "./journal.ts";
import { learnBlock } from "./learn.ts";
import type { Pipeline } from "./pipeline.ts";
import { plainBytes } from "./plain.ts";
import type { PlannedParameter } from "./preflight.ts";
import { prepareBlock } from "./prepare.ts";
import { staticScales } from "./static_scales.ts";
import type { QuantizeArguments, RunParts } from "./run_arguments.ts";

/** Walks the planned parameters, quantises them, and hands them to the target's writer. */
export class Run {
  /** What became of every tensor so far. */
  readonly reports: TensorReport[] = [];
  readonly #args: QuantizeArguments;
  readonly #model: ModelGraph;
  readonly #pipeline: Pipeline;
  readonly #parameters: readonly PlannedParameter[];
  readonly #writer: TargetWriter;
  readonly #journal?: Journal;
  readonly #parts: RunParts;
  readonly #coverage: Coverage;

  /** A run as planned. */
  constructor(args: QuantizeArguments, parts: RunParts) {
    this.#args = args;
    this.#parts = parts;
    const { calibration = [], statistics } = args;
    const total = calibration.reduce((sum, window) => sum + window.length, 0);
    this.#coverage = new Coverage(args.recipe.calibration, statistics?.tokens ?? total);
    this.#model = parts.model;
    this.#pipeline = parts.pipeline;
    this.#parameters = parts.parameters;
    this.#journal = parts.journal;
    this.#writer = parts.journal?.recording(parts.writer) ?? parts.writer;
  }

  /** Writes all parameters, in order: before the blocks, the blocks, after the blocks. */
  async all(): Promise<void> {
    const { blocks } = this.#model.hyperparameters;
    const { done = 0, entries = [] } = this.#journal ?? {};
    if (done > 0) this.#args.onEvent?.({ event: "resume", blocks: done, total: blocks });
    const finished = entries.slice(0, done);
    let states = await this.#start(done);
    try {
      let block = 0;
      for (const planned of this.#parameters) {
        const { parameter } = planned;
        if (parameter.block === undefined) await this.#alone(planned);
        else if (parameter.block === block) {
          if (block < done) await this.#replay(finished[block]);
          else if (this.#pipeline.streams) await this.#stream(block);
          else states = await this.#block(block, states);
          block++;
          this.#progress("quantize", block, blocks);
        }
        this.#stopIfAborted();
      }
    } finally {
      states.free();
    }
  }

  /** The residual stream of every calibration window in front of a block, if any step wants it. */
  async #start(block: number): Promise<Activations> {
    const { calibration = [], kernels } = this.#args;
    if (block > 0) return this.#activations(block, true);
    const states = this.#activations(0);
    try {
      const embedding = openEmbedding(this.#model);
      for (let i = 0; i < states.count; i++) {
        states.put(i, await embedding.lookup(kernels, calibration[i]));
      }
    } catch (error) {
      states.free();
      throw error;
    }
    return states;
  }

  /** Room for the activations in front of a block. */
  #activations(block: number, stored = false): Activations {
    const { kernels, calibration = [] } = this.#args;
    const { spill } = this.#parts;
    const { hidden, blocks } = this.#model.hyperparameters;
    const lengths = this.#pipeline.needsCalibration
      ? calibration.map((window) => window.length * hidden)
      : [];
    // Those behind the embedding are made again, and nobody asks for those behind the last block.
    const kept = spill || (block > 0 && block < blocks);
    const file = lengths.length > 0 && kept ? this.#journal?.activations(block) : undefined;
    return new Activations({ kernels, lengths, file, resident: !spill }, stored && kept);
  }

  /** Writes what a run before this one has made of a block. */
  async #replay(entry: BlockEntry): Promise<void> {
    const { writer, parameters, warnings } = this.#parts;
    const planned = new Map(parameters.map(({ tensor }) => [tensor.name, tensor]));
    await this.#journal!.replay(entry, planned, writer);
    this.#parts.importance.replay(entry.importance);
    for (const report of entry.reports) {
      this.reports.push(report);
      this.#args.onEvent?.({ event: "tensor", report });
    }
    for (const message of entry.warnings) {
      warnings.push(message);
      this.#args.onEvent?.({ event: "warning", message });
    }
  }

  /** Writes a block one tensor at a time, where no step looks at more than one. */
  async #stream(index: number): Promise<void> {
    const before = { reports: this.reports.length, warnings: this.#parts.warnings.length };
    this.#journal?.begin(index);
    for (const planned of this.#parameters) {
      if (planned.parameter.block !== index) continue;
      await this.#alone(planned);
      await this.#breathe();
    }
    this.#journal?.end({
      block: index,
      reports: this.reports.slice(before.reports),
      warnings: this.#parts.warnings.slice(before.warnings),
    });
  }

  /** Makes and writes a block; the activations behind it come back, `states` are freed. */
  async #block(index: number, states: Activations): Promise<Activations> {
    const { kernels, calibration = [] } = this.#args;
    const { warnings, importance } = this.#parts;
    const before = { reports: this.reports.length, warnings: warnings.length };
    const block = await LoadedBlock.load(this.#model, kernels, index, this.#pipeline.schemes);
    block.setFisher(this.#parts.fisher);
    const next = this.#activations(index + 1);
    try {
      this.#journal?.begin(index);
      const original = this.#pipeline.recipe.propagate === "original";
      await prepareBlock({
        block,
        pipeline: this.#pipeline,
        states,
        calibration,
        kernels,
        given: this.#args.statistics?.blocks[index],
        // What the original block makes of the windows, if the next block is to see that.
        ...(original && { outputs: next, shared: this.#args.shared }),
        onWindow: (done) => {
          this.#progress("calibrate", done, states.count, `block ${index}`);
          this.#stopIfAborted();
        },
      });
      const quantized = new Map<string, CodedTensor>();
      for (const linear of block.linears) {
        importance.note(linear, block.statistics(linear.role));
        const tensor = this.#quantize(linear, block.weight(linear.role), block);
        if (tensor) quantized.set(linear.role, tensor);
        await this.#breathe();
      }
      learnBlock({
        block,
        steps: this.#pipeline.steps,
        quantized,
        states,
        ...this.#args,
        requantize: (linear) => this.#quantize(linear, block.weight(linear.role), block),
      });
      for (const [role, tensor] of quantized) {
        const linear = block.linear(role);
        const { activation } = block.schemes(role);
        const input = staticScales(this.#args.codecs, activation, block.statistics(role), linear);
        if (input && !isVector(tensor)) quantized.set(role, { ...tensor, input });
      }
      for (const planned of this.#parameters) {
        const { parameter } = planned;
        if (parameter.block !== index) continue;
        await this.#write(planned, block.weight(parameter.name), quantized.get(parameter.name));
        await this.#breathe();
      }
      if (!original) this.#propagateQuantized(block, quantized, states, next);
      states.free();
      this.#journal?.end({
        block: index,
        reports: this.reports.slice(before.reports),
        warnings: warnings.slice(before.warnings),
        importance: importance.seen(block.linears),
      }, next.stored);
      return next;
    } catch (error) {
      next.free();
      throw error;
    } finally {
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
    const statistics = this.#parts.importance.complete(
      linear,
      block?.statistics(linear.role) ??
        { columns: linear.columns, tokens: 0, custom: new Map() },
    );
    refuseConstant(weight, linear);
    const given = { context: step.context, linear, statistics };
    const starved = block && step.plugin.meta.needs.statistics.length > 0
      ? this.#coverage.note(linear, statistics)
      : undefined;
    if (starved) step.context.warn(starved);
    if (schemes.vector) {
      const codec = codecs.vector(schemes.vector);
      if (starved) return codec.encode(weight, linear.rows, linear.columns);
      const tensor = step.plugin.quantizeVector!({ ...given, weight, codec });
      checkVectorTensor(tensor, linear, step.plugin);
      return tensor;
    }
    const codec = codecs.get(schemes.weight!);
    if (starved) return codec.quantize(weight, linear.rows, linear.columns);
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
    states: Activations,
    next: Activations,
  ): void {
    const { kernels, codecs, calibration = [] } = this.#args;
    const executors = new Map<string, LinearExecutor>();
    try {
      for (const [role, tensor] of quantized) {
        const executor = quantizedExecutor(kernels, codecs, tensor);
        const { activation } = block.schemes(role);
        const input = isVector(tensor) ? undefined : tensor.input;
        executors.set(role, withActivation(kernels, codecs, executor, activation, input));
      }
      for (const { role, rows, columns } of block.linears) {
        const { activation } = block.schemes(role);
        if (executors.has(role) || !activation) continue;
        const dense = kernels.denseWeight(block.weight(role), rows, columns);
        const executor = weightExecutor(kernels, dense);
        executors.set(role, withActivation(kernels, codecs, executor, activation));
      }
      for (let i = 0; i < states.count; i++) {
        using state = states.borrow(i);
        next.put(i, block.run(state.buffer, calibration[i].length, { executors }));
        states.drop(i);
      }
    } finally {
      for (const executor of executors.values()) executor.free();
    }
  }

  /** A parameter by itself: outside the blocks, or where nothing asks for a whole block. */
  async #alone(planned: PlannedParameter): Promise<void> {
    const { parameter, tensor } = planned;
    const stored = parameterTensor(this.#model, parameter.id);
    const quantizes = this.#pipeline.quantizers.has(parameter.id);
    if (!quantizes && stored.storage.kind === "plain" && tensor.storage.kind === "plain") {
      const { views } = parameter, { naming } = this.#model.checkpoint;
      const same = naming === this.#args.target.naming || !views.gguf && !views.huggingface;
      if (stored.storage.type === tensor.storage.type && same && !parameter.made) {
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
    const linear = this.#model.linears.find(({ id }) => id === parameter.id) ??
      (quantizes ? embeddingOf(this.#model) : undefined);
    await this.#write(planned, weight, linear && this.#quantize(linear, weight));
  }

  async #write(
    planned: PlannedParameter,
    weight?: Float32Array,
    quantized?: CodedTensor,
  ): Promise<void> {
    const { parameter, tensor } = planned;
    const view = parameter.views[this.#args.target.naming];
    const order = view?.order && inverseRows(view.order());
    const { storage } = tensor;
    if (storage.kind !== "plain") {
      const stored = parameterTensor(this.#model, parameter.id);
      const coded = quantized ??
        (storage.kind === "vector" ? await stored.vector!() : await stored.quantized());
      if (isVector(coded)) await this.#writer.vector!(tensor.name, coded);
      else await this.#writer.coded(tensor.name, order ? permuteQuantized(coded, order) : coded);
      const error = this.#pipeline.quantizers.has(parameter.id) && weight
        ? weightError(weight, coded, this.#args)
        : undefined;
      return this.#report(planned, undefined, error, sideTotal(coded));
    }
    const values = fileValues(weight!, parameter.shape, view);
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
    const rows = this.#coverage.rows(parameter.id);
    const report: TensorReport = {
      name: tensor.name,
      shape: parameter.shape,
      scheme: storageLabel(tensor.storage),
      ...(fit.ok && fit.layout && { layout: fit.layout }),
      ...(plugin && { plugin }),
      bytes: size,
      bits_per_weight: 8 * size / elements,
      ...(rows !== undefined && { rows }),
      ...(error && { error }),
    };
    this.reports.push(report);
    this.#args.onEvent?.({ event: "tensor", report });
  }

  #progress(stage: "quantize" | "calibrate", done: number, total: number, detail?: string): void {
    this.#args.onEvent?.({ event: "progress", stage, done, total, detail });
  }

  /** Lets timers, signals and progress bars have their turn. */
  async #breathe(): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, 0));
    this.#stopIfAborted();
  }

  #stopIfAborted(): void {
    if (this.#args.signal?.aborted) throw this.#args.signal.reason;
  }
}
