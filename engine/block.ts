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
  type Node,
  type TransformOp,
} from "../spec/mod.ts";
import type { ModelGraph } from "../models/architecture.ts";
import { runBlock } from "../models/interpreter.ts";
import { type LinearExecutor, weightExecutor } from "../models/linear.ts";
import { biasName } from "../models/online.ts";
import { weightsOf } from "../models/values.ts";
import { parameterTensor } from "../models/weights.ts";
import { applyOp, sharedFactors } from "./block_ops.ts";
import { permuteFisher, permuteStatistics } from "./permute.ts";
import { followFisher, rescaleStatistics } from "./statistics.ts";

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
  #statistics?: Map<string, InputStatistics>;
  readonly #schemes: ReadonlyMap<string, LinearSchemes>;
  /** Fisher diagonals by role. */
  readonly #fisher = new Map<string, Float32Array>();

  private constructor(
    readonly model: ModelGraph,
    readonly kernels: Kernels,
    readonly index: number,
    weights: Map<string, Float32Array>,
    schemes: ReadonlyMap<string, LinearSchemes>,
  ) {
    this.linears = model.linears.filter((linear) => linear.block === index);
    this.edges = model.blocks[index].edges;
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
    // Parameters outside the blocks that their operations use.
    for (const node of model.blocks[index].nodes) {
      for (const name of weightsOf(node, model.hyperparameters)) {
        if (!weights.has(name)) weights.set(name, await parameterTensor(model, name).read());
      }
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
      advice: "report it to the author of the plugin",
    });
  }

  /** The operations of the block. */
  get graph(): readonly Node[] {
    return this.model.blocks[this.index].nodes;
  }

  /** Whether the block has a parameter. */
  has(name: string): boolean {
    return this.#weights.has(name);
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
    const statistics = this.#statistics?.get(input) ?? { columns, tokens: 0, custom: new Map() };
    const fisher = this.#fisher.get(role);
    return fisher ? { ...statistics, fisher } : statistics;
  }

  /** Keeps the Fisher diagonals of those of its linears that are among these, by id. */
  setFisher(diagonals: ReadonlyMap<string, Float32Array>): void {
    for (const { id, role } of this.linears) {
      const diagonal = diagonals.get(id);
      if (diagonal) this.#fisher.set(role, diagonal);
    }
  }

  /** Keeps the statistics of values of the graph. */
  setStatistics(statistics: ReadonlyMap<string, InputStatistics>): void {
    this.#statistics = new Map(statistics);
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
      graph: { ...this.model.architecture.graph, block: [...this.graph] },
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
      const problem = edge ? applyOp(this, edge, op) : `names the edge ${JSON.stringify(op.edge)}`;
      if (problem !== undefined) throw this.#badOp(plugin, problem);
      this.#follow(op, edge!);
    }
    this.#forgetPrepared();
  }

  /** Statistics follow a change of scale or of order; any other change makes them wrong. */
  #follow(op: TransformOp, edge: Edge): void {
    const produced = op.op === "scale" && edge.shared_heads
      ? sharedFactors(this, op.factors)
      : undefined;
    if (op.op === "permute") permuteFisher(this, edge, op.order, this.#fisher);
    else followFisher(op, edge, this.#fisher, produced);
    const { input } = this.linear(edge.to[0]);
    const statistics = this.#statistics?.get(input);
    if (!statistics) return;
    if (op.op === "scale" && statistics.custom.size === 0) {
      this.#statistics!.set(input, rescaleStatistics(statistics, op.factors));
    } else if (op.op === "permute" && statistics.custom.size === 0) {
      this.#statistics!.set(input, permuteStatistics(statistics, op.order));
    } else {
      this.#statistics = undefined;
    }
  }

  /** Whether statistics were collected and still hold. */
  get hasStatistics(): boolean {
    return this.#statistics !== undefined;
  }

  /** Adds to what is added to a value; the block must have such a parameter. */
  addBias(value: string, addend: ArrayLike<number>, plugin: string): void {
    if (!this.#weights.has(biasName(value))) {
      throw this.#badOp(
        plugin,
        `adds to ${value}, which has no bias; declare it in transformModel`,
      );
    }
    const bias = this.weight(biasName(value));
    for (let i = 0; i < bias.length; i++) bias[i] += addend[i];
    this.#forgetPrepared();
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
