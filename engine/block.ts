/**
 * One block in memory: its parameters in full precision, run on calibration windows, watched,
 * transformed, and run again with quantised weights.
 *
 * @module
 */

import {
  type BlockView,
  type Buffer,
  type Edge,
  type InputStatistics,
  type Kernels,
  type LinearInfo,
  type LinearSchemes,
  LowbitError,
  type TransformOp,
} from "../spec/mod.ts";
import type { ModelGraph } from "../models/architecture.ts";
import { runBlock } from "../models/interpreter.ts";
import { type LinearExecutor, weightExecutor } from "../models/linear.ts";
import { parameterTensor } from "../models/weights.ts";
import { rescaleStatistics } from "./statistics.ts";

/** Called with the input of every linear before it runs. */
export type Observer = (linear: LinearInfo, x: Buffer<"f32">, tokens: number) => void;

/** A block whose parameters are in memory. */
export class LoadedBlock implements BlockView {
  /** The linears of the block. */
  readonly linears: readonly LinearInfo[];
  /** Edges along which channels can be rescaled. */
  readonly edges: readonly Edge[];
  readonly #weights: Map<string, Float32Array>;
  readonly #norms = new Map<string, Buffer<"f32">>();
  readonly #executors = new Map<string, LinearExecutor>();
  readonly #statistics = new Map<string, InputStatistics>();
  readonly #schemes: ReadonlyMap<string, LinearSchemes>;

  private constructor(
    readonly model: ModelGraph,
    readonly kernels: Kernels,
    readonly index: number,
    weights: Map<string, Float32Array>,
    schemes: ReadonlyMap<string, LinearSchemes>,
  ) {
    this.linears = model.linears.filter((linear) => linear.block === index);
    this.edges = model.architecture.edges;
    this.#weights = weights;
    this.#schemes = schemes;
  }

  /** Reads the parameters of block `index`. */
  static async load(
    model: ModelGraph,
    kernels: Kernels,
    index: number,
    schemes: ReadonlyMap<string, LinearSchemes>,
  ): Promise<LoadedBlock> {
    const weights = new Map<string, Float32Array>();
    for (const { id, name, block } of model.parameters) {
      if (block === index) weights.set(name, await parameterTensor(model, id).read());
    }
    return new LoadedBlock(model, kernels, index, weights, schemes);
  }

  /** Numbers of the model. */
  get hyperparameters(): Readonly<Record<string, number>> {
    return this.model.hyperparameters;
  }

  /** A parameter of the block, by name. */
  weight(name: string): Float32Array {
    const weight = this.#weights.get(name);
    if (weight) return weight;
    throw new LowbitError("UNKNOWN_NAME", `the block has no parameter ${JSON.stringify(name)}`, {
      field: `blocks.${this.index}`,
    });
  }

  /** The names of the parameters. */
  names(): string[] {
    return [...this.#weights.keys()];
  }

  /** A linear of the block, by role. */
  linear(role: string): LinearInfo {
    return this.linears.find((linear) => linear.role === role)!;
  }

  /** The schemes that the recipe gives a linear. */
  schemes(role: string): LinearSchemes {
    return this.#schemes.get(this.linear(role).id) ?? {};
  }

  /** Statistics of the inputs of a linear; empty ones before they are collected. */
  statistics(role: string): InputStatistics {
    const { input, columns } = this.linear(role);
    return this.#statistics.get(input) ?? { columns, tokens: 0, custom: new Map() };
  }

  /** Keeps the statistics of a value of the graph. */
  setStatistics(input: string, statistics: InputStatistics): void {
    this.#statistics.set(input, statistics);
  }

  /**
   * The output of the block for one window `[tokens, hidden]`, in a new buffer. `executors` take
   * the place of the full-precision linears, by role.
   */
  run(
    x: Buffer<"f32">,
    tokens: number,
    options: { observe?: Observer; executors?: ReadonlyMap<string, LinearExecutor> } = {},
  ): Buffer<"f32"> {
    return runBlock({
      graph: this.model.architecture.graph,
      kernels: this.kernels,
      hyperparameters: this.model.hyperparameters,
      x,
      tokens,
      parameter: (name) => this.#norm(name),
      linear: (role, input, rows) => {
        options.observe?.(this.linear(role), input, rows);
        return (options.executors?.get(role) ?? this.#executor(role)).apply(input, rows);
      },
    });
  }

  /** Applies operations to the parameters, and to the statistics that they change. */
  transform(ops: readonly TransformOp[], plugin: string): void {
    for (const op of ops) {
      const edge = this.edges.find(({ id }) => id === op.edge);
      if (!edge) throw this.#badOp(plugin, `names the edge ${JSON.stringify(op.edge)}`);
      this.#scale(edge, op.factors, plugin);
    }
    this.#forgetPrepared();
  }

  #scale(edge: Edge, factors: Float32Array, plugin: string): void {
    const columns = this.linear(edge.to[0]).columns;
    if (factors.length !== columns || !factors.every((f) => f > 0 && Number.isFinite(f))) {
      throw this.#badOp(plugin, `needs ${columns} finite positive factors for ${edge.id}`);
    }
    const produced = edge.shared_heads ? this.#sharedFactors(factors, edge, plugin) : factors;
    const producer = this.weight(edge.from);
    const width = producer.length / produced.length;
    for (let i = 0; i < producer.length; i++) {
      producer[i] = producer[i] / produced[Math.floor(i / width)];
    }
    for (const role of edge.to) {
      const weight = this.weight(role);
      for (let i = 0; i < weight.length; i++) weight[i] = weight[i] * factors[i % columns];
    }
    const { input } = this.linear(edge.to[0]);
    const statistics = this.#statistics.get(input);
    if (statistics) this.#statistics.set(input, rescaleStatistics(statistics, factors));
  }

  /** The factors of the value heads, which must be equal among the query heads that share one. */
  #sharedFactors(factors: Float32Array, edge: Edge, plugin: string): Float32Array {
    const { heads, kv_heads, head_size } = this.hyperparameters;
    const shared = heads / kv_heads;
    const result = new Float32Array(kv_heads * head_size);
    factors.forEach((factor, channel) => {
      const head = Math.floor(channel / head_size);
      const at = Math.floor(head / shared) * head_size + channel % head_size;
      if (head % shared === 0) result[at] = factor;
      else if (result[at] !== factor) {
        throw this.#badOp(plugin, `gives heads that share values different factors (${edge.id})`);
      }
    });
    return result;
  }

  #badOp(plugin: string, problem: string): LowbitError {
    return new LowbitError("PLUGIN", `transform ${problem}`, {
      file: plugin,
      field: `blocks.${this.index}`,
      advice: `edges are ${this.edges.map((edge) => edge.id).join(", ")}`,
    });
  }

  #norm(name: string): Buffer<"f32"> {
    let norm = this.#norms.get(name);
    if (!norm) this.#norms.set(name, norm = this.kernels.upload(this.weight(name)));
    return norm;
  }

  #executor(role: string): LinearExecutor {
    let executor = this.#executors.get(role);
    if (!executor) {
      const { rows, columns } = this.linear(role);
      const weight = this.kernels.denseWeight(this.weight(role), rows, columns);
      this.#executors.set(role, executor = weightExecutor(this.kernels, weight));
    }
    return executor;
  }

  /** Prepared forms of parameters are made again when they are next used. */
  #forgetPrepared(): void {
    for (const item of [...this.#executors.values(), ...this.#norms.values()]) item.free();
    this.#executors.clear();
    this.#norms.clear();
  }

  /** Gives the kernel memory back. */
  free(): void {
    this.#forgetPrepared();
  }
}
